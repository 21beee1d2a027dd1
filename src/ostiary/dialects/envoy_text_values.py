"""Small values of the model as Envoy writes them: durations, matchers, data sources, typed extensions.

A writer says what differs from the default and leaves out the rest, so that what a person reads is what was meant.
Secrets that stand in the model itself are not printed: `Secrets` writes in their place the name of a file that isn't
there. Envoy and Ostiary refuse to start with that, where any text would be a secret that everybody knows.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from ostiary.model.config import Address
from ostiary.model.matchers import HeaderMatcher, StringMatcher
from ostiary.model.oauth2 import SdsSecret
from ostiary.model.secret import Secret
from ostiary.model.signin import SignIn
from ostiary.model.tls import DataSource

Tree = dict[str, Any]
PLACEHOLDER: Final = "REPLACE_ME"
_TYPES: Final = "type.googleapis.com/"


@dataclass(slots=True)
class Secrets:
    """How secrets are written, and which of them had to be left out."""

    show: bool = False
    placeholder: str = PLACEHOLDER
    """What stands for text that is left out."""
    hidden: dict[str, Secret | None] = field(default_factory=dict)
    """What each secret is that was left out, and itself, so that its line is found."""
    static: dict[str, Tree] = field(default_factory=dict)
    """static_resources.secrets by name."""

    def source(self, source: DataSource, what: str) -> Tree:
        """core.v3.DataSource of a secret."""
        if source.inline is not None and not self.show:
            self.hidden[what] = source.inline
            return {"filename": PLACEHOLDER}
        return data_source(source)

    def generic(self, secret: SdsSecret, what: str) -> Tree:
        """tls.v3.SdsSecretConfig of a generic secret; a static one is noted down."""
        if secret.path is not None:
            return {"name": secret.name, "sds_config": sds_config(secret.path, secret.watched_directory)}
        if secret.value is not None and secret.name not in self.static:
            self.static[secret.name] = {"secret": self.source(secret.value, what)}
        return {"name": secret.name}

    def sign_in(self, config: SignIn) -> Tree:
        """The configuration of a native filter. Raises TypeError: Envoy has no such filter."""
        raise TypeError(f"a {type(config).__name__} of the native profile has to be translated before")


def sds_config(path: str, watched_directory: str | None) -> Tree:
    """core.v3.ConfigSource of a file."""
    source: Tree = {"path": path}
    if watched_directory is not None:
        source["watched_directory"] = {"path": watched_directory}
    return {"resource_api_version": "V3", "path_config_source": source}


def data_source(source: DataSource) -> Tree:
    """core.v3.DataSource of what is no secret."""
    if source.filename is not None:
        return {"filename": source.filename}
    return inline(source.inline.reveal() if source.inline is not None else b"")


def inline(value: bytes) -> Tree:
    """Bytes as an inline core.v3.DataSource."""
    try:
        return {"inline_string": value.decode()}
    except UnicodeDecodeError:
        return {"inline_bytes": base64.b64encode(value).decode()}


def typed(name: str, **fields: Any) -> Tree:
    """An Any of the message `name`, with the fields that are not None."""
    return {"@type": _TYPES + name} | given(**fields)


def extension(name: str, config: Tree) -> Tree:
    """core.v3.TypedExtensionConfig and whatever else has a name and a typed_config."""
    return {"name": name, "typed_config": config}


def given(**fields: Any) -> Tree:
    """The fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


def some(value: Any) -> Any:
    """None for what is empty: text, lists, maps, 0, False."""
    return value or None


def unless(value: Any, default: Any) -> Any:
    """None for what is the default."""
    return None if value == default else value


def differing(value: msgspec.Struct, names: Iterable[str]) -> Tree:
    """The fields of a struct that differ from their defaults, floats as durations."""
    defaults = {each.name: each.default for each in msgspec.structs.fields(type(value))}
    found = {name: getattr(value, name) for name in names if getattr(value, name) != defaults[name]}
    return {name: duration(each) if isinstance(each, float) else each for name, each in found.items()}


def duration(seconds: float) -> str:
    """Protobuf's JSON form of a duration."""
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"


def duration_unless(seconds: float | None, default: float | None) -> str | None:
    """None for what is the default."""
    return None if seconds is None or seconds == default else duration(seconds)


def socket_address(host: str, port: int) -> Tree:
    """core.v3.Address of a host and a port."""
    return {"socket_address": {"address": host, "port_value": port}}


def address(value: Address) -> Tree:
    """core.v3.Address to listen on."""
    if value.pipe is not None:
        return {"pipe": given(path=value.pipe, mode=value.mode)}
    return socket_address(value.host, value.port)


def string_matcher(matcher: StringMatcher) -> Tree:
    """matcher.v3.StringMatcher."""
    if matcher.kind == "safe_regex":
        return {"safe_regex": {"regex": matcher.value}}
    return given(**{matcher.kind: matcher.value}, ignore_case=some(matcher.ignore_case))


def header_matcher(matcher: HeaderMatcher) -> Tree:
    """route.v3.HeaderMatcher."""
    bounds = matcher.range_match
    return given(
        name=matcher.name,
        string_match=string_matcher(matcher.string_match) if matcher.string_match is not None else None,
        present_match=matcher.present_match,
        range_match={"start": bounds[0], "end": bounds[1]} if bounds is not None else None,
        invert_match=some(matcher.invert_match),
        treat_missing_header_as_empty=some(matcher.treat_missing_header_as_empty),
    )


def header_matchers(matchers: Iterable[HeaderMatcher]) -> list[Tree] | None:
    """A list of them, None if it is empty."""
    return [header_matcher(matcher) for matcher in matchers] or None


def upgrade_configs(types: Mapping[str, bool]) -> list[Tree] | None:
    """upgrade_configs of a connection manager or a route."""
    found = [{"upgrade_type": kind} | ({} if enabled else {"enabled": False}) for kind, enabled in types.items()]
    return found or None
