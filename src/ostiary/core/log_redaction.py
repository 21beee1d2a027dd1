"""Lines of any program's log, without the secrets in them.

Logs are written by other programs, and pasted cut and wrapped. So a value is masked by the name before it (in a query,
a form, a header, JSON, a cookie) up to where such a value must end, or to the end of the text; and by its own look
where no name helps (JWT, `Bearer`).
"""

from __future__ import annotations

import re
from typing import Final

_MASK: Final = "[secret]"
_QUERY_NAMES: Final = "code|state|token|nonce|assertion|session_state|password"
"""Masked behind `?`, `&` or a quote only: as words of their own they have other meanings (`code=503`)."""
_FORM_NAMES: Final = (
    "access_token|id_token|refresh_token|id_token_hint|logout_token|client_secret|client_assertion|code_verifier|passwd"
    "|device_code|SAMLResponse|subject_token"
)
_JSON_NAMES: Final = (
    f"{_FORM_NAMES}|{_QUERY_NAMES}|csrf_token|secret|authorization|cookie|api_key|apikey|clientSecret|inline_?string"
    "|inline_?bytes"
)
_COOKIES: Final = (
    r"(?:OauthHMAC|OauthExpires|BearerToken|IdToken|RefreshToken|OauthNonce|CodeVerifier|_?oauth2_proxy\w*|__Host-[\w.-]+"
    r"|__Secure-[\w.-]+|session|sessionid|[A-Z]*SESS(?:ION)?ID|connect\.sid|csrftoken|XSRF-TOKEN)"
)
_RULES: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    # a header in a dump ('cookie', 'a=b'), in HTTP (cookie: a=b), of curl (< set-cookie: a=b; Path=/)
    (re.compile(r"(?i)(\\*['\"]?\bset-cookie\\*['\"]?\s*[:,]\s*\\*['\"]?[^=\s'\"]{1,100}=)[^;'\"\s]*"), rf"\1{_MASK}"),
    (re.compile(r"(?i)((?<![-\w])['\"]?cookie['\"]?\s*[:,]\s*['\"]?)(?![“\"'\s])[^'\"\r\n]*"), rf"\1{_MASK}"),
    (
        re.compile(r"(?i)(['\"]?\b(?:[\w-]*authorization|x-[\w-]*access-token)['\"]?\s*[:,]\s*['\"]?)[^'\"\r\n]*"),
        rf"\1{_MASK}",
    ),
    # JSON, also within a string of JSON, and with `_` for blanks as in an access log
    (re.compile(rf'(?i)((?<!\\)"(?:{_JSON_NAMES})"[\s_]*:[\s_]*")(?:[^"\\]|\\.)*'), rf"\1{_MASK}"),
    (re.compile(rf'(?i)(\\+"(?:{_JSON_NAMES})\\+"[\s_]*:[\s_]*\\+")(?:[^"\\]|\\+[^"\\])*'), rf"\1{_MASK}"),
    (re.compile(rf"(?i)('(?:{_JSON_NAMES})'\s*[:,]\s*')[^']*"), rf"\1{_MASK}"),
    # a query or a form, plain or encoded once more
    (re.compile(rf"(?i)(?<![\w-])((?:{_FORM_NAMES})=)[^&\s\"'<>;,]*"), rf"\1{_MASK}"),
    (re.compile(rf"(?i)(?<=[?&\"'])((?:{_QUERY_NAMES})=)[^&\s\"'<>;,]*"), rf"\1{_MASK}"),
    (re.compile(rf"(?i)((?:(?:[?&]|%3F|%26)(?:{_QUERY_NAMES})|{_FORM_NAMES})%3D)[^&%\s\"']*"), rf"\1{_MASK}"),
    # what Envoy's filter prints of a state or a cookie that it can't use
    (
        re.compile(r"(?i)((?:not[\s_]a[\s_]valid[\s_]JSON|url[\s_]or[\s_](?:CSRF[\s_]token|nonce)):[\s_]*)\S.*"),
        rf"\1{_MASK}",
    ),
    (re.compile(r"(?i)(to[\s_]decrypt[\s_](?:token|code[\s_]verifier):[\s_]*)\S*?(?=,[\s_]*err|\s|$)"), rf"\1{_MASK}"),
    # values that look like credentials
    (re.compile(r"\beyJ[\w-]{5,}(?:\.[\w-]*){0,4}"), _MASK),
    (re.compile(r"(?i)\b(Bearer|Basic)[ _]+(?!realm|error|\[)[A-Za-z0-9._~+/-]{6,}=*"), rf"\1 {_MASK}"),
    (re.compile(r"(://)[^/\s:@\"']*:[^/\s@\"']+@"), rf"\1{_MASK}@"),
    (re.compile(rf"(?i)(?<![\w.-])({_COOKIES}(?:\.[\w]+)?=)(?!\[secret\])[^;\s'\",&]+"), rf"\1{_MASK}"),
)  # fmt: skip


def redacted(text: str) -> str:
    """A line of any program's log, fit to be shown."""
    for expression, put in _RULES:
        text = expression.sub(put, text)
    return text
