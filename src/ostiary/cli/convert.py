"""`ostiary convert`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import click

from ostiary.cli.configuration import DIALECTS, read_bytes, read_file, show
from ostiary.cli.envoyfilter import label, selector
from ostiary.cli.exit_codes import EXIT_PROBLEM
from ostiary.dialects.envoy_common import Reader
from ostiary.dialects.envoy_sign_in import TRUSTED_CA
from ostiary.dialects.envoy_text_values import PLACEHOLDER, Secrets
from ostiary.dialects.istio_objects import EnvoyFilter
from ostiary.dialects.istio_places import in_objects
from ostiary.dialects.istio_text import Workload
from ostiary.dialects.lost import lost, placed, with_text
from ostiary.dialects.schema_tree import NOT_IMPLEMENTED
from ostiary.dialects.yaml_nodes import Node, parse_all
from ostiary.dialects.yaml_text import Noted, Tree, dump, plain
from ostiary.model.config import Config
from ostiary.model.errors import ConfigError, Diagnostic
from ostiary.model.process import Process
from ostiary.model.secret import Secret
from ostiary.model.signin import SignIn

_ABSENT: Final = "oauth2-proxy"
"""The dialect that is recognised, and not there yet."""

_NATIVE_KEYS: Final = {"token_secret": "provider.client_secret_file", "hmac_secret": "secret_file"}
"""Of what Envoy's filter calls otherwise."""
_OPEN: Final = replace(
    lost(
        "access",
        "Envoy's filter has no access rules: whoever can sign in at the provider could enter",
        "add an RBAC filter (AuthorizationPolicy in Istio) to what --without-access-rules writes, or stay with Ostiary",
    ),
    severity="error",
)


@dataclass(frozen=True, slots=True)
class _Source:
    """What was read."""

    file: str
    config: Config
    nodes: Sequence[Node]
    """Its documents."""
    diagnostics: Sequence[Diagnostic]
    process: Process | None = None
    """What a native file says of the process."""
    filters: Sequence[EnvoyFilter] = ()
    root: Node | None = None
    """What paths of the model lead through; an EnvoyFilter's patched bootstrap has its nodes."""

    def placed(self, found: Diagnostic) -> Diagnostic:
        """Something that is lost, with its place in the file."""
        return in_objects([placed(found, self.file, self.root)], self.filters)[0]

    def hidden(self, what: str, secret: Secret | None) -> Diagnostic:
        """A secret that stands in the file, and is not printed."""
        mend = f"write it into a file, and the file's name where {PLACEHOLDER} stands, or use --show-secrets"
        found = replace(lost("", f"{what} is not printed", mend), file=self.file)
        node = with_text(self.nodes, secret.reveal().decode("utf-8", "replace")) if secret is not None else None
        return replace(found, line=node.line, column=node.column) if node is not None else found


@click.command()
@click.argument("file", type=click.Path(readable=False))
@click.option("--to", "target", required=True, type=click.Choice(DIALECTS), help="What to write.")
@click.option("--dialect", type=click.Choice(DIALECTS), help="Don't tell the dialect of FILE from its content.")
@click.option("--upstream", metavar="URL", help="From istio: the application, which an EnvoyFilter doesn't name.")
@click.option("--issuer", metavar="URL", help="To native: of a provider that its endpoints don't tell.")
@click.option("-n", "--namespace", metavar="NS", callback=label, help="To istio: of the workload.")
@click.option("-l", "--selector", multiple=True, metavar="K=V", callback=selector, help="To istio: a label of it.")
@click.option(
    "--name", default="sign-in", show_default=True, metavar="NAME", callback=label, help="To istio: of every object."
)
@click.option("--trusted-ca", default=TRUSTED_CA, show_default=True, metavar="FILE", help="The system's, for Envoy.")
@click.option(
    "--without-access-rules", is_flag=True, help="From native: write it though Envoy lets everybody in who signs in."
)
@click.option("--show-secrets", is_flag=True, help="Print secrets that stand in FILE itself.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(file: str, target: str, dialect: str | None, show_secrets: bool, as_json: bool, **options: Any) -> int:
    """Write a configuration in another dialect.

    What can't be carried over is listed on stderr with its place, and in the file itself; then the exit code is 1.
    Access rules can't be carried to Envoy or Istio: a configuration that has some is refused, with exit code 2.
    Secrets stay references to files; one that stands in FILE itself is replaced by the name of a file that isn't there.

    \b
    Examples:
      ostiary convert envoy.yaml --to native > ostiary.yaml
      ostiary convert ostiary.yaml --to envoy > envoy.yaml
      ostiary convert envoy.yaml --to istio --namespace httpbin --selector app=httpbin
      ostiary convert envoyfilter.yaml --to envoy --upstream http://127.0.0.1:8080
    """
    if target == _ABSENT:
        raise click.UsageError(f"--to {_ABSENT}: this version can't write that dialect yet: native, envoy or istio")
    if target == "istio" and not (options["namespace"] and options["selector"]):
        raise click.UsageError("--to istio: say for which workload, with --namespace and --selector")
    nowhere = "http://127.0.0.1" if target == "istio" else ""  # where the application is, Istio knows
    source = _read(file, dialect, options["upstream"] or nowhere)
    ignored = [each for each in source.diagnostics if NOT_IMPLEMENTED in each.message]
    show([each for each in source.diagnostics if each not in ignored and each.severity != "info"])
    secrets = Secrets(show=show_secrets)
    documents, found = _written(source, target, secrets, options)
    told = [*ignored, *(source.placed(each) for each in found)]
    told += [source.hidden(what, secret) for what, secret in secrets.hidden.items()]
    show(told)
    if told and documents:
        lines = "\n".join(f"- {_line(each)}" for each in told)
        documents = [Noted(_uncommented(documents[0]), f"Not carried over from {file}:\n{lines}"), *documents[1:]]
    if as_json:
        trees = [plain(each) for each in documents]
        single = trees[0] if len(trees) == 1 else {"apiVersion": "v1", "kind": "List", "items": trees}
        print(json.dumps(single, indent=2, ensure_ascii=False))
    else:
        print(dump(documents), end="")
    return EXIT_PROBLEM if told else 0


def _read(file: str, dialect: str | None, upstream: str) -> _Source:
    """FILE, without looking for the files that it names: they may be on another machine. Raises ConfigError."""
    from ostiary.dialects.detect import detect  # loads Envoy's schema

    content = read_bytes(file)
    chosen = dialect or detect(content, file)
    if chosen == _ABSENT:
        text = f"this is written in the dialect {chosen}, which this version can't read yet"
        raise ConfigError([Diagnostic(file=file, line=0, column=0, path="", message=text)])
    return _native_source(file, content) if chosen == "native" else _envoys_source(file, content, chosen, upstream)


def _native_source(file: str, content: bytes) -> _Source:
    from ostiary.dialects import native

    loaded = native.load_all([(file, content)], flags={}, env={})
    config, nodes = _good(loaded.config, loaded.diagnostics), parse_all(content, file)
    root = nodes[0] if len(nodes) == 1 else None
    return _Source(file, config, nodes, loaded.diagnostics, loaded.process, root=root)


def _envoys_source(file: str, content: bytes, dialect: str, upstream: str) -> _Source:
    from ostiary.dialects import envoy, istio

    flags = {"upstream": upstream} if upstream else {}

    def load(read: Reader | None) -> istio.Loaded:
        contents = [(file, content)]
        if dialect == "envoy":
            return istio.Loaded(*envoy.load(contents, ignore_unsupported=True, read=read))
        return istio.load_all(contents, flags=flags, env={}, ignore_unsupported=True, read=read)

    loaded = load(None)
    if loaded.config is None:  # what is read from files belongs to it, or something else is wrong
        loaded = load(read_file)
    config, nodes = _good(loaded.config, loaded.diagnostics), parse_all(content, file)
    root = loaded.root if dialect == "istio" else nodes[0] if len(nodes) == 1 else None
    return _Source(file, config, nodes, loaded.diagnostics, filters=loaded.filters, root=root)


def _good(config: Config | None, diagnostics: Sequence[Diagnostic]) -> Config:
    if config is None:
        raise ConfigError([each for each in diagnostics if each.severity == "error"])
    return config


def _line(diagnostic: Diagnostic) -> str:
    """For the file itself: the line is enough to find it."""
    key = diagnostic.path.rpartition(".")[2]
    where = ", ".join(each for each in (f"line {diagnostic.line}" if diagnostic.line else "", key) if each)
    where = f"{where}: " if where else ""
    return f"{where}{diagnostic.message}" + (f" ({diagnostic.mend})" if diagnostic.mend else "")


def _uncommented(document: Tree) -> Tree:
    return document.value if isinstance(document, Noted) else document


def _written(
    source: _Source, target: str, secrets: Secrets, options: dict[str, Any]
) -> tuple[list[Tree], list[Diagnostic]]:
    """The documents, and what is lost."""
    config = source.config
    native = any(isinstance(link.config, SignIn) for each in config.listeners for link in each.http.http_filters)
    if target == "native":
        return _native(source, native, secrets, options["issuer"] or "")
    found: list[Diagnostic] = []
    if native:
        from ostiary.cli.provider_options import ask
        from ostiary.dialects.native_text import process_keys
        from ostiary.dialects.native_to_envoy import native_to_envoy, restricted

        if restricted(config) and not options["without_access_rules"]:
            raise ConfigError([source.placed(_OPEN)])
        config, found = native_to_envoy(config, lambda provider: asyncio.run(ask(provider)), options["trusted_ca"])
        if source.process is not None:
            mend = "Envoy has flags for workers and logs"
            found += [lost(key, "says how the process runs", mend) for key in process_keys(source.process)]
    if target == "istio":
        from ostiary.dialects.istio_from_envoy import istio_objects

        workload = Workload(name=options["name"], namespace=options["namespace"], labels=options["selector"])
        objects, more = istio_objects(config, workload, secrets)
        return objects, found + ([_as_native(each) for each in more] if native else more)
    from ostiary.dialects.envoy_text import bootstrap
    from ostiary.dialects.envoy_written import no_longer_said, read_back

    tree = bootstrap(config, secrets)
    again = read_back(tree)
    if native:
        found += _unfit_secrets(config)
    elif config.dialect == "envoy":
        found += no_longer_said(config, again)
    return [tree], found


def _as_native(found: Diagnostic) -> Diagnostic:
    """Something that is lost, by the key of the native dialect where there is one."""
    return replace(found, path=_NATIVE_KEYS.get(found.path.rpartition(".")[2], ""))


def _unfit_secrets(config: Config) -> list[Diagnostic]:
    """Client secrets that Envoy would send otherwise than they are, as far as their files can be read here."""
    from ostiary.dialects.envoy_sign_in import encoded_secret
    from ostiary.dialects.envoy_text import oauth2_configs

    found = []
    for oauth2 in oauth2_configs(config):
        secret = oauth2.credentials.token_secret
        file = secret.value.filename if secret is not None and secret.value is not None else None
        if file is None or oauth2.auth_type not in ("URL_ENCODED_BODY", "BASIC_AUTH"):
            continue
        try:
            text = read_file(file).decode()
            fits = encoded_secret(text, oauth2.auth_type) == text
        except OSError:
            continue
        except ValueError:
            fits = False
        if not fits:
            message = f"{file} has a line break or characters that Envoy doesn't encode"
            found.append(lost("provider.client_secret_file", message, "write it without, and percent-encoded"))
    return found


def _native(source: _Source, native: bool, secrets: Secrets, issuer: str) -> tuple[list[Tree], list[Diagnostic]]:
    from ostiary.dialects.envoy_to_native import LISTENERS, envoy_to_native
    from ostiary.dialects.native import load
    from ostiary.dialects.native_text import NativeText

    config, found = (source.config, []) if native else envoy_to_native(source.config, issuer)
    writer = NativeText(config, secrets, "" if native else LISTENERS, source.process)
    tree = writer.document()
    _, read = load([("what was made", dump([tree]).encode())], flags={}, env={})
    problems = [each for each in read if each.severity == "error"]
    wrong = [lost("", f"{each.path}: {each.message}: it can't be run as it stands", each.mend) for each in problems]
    return [tree], found + writer.lost + wrong
