"""What every part of the Envoy dialect needs: the load's context, addresses, data sources, matchers, templates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ostiary.core.addresses import is_ip_address
from ostiary.core.formatter import Format, compile_format
from ostiary.core.regex import Regex
from ostiary.dialects.schema_tree import Message, Report
from ostiary.model.config import Address
from ostiary.model.matchers import HeaderMatcher, QueryParameterMatcher, StringMatcher, StringMatchKind
from ostiary.model.oauth2 import RuntimeFlags
from ostiary.model.secret import Secret
from ostiary.model.tls import DataSource

Reader = Callable[[str], bytes]
"""Path -> content; raises OSError."""

_STRING_KINDS: tuple[StringMatchKind, ...] = ("exact", "prefix", "suffix", "contains")
_DEPRECATED_HEADER_MATCHES: dict[str, StringMatchKind] = {
    "exact_match": "exact",
    "prefix_match": "prefix",
    "suffix_match": "suffix",
    "contains_match": "contains",
}


@dataclass(slots=True, kw_only=True)
class Context:
    """What the parts of one load share."""

    report: Report
    read: Reader | None = None
    secrets: dict[str, Message] = field(default_factory=dict)
    """static_resources.secrets by name."""
    clusters: frozenset[str] = frozenset()
    http2_clusters: frozenset[str] = frozenset()
    """Those that speak HTTP/2, or do if TLS agrees on it."""
    node_cluster: str = ""
    node_id: str = ""
    zone: str = ""
    runtime: RuntimeFlags = field(default_factory=RuntimeFlags)
    dns_resolver: Message | None = None
    """Bootstrap.typed_dns_resolver_config, for clusters that have none of their own."""
    bind_config: Message | None = None
    """Bootstrap.cluster_manager.upstream_bind_config, for clusters that have none of their own."""
    included: list[Message] = field(default_factory=list)
    """Messages of other files, which no field of the bootstrap leads to."""
    differences: list[str] = field(default_factory=list)

    def differs(self, sentence: str) -> None:
        """Note where this runs otherwise than in Envoy, once."""
        if sentence not in self.differences:
            self.differences.append(sentence)

    def look_at(self, message: Message, name: str, path: str) -> bytes | None:
        """The content of a file that stays a reference; reported if it can't be had, None where none is read here."""
        return self.read_file(message, name, path) if self.read is not None and path else None

    def read_file(self, message: Message, name: str, path: str) -> bytes | None:
        """The content of a file that field `name` refers to; None, reported, if it can't be had."""
        if self.read is None:
            message.problem(name, "files are not read here", "write the content inline")
            return None
        try:
            return self.read(path)
        except (OSError, ValueError) as error:
            mend = "put it there" if path.startswith("/") else "relative paths start at the working directory"
            message.problem(name, f"can't read {path}: {getattr(error, 'strerror', None) or error}", mend)
            return None


def socket_address(message: Message) -> tuple[str, int]:
    """core.v3.SocketAddress as host and port."""
    message.choice("protocol", ("TCP",))
    if message.has("named_port"):
        message.unsupported("named_port", "write the number as port_value")
    return message.text("address"), message.integer("port_value")


def listen_address(message: Message) -> Address:
    """core.v3.Address of a listener or the admin port: an IP address and a port, or a pipe."""
    if (pipe := message.message("pipe")) is not None:
        return Address(pipe=pipe.text("path"), mode=pipe.integer("mode") or None)
    if (found := message.message("socket_address")) is None:
        return Address()
    host, port = socket_address(found)
    if host and not is_ip_address(host):
        found.problem("address", f"malformed IP address '{host}'", "listen on an address, not on a name")
    return Address(host=host, port=port)


def data_source(message: Message, context: Context | None = None) -> DataSource | None:
    """core.v3.DataSource as it stands: files stay files, read by whoever uses them; with `context` it is looked whether
    they are there. None, reported, if it is empty."""
    message.ignore("watched_directory")  # every file is watched anyway
    if message.has("filename"):
        if context is not None:
            context.look_at(message, "filename", message.text("filename"))
        return DataSource(filename=message.text("filename"))
    if message.has("environment_variable"):
        message.unsupported("environment_variable", "put the value into a file and name it with `filename`")
        return None
    value = message.take("inline_bytes") if message.has("inline_bytes") else message.take("inline_string")
    if isinstance(value, str | bytes):
        return DataSource(inline=Secret(value))
    message.problem(None, "one of filename, inline_string, inline_bytes is required")
    return None


def content(message: Message, context: Context) -> bytes | None:
    """core.v3.DataSource read to its end, for what is public and fixed (response bodies, formats)."""
    source = data_source(message)
    if source is None:
        return None
    if source.filename is not None:
        return context.read_file(message, "filename", source.filename)
    return source.inline.reveal() if source.inline is not None else b""


def regex(message: Message) -> str:
    """matcher.v3.RegexMatcher: a pattern that RE2 takes."""
    message.ignore("google_re2")
    pattern = message.text("regex")
    try:
        Regex(pattern)
    except ValueError as error:
        message.problem("regex", str(error))
    return pattern


def string_matcher(message: Message) -> StringMatcher:
    """matcher.v3.StringMatcher."""
    ignore_case = message.boolean("ignore_case")
    if (pattern := message.message("safe_regex")) is not None:
        return StringMatcher("safe_regex", regex(pattern))  # Envoy ignores ignore_case here, too
    for kind in _STRING_KINDS:
        if message.has(kind):
            return StringMatcher(kind, message.text(kind), ignore_case)
    return StringMatcher("exact", "", ignore_case)


def path_matcher(message: Message) -> StringMatcher:
    """matcher.v3.PathMatcher."""
    return string_matcher(message.required("path"))


def header_matcher(message: Message) -> HeaderMatcher:
    """route.v3.HeaderMatcher, in the present spelling or one of the deprecated ones."""
    string_match: StringMatcher | None = None
    range_match: tuple[int, int] | None = None
    if (written := message.message("string_match")) is not None:
        string_match = string_matcher(written)
    elif (pattern := message.message("safe_regex_match")) is not None:
        string_match = StringMatcher("safe_regex", regex(pattern))
    elif (bounds := message.message("range_match")) is not None:
        range_match = (bounds.integer("start"), bounds.integer("end"))
    for old, kind in _DEPRECATED_HEADER_MATCHES.items():
        if message.has(old):
            string_match = StringMatcher(kind, message.text(old))
    return HeaderMatcher(
        name=message.text("name").lower(),
        string_match=string_match,
        present_match=message.boolean("present_match") if message.has("present_match") else None,
        range_match=range_match,
        invert_match=message.boolean("invert_match"),
        treat_missing_header_as_empty=message.boolean("treat_missing_header_as_empty"),
    )


def header_matchers(message: Message, name: str) -> tuple[HeaderMatcher, ...]:
    """A list of route.v3.HeaderMatcher."""
    return tuple(header_matcher(item) for item in message.messages(name))


def query_parameter_matcher(message: Message) -> QueryParameterMatcher:
    """route.v3.QueryParameterMatcher."""
    written = message.message("string_match")
    return QueryParameterMatcher(
        name=message.text("name"),
        string_match=string_matcher(written) if written is not None else None,
        present_match=message.boolean("present_match") if message.has("present_match") else None,
    )


def share(message: Message, name: str, only: int) -> None:
    """core.v3.RuntimeFractionalPercent, accepted where it is `only` percent (100 or 0): no runtime can change it."""
    if (written := message.message(name)) is None:
        return
    written.ignore("runtime_key")
    value = written.optional("default_value")
    whole = {"HUNDRED": 100, "TEN_THOUSAND": 10_000, "MILLION": 1_000_000}[value.text("denominator", "HUNDRED")]
    if value.integer("numerator") * 100 != only * whole:
        message.unsupported(name, f"only {only} percent is implemented")


def template(message: Message, name: str | None, text: str, mend: str = "") -> Format | None:
    """A format string, checked; None, reported, if it is not one."""
    try:
        return compile_format(text)
    except ValueError as error:
        message.problem(name, str(error), mend)
        return None
