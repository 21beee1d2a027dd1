"""Fuzzing, as `make fuzz` starts it:

    python tests/fuzz                     every target for FUZZ_SECONDS (60) each
    python tests/fuzz heads cookies       these
    python tests/fuzz heads FILE...       these inputs once, to see what one of them does; needs no atheris

The fuzzer (atheris, a libFuzzer for Python) sees which lines of Ostiary an input reaches, and keeps what reaches new
ones in .cache/fuzz/TARGET/corpus, from which the next run goes on. An input that a target can't bear is kept in
.cache/fuzz/TARGET; it becomes a plain test beside its fix, and the directory may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import subprocess
import sys
import traceback
import warnings
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
CACHE = TESTS.parent / ".cache" / "fuzz"
sys.path[0] = str(TESTS)  # as pytest has it: `fuzz` and the tests' helpers are modules there

from fuzz.targets import NAMES, target  # noqa: E402

_ONE_INPUT = 30
"""Seconds for one input, by the clock on the wall; more is a finding."""
_MAX_BYTES = 4096
_NOISE = re.compile(
    r"\t(NEW|REDUCE|RELOAD) |# Uses: |ecommended dictionary|^(INFO|WARNING|Done|\s*$)|^0x|^MS: |^Base64: "
)
"""What libFuzzer says of every single step; its "pulse" now and then says how far it is."""
_WORKER = "--in-this-process"


def main(arguments: list[str]) -> int:
    """The exit code: 0 if nothing was found."""
    warnings.simplefilter("error", append=True)  # as in the tests
    if arguments[:1] == [_WORKER]:
        _fuzz(arguments[1], int(arguments[2]))
    if len(arguments) > 1 and arguments[0] in NAMES and all(Path(name).is_file() for name in arguments[1:]):
        return _replay(arguments[0], arguments[1:])
    unknown = [name for name in arguments if name not in NAMES]
    if unknown:
        print(f"fuzz: {unknown[0]} is neither a target nor a file; targets are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    if importlib.util.find_spec("atheris") is None:
        reason = "atheris isn't installed: `make fuzz` does that where PyPI has a wheel of it (Linux on x86-64)"
        print(f"fuzz: no target was run, for {reason}", file=sys.stderr)
        return 2 if arguments else 0  # `make fuzz` goes on to the property tests
    seconds = int(os.environ.get("FUZZ_SECONDS", "60"))
    found = [name for name in arguments or NAMES if not _run(name, seconds)]
    if found:
        print(f"fuzz: findings in {', '.join(found)}", file=sys.stderr)
    return 1 if found else 0


def _run(name: str, seconds: int) -> bool:
    """True if nothing was found. In a process of its own, which the fuzzer ends as it likes."""
    directory, python = CACHE / name, os.path.relpath(sys.executable, TESTS.parent)
    before = _kept(directory)
    print(f"fuzz: {name}, {seconds} s", flush=True)
    command = [sys.executable, str(Path(__file__).parent), _WORKER, name, str(seconds)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as fuzzer:
        assert fuzzer.stdout is not None
        for line in fuzzer.stdout:
            if not _NOISE.search(line):
                print(line, end="", flush=True)
    for path in sorted(_kept(directory) - before):
        shown = path.relative_to(TESTS.parent)
        print(f"fuzz: kept {shown}; to see it again: {python} tests/fuzz {name} {shown}", flush=True)
    return fuzzer.returncode == 0


def _kept(directory: Path) -> set[Path]:
    return {path for path in directory.glob("*-*") if path.is_file()}


def _fuzz(name: str, seconds: int) -> None:
    """Never returns."""
    import atheris

    directory = CACHE / name
    corpus, seeds = directory / "corpus", directory / "seeds"
    for each in (corpus, seeds):
        each.mkdir(parents=True, exist_ok=True)
    with atheris.instrument_imports(include=["ostiary"]):
        chosen = target(name)
    for old in seeds.iterdir():
        old.unlink()
    for seed in chosen.SEEDS:
        (seeds / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    dictionary = directory / "dictionary"
    dictionary.write_text("".join(f'"{_quoted(word)}"\n' for word in chosen.WORDS if word))
    options = [
        f"-max_total_time={seconds}",
        f"-timeout={_ONE_INPUT}",
        f"-max_len={_MAX_BYTES}",
        f"-artifact_prefix={directory}/",
        f"-dict={dictionary}",
        "-rss_limit_mb=4096",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus), str(seeds)], chosen.one)
    atheris.Fuzz()
    sys.exit(0)


def _quoted(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" if not 0x20 <= byte < 0x7F or byte in b'"\\' else chr(byte) for byte in word)


def _replay(name: str, files: list[str]) -> int:
    failed = 0
    for file in files:
        data = Path(file).read_bytes()
        try:
            target(name).one(data)
        except BaseException:
            failed = 1
            print(f"{file}: {data!r}")
            traceback.print_exc()
        else:
            print(f"{file}: nothing found")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
