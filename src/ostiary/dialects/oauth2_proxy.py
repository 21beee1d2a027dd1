"""oauth2-proxy's configuration, whatever it is written in: each proxy that files describe, with all that is set.

A flag wins over a variable, a variable over the file (`--config`); the structured configuration (`--alpha-config`)
takes the place of half of the options. What belongs together is told by what starts it (a Deployment, a compose file,
the chart's values, a unit, a script) and the files that this names; files that nothing starts are taken for one's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from ostiary.dialects import oauth2_proxy_helm as helm
from ostiary.dialects import oauth2_proxy_hosts as hosts
from ostiary.dialects import oauth2_proxy_structured as structured
from ostiary.dialects.oauth2_proxy_flags import Read, Word, read_environment, read_flags
from ostiary.dialects.oauth2_proxy_kubernetes import Cluster, objects_of
from ostiary.dialects.oauth2_proxy_options import BY_KEY, Option, Value
from ostiary.dialects.oauth2_proxy_start import Blob, Entrance, Guarded, Start, base
from ostiary.dialects.oauth2_proxy_toml import read_file
from ostiary.dialects.oauth2_proxy_values import PRECEDENCE, Mistake, Setting
from ostiary.dialects.yaml_nodes import Mapping, Node, parse_all
from ostiary.model.errors import ConfigError, Diagnostic


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a list, and where it is."""

    text: str
    line: int
    setting: Setting


@dataclass(slots=True, kw_only=True)
class Proxy:
    """One oauth2-proxy."""

    name: str
    file: str
    line: int
    settings: list[Setting] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)
    structured: bool = False
    """Half of its options are said by an `--alpha-config`."""
    unseen: tuple[str, ...] = ()
    """What may set more, and is not at hand; empty: what is not set here is not set."""
    entrances: tuple[Entrance, ...] = ()
    guarded: tuple[Guarded, ...] = ()

    def setting(self, key: str) -> Setting | None:
        """Who decides an option; None: it has its default, or something that is not at hand decides."""
        wanted = BY_KEY[key]
        for source in reversed(PRECEDENCE):
            found = [each for each in self.settings if each.source == source and each.option is wanted]
            if found:
                return found[-1]
        return None

    def value(self, key: str) -> Value | None:
        """An option as it takes effect; None where that can't be known."""
        found = self.setting(key)
        if found is not None:
            return found.value
        return None if self.unseen else BY_KEY[key].default

    def text(self, key: str) -> str:
        """A text option; its default where nothing is set here, "" for what is not known."""
        found = self.setting(key)
        value = found.value if found is not None else BY_KEY[key].default
        return value if isinstance(value, str) else ""

    def is_set(self, key: str, to: Value) -> bool:
        """Whether an option is written here, and is this."""
        found = self.setting(key)
        return found is not None and found.value == to

    def number(self, key: str) -> float | None:
        """Seconds, or a number; the default where nothing is set here, None for what is not known."""
        found = self.setting(key)
        value = found.value if found is not None else BY_KEY[key].default
        return float(value) if isinstance(value, int | float) else None

    def items(self, key: str) -> list[Item]:
        """A list's items; of flags, all of them together."""
        deciding = self.setting(key)
        if deciding is None:
            return []
        same = [each for each in self.settings if each.option is deciding.option and each.source == deciding.source]
        return [
            Item(text, each.lines[index] if index < len(each.lines) else each.line, each)
            for each in (same if deciding.source == "flag" else same[-1:]) if isinstance(each.value, tuple)
            for index, text in enumerate(each.value)
        ]  # fmt: skip

    def lacks(self, *keys: str) -> bool:
        """True if none of these is set, and nothing that is not at hand could set it."""
        return not self.unseen and all(self.setting(key) is None for key in keys)

    def options(self) -> Iterator[Option]:
        """What is set, each once."""
        yield from {each.option.key: each.option for each in self.settings}.values()


def is_text_of_it(content: bytes) -> bool:
    """Whether a text that is no tree starts oauth2-proxy: a file of variables, a unit, a script."""
    text = content.decode("utf-8-sig", "replace")
    return hosts.is_environment(text) or hosts.is_unit(text) or hosts.is_script(text)


def is_tree_of_it(documents: Sequence[Node]) -> bool:
    """Whether documents start oauth2-proxy: Kubernetes' objects, a compose file, the chart's values."""
    cluster = Cluster()
    cluster.add(documents, ())
    if cluster.starts() or any(helm.released(objects_of(documents), ())):
        return True
    for each in documents:
        if isinstance(each, Mapping) and "services" in each:
            if any(hosts.compose(each, {})):
                return True
        elif any(helm.values_of(each)):
            return True
    return False


def read(files: Sequence[tuple[str, bytes]]) -> list[Proxy]:
    """The proxies that the files describe. Never raises for what they hold."""
    return _Files(files).proxies()


class _Files:
    """Files, sorted by what they are."""

    def __init__(self, files: Sequence[tuple[str, bytes]]) -> None:
        self._starts: list[tuple[Start, Mapping | None]] = []
        self._plain: dict[str, Blob] = {}
        """TOML and structured configurations, by name."""
        self._variables: dict[str, Blob] = {}
        self._used: set[str] = set()
        cluster = Cluster()
        later: list[tuple[str, str, list[Node]]] = []
        for name, content in files:
            text = content.decode("utf-8-sig", "replace").replace("\r\n", "\n")
            if hosts.is_environment(text):
                self._variables[base(name)] = Blob(text, name)
                continue
            try:
                documents = [] if hosts.is_unit(text) else parse_all(content, name)
            except ConfigError:
                documents = []
            if objects := [*objects_of(documents)]:
                lines = text.split("\n")
                cluster.add(documents, lines)
                self._starts += [helm.start_of(path, values, lines) for path, values in helm.released(objects, lines)]
            else:
                later.append((name, text, documents))
        self._starts += [(start, None) for start in cluster.starts()]
        waiting = [each for each in later if not self._take(*each, sure=False)]
        for name, text, _ in waiting:
            self._plain[base(name)] = Blob(text, name)
        for each in later:
            if each not in waiting:
                self._take(*each, sure=True)

    def _take(self, name: str, text: str, documents: list[Node], *, sure: bool) -> bool:
        """Whether a file starts proxies; with `sure`, remember how (every other file is known then)."""
        found: list[tuple[Start, Mapping | None]] = []
        others = self._plain | self._variables
        if hosts.is_unit(text):
            found = [(hosts.unit(text, name, others), None)]
        for document in documents:
            if isinstance(document, Mapping) and "services" in document:
                found += [(start, None) for start in hosts.compose(document, others)]
            else:
                found += [helm.start_of(path, values, text.split("\n")) for path, values in helm.values_of(document)]
        if not found and not any(isinstance(each, Mapping) for each in documents) and hosts.is_script(text):
            found = [(start, None) for start in hosts.script(text, name, others)]
        if sure:
            self._starts += found
        return bool(found)

    def proxies(self) -> list[Proxy]:
        """Those that something starts, then those of files that are left."""
        found = [self._started(start, tree) for start, tree in self._starts]
        left = {name: each for name, each in self._plain.items() if each.file not in self._used}
        variables = [] if self._starts else [*self._variables.values()]
        yamls = {name: each for name, each in left.items() if _is_structured(each)}
        configs: list[Blob | None] = [each for name, each in left.items() if name not in yamls]
        if not configs and (left or variables):
            configs = [None]
        return found + [self._left(each, [*yamls.values()], variables) for each in configs]

    def _left(self, config: Blob | None, yamls: list[Blob], variables: list[Blob]) -> Proxy:
        """Files that nothing starts, as one proxy whose flags and other variables are not at hand."""
        first = config or (yamls or variables)[0]
        start = Start(name=base(first.file), file=first.file, line=1, unseen=["flags", "environment"])
        for each in variables:
            start.variables += hosts.variables(each.text, each.file)
        if config is not None:
            start.words.append(Word("--config=config", first.file, 1))
            start.mounted["config"] = config
        if yamls:
            start.words.append(Word("--alpha-config=structured", first.file, 1))
            start.mounted["structured"] = yamls[0]
        return self._started(start, None)

    def _started(self, start: Start, tree: Mapping | None) -> Proxy:
        read = Read()
        read_flags(start.words, read)
        read_environment(start.variables, read, structured=read.structured is not None)
        proxy = Proxy(name=start.name, file=start.file, line=start.line, settings=read.settings,
                      mistakes=read.mistakes, structured=read.structured is not None, entrances=start.entrances,
                      guarded=start.guarded)  # fmt: skip
        unseen = [*start.unseen]
        if read.config is not None:
            config = self._find(read.config, start)
            if config is None:
                unseen.append(read.config.text or "its file")
            else:
                written = read_file(config.text, config.file, line=config.line, structured=proxy.structured)
                _merge(proxy, written, config)
                proxy.mistakes += _preset(written[0], start)
        if read.structured is not None:
            found = self._find(read.structured, start)
            if tree is not None:
                _merge(proxy, structured.read_node(tree), None)
            elif found is None:
                unseen.append(read.structured.text or "its structured configuration")
            else:
                _merge(proxy, structured.read_structured(found.text.encode(), found.file, line=found.line), found)
        proxy.unseen = tuple(unseen)
        if start.older:
            proxy.mistakes = [each for each in proxy.mistakes if each.kind != "unknown"]
        return proxy

    def _find(self, path: Word, start: Start) -> Blob | None:
        """The file that a flag names: mounted, or at hand under the same name."""
        found = start.mounted.get(path.text) or start.mounted.get(base(path.text)) or self._plain.get(base(path.text))
        if found is not None:
            self._used.add(found.file)
        return found if found is None or found.known else None


def _merge(proxy: Proxy, read: tuple[list[Setting], list[Mistake]], blob: Blob | None) -> None:
    settings, mistakes = read
    if blob is not None and not blob.exact:  # its lines are not the file's
        settings = [replace(each, line=blob.line, lines=(blob.line,) * len(each.lines)) for each in settings]
        mistakes = [replace(each, diagnostic=_at(each.diagnostic, blob.line), old="") for each in mistakes]
    proxy.settings += settings
    proxy.mistakes += mistakes


def _at(found: Diagnostic, line: int) -> Diagnostic:
    return Diagnostic(file=found.file, line=line, column=1, severity=found.severity, path=found.path,
                      message=found.message, mend=found.mend)  # fmt: skip


def _preset(settings: list[Setting], start: Start) -> Iterator[Mistake]:
    """Options of the file that have no effect, because the chart sets a variable for them."""
    for each in settings:
        value = start.preset.get(each.option.key)
        if value is not None:
            message = (
                f"the chart sets {each.option.variable} from {value} (an example, where nobody sets it), and that "
                f"wins over '{each.path}' of the file"
            )
            found = Diagnostic(file=each.file, line=each.line, column=each.column, severity="warning", path=each.path,
                               message=message, mend=f"set {value}, or proxyVarsAsSecrets: false")  # fmt: skip
            yield Mistake(diagnostic=found, kind="invalid")


def _is_structured(blob: Blob) -> bool:
    try:
        documents = parse_all(blob.text.encode(), blob.file)
    except ConfigError:
        return False
    return any(
        isinstance(each, Mapping) and structured.KEYS & {key.text.lower() for key, _ in each} for each in documents
    )
