"""What a route changes: header mutations, host and path rewrites, redirects.

The order is Envoy's. Request: the header mutations of the levels, then the host, then the path; so `%REQ(:PATH)%` in a
mutation is the path as it came. Levels go route, virtual host, route configuration, and a later one wins;
`most_specific_header_mutations_wins` turns that around. Within a level: removals, then the values are rendered, then
overwrites, then additions. A value so sees what the levels before it left, without what its own level removes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, final

from ostiary.core.decision import Request
from ostiary.core.formatter import Format, compile_format
from ostiary.core.names import is_token, is_valid_authority
from ostiary.core.record import Record
from ostiary.core.regex import Substitution, wire_text
from ostiary.model.headers import Headers
from ostiary.model.routes import (
    AppendAction,
    HeaderMutations,
    HeaderValueOption,
    RedirectAction,
    RouteAction,
    RouteMatch,
)

_UNCHANGEABLE: Final = frozenset(("host", "content-length", "transfer-encoding", "connection"))
_JOINED: Final = frozenset(
    (
        *(
            "accept",
            "accept-encoding",
            "access-control-request-headers",
            "authorization",
            "cache-control",
            "content-type",
        ),
        *("forwarded", "if-match", "if-none-match", "origin", "te", "user-agent", "via", "x-request-id"),
        *("x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto"),
    )
)
"""Headers that an addition extends with a comma instead of repeating the line."""
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}

PathRewrite = Callable[[str], str]
"""Target (query included) -> target; an empty one if nothing would be left, which then is not rewritten."""


@final
class Mutations:
    """One list of header mutations, compiled. Raises ValueError for a bad format or a header that can't be changed."""

    __slots__ = ("_options", "_remove", "is_identity")

    def __init__(self, add: Sequence[HeaderValueOption], remove: Sequence[str]) -> None:
        self._remove = tuple(_changeable(name) for name in remove)
        self._options: tuple[tuple[str, Format, AppendAction, bool], ...] = tuple(
            (_changeable(option.key), _header_format(option), option.append_action, option.keep_empty_value)
            for option in add
        )
        self.is_identity = not self._remove and not self._options

    def apply(self, headers: Headers, record: Record) -> None:
        """Change `headers` in place. Values are rendered from `record`, which should hold the same `headers`."""
        for name in self._remove:
            headers.remove(name)
        overwrite: list[tuple[str, str]] = []
        append: list[tuple[str, str]] = []
        for name, template, action, keep_empty in self._options:
            value = template.render(record)
            if not value and not keep_empty:
                continue
            if action == "APPEND_IF_EXISTS_OR_ADD":
                append.append((name, value))
            elif action == "ADD_IF_ABSENT":
                if name not in headers:
                    append.append((name, value))
            elif action == "OVERWRITE_IF_EXISTS_OR_ADD" or name in headers:
                overwrite.append((name, value))
        for name, value in overwrite:
            headers.set(name, value)
        for name, value in append:
            former = headers.joined(name) if name in _JOINED else None
            if former is None:
                headers.add(name, value)
            else:
                headers.set(name, f"{former},{value}")


def _changeable(name: str) -> str:
    name = name.lower()
    if name.startswith(":") or name in _UNCHANGEABLE:
        raise ValueError(f"header {name!r} can't be added, overwritten or removed; use a host or path rewrite")
    if not is_token(name):
        raise ValueError(f"{name!r} is not a header name")
    return name


def _header_format(option: HeaderValueOption) -> Format:
    if any(character < " " or character == "\x7f" for character in option.value.replace("\t", "")):
        raise ValueError(f"header {option.key!r}: the value holds a control character")
    try:
        return compile_format(option.value, omit_empty=True)
    except ValueError as error:
        raise ValueError(f"header {option.key!r}: {error}") from None


def request_mutations(levels: Sequence[HeaderMutations], most_specific_wins: bool) -> tuple[Mutations, ...]:
    """Those of `levels` (route first) that change anything, in the order of their evaluation."""
    compiled = [Mutations(level.request_headers_to_add, level.request_headers_to_remove) for level in levels]
    return tuple(each for each in _ordered(compiled, most_specific_wins) if not each.is_identity)


def response_mutations(levels: Sequence[HeaderMutations], most_specific_wins: bool) -> tuple[Mutations, ...]:
    """Those of `levels` (route first) that change anything, in the order of their evaluation."""
    compiled = [Mutations(level.response_headers_to_add, level.response_headers_to_remove) for level in levels]
    return tuple(each for each in _ordered(compiled, most_specific_wins) if not each.is_identity)


def _ordered(compiled: list[Mutations], most_specific_wins: bool) -> list[Mutations]:
    return compiled[::-1] if most_specific_wins else compiled


def path_rewrite(match: RouteMatch, action: RouteAction | RedirectAction) -> PathRewrite | None:
    """The rewrite of a target, or None. Raises ValueError for a bad pattern, or two rewrites."""
    if action.prefix_rewrite and action.regex_rewrite:
        raise ValueError("prefix_rewrite and regex_rewrite exclude each other")
    rewrite = _bare_rewrite(match, action)
    return None if rewrite is None else lambda target: _rooted(rewrite(target))


def _bare_rewrite(match: RouteMatch, action: RouteAction | RedirectAction) -> PathRewrite | None:
    if action.prefix_rewrite:
        replacement = _visible("prefix_rewrite", action.prefix_rewrite)
        prefix = match.prefix if match.prefix is not None else match.path_separated_prefix
        if prefix is None:
            return lambda target: replacement + _query_suffix(target)
        length = len(wire_text(prefix))
        return lambda target: replacement + target[length:]
    if action.regex_rewrite:
        _visible("regex_rewrite.substitution", action.regex_rewrite.substitution)
        substitution = Substitution(action.regex_rewrite.pattern, action.regex_rewrite.substitution)

        def rewrite(target: str) -> str:
            path, separator, query = target.partition("?")
            path = substitution.replace_all(path)
            return f"{path}{separator}{query}" if path else ""

        return rewrite
    return None


def _rooted(target: str) -> str:
    """With its slash: without, it is no target, and after a redirect's host it would be read as part of that."""
    return target if not target or target.startswith("/") else f"/{target}"


def _visible(field: str, text: str) -> str:
    """Text that becomes part of a target, an authority or a URL. Raises ValueError for what could end it there."""
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"{field} {text!r}: visible ASCII only (percent-encode the rest)")
    return text


def _query_suffix(target: str) -> str:
    start = target.find("?")
    return target[start:] if start >= 0 else ""


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A request's head as it goes upstream."""

    target: str
    authority: str
    headers: Headers


@final
class RequestRewriter:
    """Everything a route does to a request's head. Raises ValueError for what can't be compiled."""

    __slots__ = (
        "_append_forwarded_host",
        "_host_header",
        "_host_literal",
        "_keep_original",
        "_mutations",
        "_path_rewrite",
        "is_identity",
    )

    def __init__(
        self, match: RouteMatch, action: RouteAction, mutations: tuple[Mutations, ...], *, keep_original: bool = True
    ) -> None:
        """`keep_original`: tell the application the former path and host in X-Envoy-Original-Path and -Host."""
        if sum(map(bool, (action.host_rewrite_literal, action.host_rewrite_header, action.auto_host_rewrite))) > 1:
            raise ValueError("host_rewrite_literal, host_rewrite_header and auto_host_rewrite exclude each other")
        self._mutations = mutations
        self._keep_original = keep_original
        self._path_rewrite = path_rewrite(match, action)
        self._host_literal = _visible("host_rewrite_literal", action.host_rewrite_literal or "")
        self._host_header = (action.host_rewrite_header or "").lower()
        self._append_forwarded_host = action.append_x_forwarded_host
        self.is_identity = not (mutations or self._path_rewrite or self._host_literal or self._host_header)
        """True if `apply` changes nothing, so that a ready-made head may be sent."""

    def apply(self, request: Request, record: Record) -> Rewritten:
        """The head that goes upstream. `request` is left alone; auto_host_rewrite is `with_host` on the result.

        `record` is of this request; mutations show in its headers.
        """
        headers = record.request_headers = request.headers.copy()
        for mutation in self._mutations:
            mutation.apply(headers, record)
        authority = self._host_literal
        if not authority and self._host_header:
            authority = request.authority if self._host_header == "host" else headers.get(self._host_header) or ""
            if not is_valid_authority(authority):  # a client may have sent it: never into the head as it is
                authority = ""
        result = Rewritten(request.target, request.authority, headers)
        if authority:
            result = with_host(result, authority, self._append_forwarded_host, self._keep_original)
        target = self._path_rewrite(request.target) if self._path_rewrite is not None else ""
        if not target:
            return result
        if self._keep_original:
            result.headers.set("x-envoy-original-path", request.target)
        return Rewritten(target, result.authority, result.headers)


def with_host(head: Rewritten, authority: str, append_x_forwarded_host: bool, keep_original: bool = True) -> Rewritten:
    """The same head for another authority; headers name the former one where that is wanted. `head` is left alone."""
    headers = head.headers.copy()
    if keep_original:
        headers.set("x-envoy-original-host", head.authority)
    if append_x_forwarded_host and head.authority:
        forwarded = headers.joined("x-forwarded-host")
        headers.set("x-forwarded-host", f"{forwarded},{head.authority}" if forwarded else head.authority)
    return Rewritten(head.target, authority, headers)


@final
class Redirector:
    """Builds the Location of a redirect route. Raises ValueError for what can't be compiled."""

    __slots__ = ("_action", "_keeps_port", "_path_redirect", "_path_rewrite", "status")

    def __init__(self, match: RouteMatch, action: RedirectAction, *, required_tls: bool = False) -> None:
        """`required_tls`: a virtual host's require_tls, which leaves the port as it is."""
        if action.path_redirect and (action.prefix_rewrite or action.regex_rewrite):
            raise ValueError("path_redirect, prefix_rewrite and regex_rewrite exclude each other")
        if action.https_redirect and action.scheme_redirect:
            raise ValueError("https_redirect and scheme_redirect exclude each other")
        self._action = action
        self._keeps_port = required_tls
        self._path_redirect = _rooted(_visible("path_redirect", action.path_redirect or ""))
        for field in ("host_redirect", "scheme_redirect"):
            _visible(field, getattr(action, field) or "")
        self._path_rewrite = path_rewrite(match, action)
        self.status = action.response_code

    def location(self, request: Request) -> str:
        """The absolute URL."""
        action = self._action
        if self._keeps_port:
            return f"https://{request.authority}{request.target}"
        scheme = action.scheme_redirect or ("https" if action.https_redirect else request.scheme)
        port = f":{action.port_redirect}" if action.port_redirect else ""
        host = action.host_redirect or _without_moved_port(request, scheme, bool(port))
        return f"{scheme}://{host}{port}{self._target(request.target)}"

    def _target(self, target: str) -> str:
        if self._path_rewrite is not None:
            target = self._path_rewrite(target) or target
        if self._path_redirect:
            if "?" in self._path_redirect:  # it brings its own query, which strip_query leaves alone
                return self._path_redirect
            target = self._path_redirect + _query_suffix(target)
        return target.partition("?")[0] if self._action.strip_query else target


def _without_moved_port(request: Request, scheme: str, replaced: bool) -> str:
    """The request's host; without its port if that is replaced, or was the default of the scheme that is left."""
    host = request.authority
    if host.startswith("["):
        end = host.rfind("]:")
        start = end + 1 if end >= 0 else -1
    else:
        start = host.rfind(":")
    if start < 0:
        return host
    left_behind = scheme != request.scheme and host[start:] == _DEFAULT_PORTS.get(request.scheme)
    return host[:start] if replaced or left_behind else host
