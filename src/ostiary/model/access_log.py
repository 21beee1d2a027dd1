"""Access logs, with the names of Envoy's `extensions.access_loggers`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from ostiary.model.matchers import HeaderMatcher

JsonFormat = Mapping[str, "str | JsonFormat"]

DEFAULT_FORMAT: Final = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% '
    '%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" '
    '"%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%"\n'
)
"""Envoy's default format string."""


class AccessLogFilter(msgspec.Struct, frozen=True, kw_only=True):
    """The part of config.accesslog.v3.AccessLogFilter that Ostiary has: all that are given must hold."""

    status_code_at_least: int | None = None
    duration_at_least_ms: int | None = None
    not_health_check: bool = False
    header: HeaderMatcher | None = None


class AccessLog(msgspec.Struct, frozen=True, kw_only=True):
    """One logger: a file or a standard stream; a text format or a JSON one."""

    sink: Literal["file", "stdout", "stderr"]
    path: str = ""
    text_format: str | None = DEFAULT_FORMAT
    json_format: JsonFormat | None = None
    omit_empty_values: bool = False
    filter: AccessLogFilter | None = None
