"""The command line as a user meets it: a process, its output, its exit code."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest

from doctor.probes.probing import in_thread
from istio_example import GOOD
from ostiary._version import __version__
from ostiary.cli.commands import VERBS, root
from ostiary.cli.probe import Probed, probe
from ostiary.dialects import native
from ostiary.testing.demo_app import DemoApp
from ostiary.testing.provider import DEMO_CLIENT, DemoProvider
from waiting import PATIENCE

MINIMAL = """\
upstream: http://127.0.0.1:8080
provider: {issuer: https://login.example.com, client_id: app}
secret: 0123456789abcdef0123456789abcdef
"""


def ostiary(*arguments: str, stdin: str = "", cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("OSTIARY_")}
    return subprocess.run(
        [sys.executable, "-m", "ostiary", *arguments],
        input=stdin,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env={**inherited, "NO_COLOR": "1", **env},
    )


@pytest.fixture
def good(tmp_path: Path) -> str:
    path = tmp_path / "good.yaml"
    path.write_text(MINIMAL)
    return str(path)


@pytest.fixture
def bad(tmp_path: Path) -> str:
    path = tmp_path / "bad.yaml"
    path.write_text(MINIMAL + "listn: 1\n")
    return str(path)


@pytest.mark.parametrize("arguments", [["--version"], ["check", "--version"], ["run", "--version"]])
def test_the_version(arguments: list[str]) -> None:
    done = ostiary(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"ostiary {__version__}\n", "")


def test_the_version_costs_no_import_of_anything_heavy() -> None:
    code = "import sys; sys.argv = ['ostiary', '--version']; from ostiary.cli import main; main(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert loaded.isdisjoint({"click", "yaml", "asyncio", "uvloop", "cryptography", "dns", "rich"})


def test_help_lists_every_verb_and_no_arguments_is_wrong_usage() -> None:
    done = ostiary("--help")
    assert done.returncode == 0
    assert [verb for verb in VERBS if f"  {verb} " not in done.stdout] == []
    done = ostiary()
    assert (done.returncode, done.stdout) == (2, "")
    assert "Commands:" in done.stderr


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb: str) -> None:
    done = ostiary(verb, "--help")
    assert done.returncode == 0
    assert re.search(rf"Examples?:(.|\n)*ostiary {verb} ", done.stdout), done.stdout
    assert "Exit codes: 0 done" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["frobnicate"], "there is no command 'frobnicate'\n"),
        (["docter"], "there is no command 'docter': did you mean doctor?"),
        (["connect", "--ca", "/does/not/exist", "https://127.0.0.1"], "--ca: can't read '/does/not/exist'"),
        (["check"], "name a file with -c"),
        (["run"], "nothing says what to run"),
        (["run", "--set", "x"], "--set x: KEY=VALUE is needed"),
        (["run", "--frob"], "No such option '--frob'"),
        (["check", "-c", ".", "--dialect", "nginx"], "'nginx' is not one of"),
    ],
)
def test_wrong_usage_is_exit_2_and_says_so_on_stderr(arguments: list[str], message: str) -> None:
    done = ostiary(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("ostiary: error: ")
    assert message in done.stderr


def test_check_of_a_good_file(good: str) -> None:
    done = ostiary("check", "-c", good)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "native: good, 0 warnings; would listen on 127.0.0.1:4180\n"


def test_check_of_a_bad_file_names_line_and_mend(bad: str) -> None:
    done = ostiary("check", "-c", bad)
    assert (done.returncode, done.stdout) == (2, f"{bad}:4:1: error: listn: unknown key (did you mean listen?)\n")
    assert done.stderr == "native: 1 error, 0 warnings\n"


def test_check_as_json_is_one_document(bad: str, good: str) -> None:
    done = ostiary("check", "-c", bad, "--json")
    assert (done.returncode, done.stderr) == (2, "")
    assert json.loads(done.stdout) == {
        "ok": False,
        "dialect": "native",
        "diagnostics": [
            {
                "file": bad,
                "line": 4,
                "column": 1,
                "severity": "error",
                "path": "listn",
                "message": "unknown key",
                "mend": "did you mean listen?",
            }
        ],
        "probes": [],
    }
    assert json.loads(ostiary("check", "-c", good, "--json").stdout)["ok"] is True


def test_check_takes_several_files_standard_input_and_settings(good: str) -> None:
    done = ostiary("check", "-c", good, "-c", "-", "--set", "public=[/health]", stdin="listen: 127.0.0.1:81\n")
    assert (done.returncode, done.stdout) == (0, "")
    assert "would listen on 127.0.0.1:81" in done.stderr


def test_the_environment_alone_is_enough() -> None:
    said = {"OSTIARY_UPSTREAM": "http://127.0.0.1:9", "OSTIARY_ISSUER": "http://127.0.0.1:9"}
    said |= {"OSTIARY_CLIENT_ID": "app", "OSTIARY_SECRET": "s" * 32, "OSTIARY_LISTEN": "127.0.0.1:0"}
    assert "native: good" in ostiary("check", **said).stderr
    done = ostiary("run", **said | {"OSTIARY_LISTEN": "nowhere"})
    assert (done.returncode, done.stderr.partition(":")[0]) == (2, "OSTIARY_LISTEN")
    done = ostiary("run", OSTIARY_LOG_LEVEL="debug")
    assert done.returncode == 2 and "nothing says what to run" in done.stderr


def test_check_looks_at_the_files_a_configuration_names(good: str, tmp_path: Path) -> None:
    done = ostiary("check", "-c", good, "--client-secret-file", str(tmp_path / "none"))
    assert done.returncode == 2
    assert "--client-secret-file: error: provider.client_secret_file: can't read" in done.stdout


def test_a_file_that_tells_no_dialect_is_refused_with_what_was_seen(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("hello: world\n")
    done = ostiary("check", "-c", str(path))
    assert done.returncode == 2
    assert done.stdout.startswith(f"{path}:1:1: error: ") and "--dialect" in done.stdout
    assert ostiary("check", "-c", str(path), "--dialect", "native").stdout.startswith(f"{path}:1:1: error: hello: ")


def test_check_knows_envoys_dialect_and_refuses_native_flags_with_it(tmp_path: Path) -> None:
    path = tmp_path / "envoy.yaml"
    path.write_text("static_resources: {clusters: [{name: a, conect_timeout: 1s}]}\n")
    done = ostiary("check", "-c", str(path), "--listen", ":1")
    assert done.returncode == 2
    assert "--listen: error: this flag belongs to the native dialect" in done.stdout
    assert f"{path}:1:41: error: static_resources.clusters[0].conect_timeout" in done.stdout


def test_probing_tries_the_application_and_asks_the_provider() -> None:
    async def run() -> tuple[list[Probed], list[Probed]]:
        async with DemoProvider() as provider, DemoApp() as app:
            text = f"upstream: {app.url}\nprovider: {{issuer: '{provider.issuer}', client_id: a}}\n"
            wrong = text.replace("127.0.0.1:" + str(provider.port), f"localhost:{provider.port}")
            configs = [native.load([("f", one.encode())], flags={}, env={})[0] for one in (text, wrong)]
            good, bad = [await asyncio.to_thread(probe, config) for config in configs if config is not None]
            return good, bad

    good, bad = asyncio.run(run())
    assert [(one.what.split()[0], one.ok) for one in good] == [("cluster", True), ("provider", True)]
    assert [one.ok for one in bad] == [True, False]
    assert "names the issuer" in bad[1].message


def test_a_probe_that_fails_is_a_problem_that_was_found(tmp_path: Path) -> None:
    path = tmp_path / "dead.yaml"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    path.write_text(
        f"upstream: http://127.0.0.1:{port}\nprovider: {{issuer: 'http://127.0.0.1:{port}', client_id: a}}\n"
    )
    done = ostiary("check", "-c", str(path), "--probe")
    assert done.returncode == 1
    failed = [line for line in done.stdout.splitlines() if line.startswith("failed: ")]
    assert len(failed) == 2 and all("ECONNREFUSED" in line or "refused" in line for line in failed)
    (found,) = [line for line in done.stdout.splitlines() if line.startswith("error: ")]
    assert found.startswith(f"error: tcp-refused: 127.0.0.1:{port} refuses the connection")
    document = json.loads(ostiary("check", "-c", str(path), "--probe", "--json").stdout)
    assert (document["ok"], [each["rule"] for each in document["findings"]]) == (False, ["tcp-refused"])


def test_a_probe_of_what_is_healthy_finds_nothing(tmp_path: Path) -> None:
    with in_thread(DemoProvider()) as provider, in_thread(DemoApp()) as app:
        client = f"client_id: {DEMO_CLIENT.client_id}, client_secret: '{DEMO_CLIENT.client_secret}'"
        path = tmp_path / "good.yaml"
        path.write_text(f"upstream: {app.url}\nprovider: {{issuer: '{provider.issuer}', {client}}}\n")
        done = ostiary("check", "-c", str(path), "--probe")
    assert [line.split(":")[0] for line in done.stdout.splitlines()[1:]] == ["ok", "ok"], done.stdout
    assert done.returncode == 0


def test_run_refuses_a_bad_configuration_before_it_starts(bad: str) -> None:
    done = ostiary("run", "-c", bad)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{bad}:4:1: error: listn: unknown key (did you mean listen?)\n"


def test_run_serves_until_it_is_told_to_stop() -> None:
    secret = "s" * 32
    flags = ["--listen", "127.0.0.1:0", "--upstream", "http://127.0.0.1:9"]
    flags += ["--issuer", "http://127.0.0.1:9", "--client-id", "app"]
    process = subprocess.Popen(
        [sys.executable, "-m", "ostiary", "run", *flags],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OSTIARY_SECRET": secret},
    )
    try:
        assert process.stderr is not None
        lines = []
        while not any("listening on" in line for line in lines):
            lines.append(process.stderr.readline())
            assert lines[-1], lines
        process.send_signal(signal.SIGTERM)
        rest = process.communicate(timeout=PATIENCE)[1]
        assert process.returncode == 0
        assert secret not in "".join(lines) + rest
    finally:
        process.kill()
        process.communicate()


def test_the_demo_ends_by_ctrl_c_with_130_and_by_a_taken_port_with_2() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "ostiary", "demo", "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        while b"Ctrl-C" not in (line := process.stdout.readline()):
            assert line
        process.send_signal(signal.SIGINT)
        assert (process.communicate(timeout=PATIENCE)[1], process.returncode) == (b"", 130)
    finally:
        process.kill()
        process.communicate()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = ostiary("demo", "--port", str(port))
        argv = f"run --listen 127.0.0.1:{port} --upstream http://a.test --issuer https://b.test --client-id c"
        run = ostiary(*argv.split())
    assert (done.returncode, run.returncode) == (2, 2)
    said = f"ostiary: error: can't listen on 127.0.0.1:{port}: Address already in use ("
    assert done.stderr == f"{said}--port 0 takes any free one; make demo ARGS='--port 0' too)\n"
    assert run.stderr.splitlines()[-1].startswith(f"{said}choose another address, or end the program that listens")
    elsewhere = ostiary(*argv.replace("127.0.0.1", "192.0.2.1").split(), OSTIARY_SECRET="x" * 32)
    assert elsewhere.returncode == 2 and "(no interface here has that address" in elsewhere.stderr


def test_check_tells_what_differs_from_envoy(tmp_path: Path) -> None:
    path = tmp_path / "envoy.yaml"
    cluster = "{name: a, type: STRICT_DNS, load_assignment: {cluster_name: a, endpoints: [{lb_endpoints: [{endpoint: "
    cluster += "{address: {socket_address: {address: a.test, port_value: 80}}}}]}]}}"
    path.write_text(f"static_resources: {{clusters: [{cluster}]}}\n")
    done = ostiary("check", "-c", str(path))
    assert done.returncode == 0
    assert f"{path}: info: cluster 'a': no dns_lookup_family" in done.stdout
    found = json.loads(ostiary("check", "-c", str(path), "--json").stdout)["diagnostics"]
    assert [one["message"][:11] for one in found if one["severity"] == "info"] == ["cluster 'a'"]


def test_a_setting_may_be_a_format(good: str) -> None:
    assert ostiary("check", "-c", good, "--set", "access_log.format=%REQ(:METHOD)%").returncode == 0
    done = ostiary("check", "-c", good, "--set", "access_log.format=%RQ(:METHOD)%")
    assert done.returncode == 2 and "REQ" in done.stdout and "YAML" not in done.stdout


def test_a_wrong_word_is_told_the_right_ones_once(good: str) -> None:
    done = ostiary("check", "-c", good, "--log-level", "zzz")
    assert done.returncode == 2 and done.stdout.count("critical") == 1


def test_connect_says_in_words_that_a_name_server_is_not_there() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        nameserver = f"127.0.0.1:{free.getsockname()[1]}"
    done = ostiary("connect", "--no-tls", "--connect-timeout", "5", "--nameserver", nameserver, "app.test:80")
    assert done.returncode == 1
    assert "ECONNREFUSED Connection refused" in done.stdout and "Errno" not in done.stdout


def test_lookup_families_are_spelt_as_in_envoy() -> None:
    assert "[AUTO|V4_ONLY|V6_ONLY|V4_PREFERRED|ALL]" in ostiary("connect", "--help").stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    done = ostiary("completion", shell)
    assert done.returncode == 0
    assert "_OSTIARY_COMPLETE" in done.stdout


def test_a_file_that_is_not_there_is_a_finding_like_any_other() -> None:
    said = "/does/not/exist: error: can't read it: No such file or directory"
    done = ostiary("check", "-c", "/does/not/exist")
    assert done.returncode == 2 and said in done.stdout
    done = ostiary("check", "--json", "-c", "/does/not/exist")
    assert done.returncode == 2 and json.loads(done.stdout)["diagnostics"][0]["file"] == "/does/not/exist"
    done = ostiary("run", "-c", "/does/not/exist")
    assert done.returncode == 2 and said in done.stderr and not done.stdout


FREE_TEXT = [
    "port",
    "listen",
    "upstream",
    "issuer",
    "client-id",
    "admin",
    "drain-timeout",
    "nameserver",
    "connect-timeout",
    "resolution-delay-ms",
    "attempt-delay-ms",
    "sni",
    "repeat",
    "pod",
    "for",
    "container",
    "context",
    "authorization-endpoint",
    "token-endpoint",
    "end-session-endpoint",
    "jwks-uri",
    "namespace",
    "selector",
    "name",
    "external-url",
    "redirect-uri",
    "callback-path",
    "signout-path",
    "scope",
    "resource",
    "pass-through",
    "cookie-domain",
    "audience",
    "deployment",
    "trusted-ca",
    "labels",
    "istio-version",
    "root-namespace",
    "watch",
]


@pytest.mark.parametrize("verb", VERBS)
def test_every_flag_has_its_values_completed(verb: str) -> None:
    command = root.get_command(click.Context(root), verb)
    assert command is not None
    context = click.Context(command, info_name=verb)
    for option in command.params:
        if isinstance(option, click.Option) and not option.is_flag and not option.count:
            assert option.help, option.opts
            assert not isinstance(option.type, click.Path) or option.type.exists or not option.type.readable
            offered = option.shell_complete(context, "")
            assert offered or option.opts[-1].lstrip("-") in FREE_TEXT, option.opts


@pytest.mark.parametrize(
    ("typed", "becomes"),
    [
        ("do", "doctor "),
        ("run --dial", "run --dialect "),
        ("run --log-level=de", "run --log-level=debug "),
        ("run --component-log-level happy_eyeballs:de", "run --component-log-level happy_eyeballs:debug "),
        ("run --set session.lif", "run --set session.lifetime="),
        ("log --level oauth2:deb", "log --level oauth2:debug "),
        ("log --level=info,dns:tr", "log --level=info,dns:trace "),
        ("log --admin http://127.0.0.1:9901 --res", "log --admin http://127.0.0.1:9901 --reset "),
        ("log --level happy", "log --level happy_eyeballs:"),
        ("check --config=good.y", "check --config=good.yaml "),
        ("envoyfilter --provider cog", "envoyfilter --provider cognito:"),
        ("doctor --explain dns-type", "doctor --explain dns-type-unanswered "),
    ],
)
def test_a_real_bash_completes(typed: str, becomes: str, good: str) -> None:
    """Its words end at `:` and `=`, ours don't."""
    program = Path(good).with_name("ostiary")
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m ostiary "$@"\n')
    program.chmod(0o755)
    setting = "PS1='> '; PATH=$PWD:$PATH; bind 'set enable-bracketed-paste off'; source <(ostiary completion bash)"
    terminal, inside = pty.openpty()
    shell = ["bash", "--norc", "--noprofile", "-i"]
    bash = subprocess.Popen(
        shell, cwd=program.parent, stdin=inside, stdout=inside, stderr=inside, start_new_session=True
    )
    try:
        os.write(terminal, f"{setting}; echo re''ady\n".encode())
        said = b""
        while b"ready\r\n" not in said:
            said += os.read(terminal, 4096)
        os.write(terminal, f"ostiary {typed}\t".encode())
        said = b""
        while f"ostiary {becomes}".encode() not in said:
            said += os.read(terminal, 4096)
            assert b"\a" not in said, said
    finally:
        bash.kill()
        bash.wait()
        os.close(terminal)
        os.close(inside)


def test_completion_completes_verbs_and_flags() -> None:
    words = {"COMP_WORDS": "ostiary check --cl", "COMP_CWORD": "2", "_OSTIARY_COMPLETE": "bash_complete"}
    assert "--client-secret-file" in ostiary(**words).stdout


def test_a_reader_that_has_seen_enough_is_no_error_message(good: str) -> None:
    command = f"{sys.executable} -m ostiary run --help | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert "Traceback" not in done.stderr and "BrokenPipe" not in done.stderr


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ostiary run -c ", "file,"),
        ("ostiary run --secret-file ", "file,"),
        ("ostiary run --log-level d", "plain,debug"),
        ("ostiary run --log-format i", "plain,istio"),
        ("ostiary log --level oauth2:debug,happy_eyeballs:tr", "plain,oauth2:debug,happy_eyeballs:trace"),
        ("ostiary log --level happ", "plain,happy_eyeballs:"),
    ],
)
def test_completion_offers_files_and_words(line: str, expected: str) -> None:
    count = str(len(line.split(" ")) - 1)
    words = {"COMP_WORDS": line, "COMP_CWORD": count, "_OSTIARY_COMPLETE": "bash_complete"}
    assert expected in ostiary(**words).stdout.splitlines()


def test_an_envoyfilter_is_checked_with_what_stands_beside_it(tmp_path: Path) -> None:
    (tmp_path / "secret.yaml").write_text("apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n")
    text = GOOD.replace("/etc/oauth", str(tmp_path))
    (tmp_path / "envoyfilter.yaml").write_text(text)
    files = ["-c", str(tmp_path / "secret.yaml"), "-c", str(tmp_path / "envoyfilter.yaml")]
    done = ostiary("check", *files, "--upstream", "http://127.0.0.1:8080")
    assert done.returncode == 2
    assert "secret.yaml:1:1: info: Secret a is left out" in done.stdout
    assert re.search(r"envoyfilter.yaml:40:\d+: error: .*can't read .*/token.yaml: No such file", done.stdout)
    done = ostiary("check", *files)
    assert "--upstream: error: an EnvoyFilter doesn't say where the application is" in done.stdout
    done = ostiary("check", *files, "--upstream", "http://127.0.0.1:8080", "--issuer", "https://login.example")
    assert "--issuer: error: this flag belongs to the native dialect" in done.stdout
