"""What a provider's error means: RFC 6749's codes, and the providers' own where those say more.

`invalid_grant` alone may be a code used twice, a redirect URI or a PKCE verifier that does not fit; the description or
the provider's number tells which. Numbers are those of Entra ID's documentation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_BY_CODE: Final[Mapping[str, str]] = {
    "AADSTS50011": "redirect-uri-mismatch",
    "AADSTS500113": "redirect-uri-mismatch",
    "AADSTS500112": "redirect-uri-mismatch",
    "AADSTS7000215": "client-rejected",
    "AADSTS7000222": "client-rejected",
    "AADSTS7000218": "client-rejected",
    "AADSTS700016": "client-rejected",
    "AADSTS700027": "client-rejected",
    "AADSTS7000229": "client-rejected",
    "AADSTS90002": "client-rejected",
    "AADSTS70011": "scope-rejected",
    "AADSTS500011": "scope-rejected",
    "AADSTS650053": "scope-rejected",
    "AADSTS28002": "scope-rejected",
    "AADSTS65001": "consent-required",
    "AADSTS65004": "consent-required",
    "AADSTS90094": "consent-required",
    "AADSTS90008": "consent-required",
    "AADSTS54005": "grant-rejected",
    "AADSTS70008": "grant-rejected",
    "AADSTS70000": "grant-rejected",
    "AADSTS9002313": "grant-rejected",
    "AADSTS501481": "code-verifier-invalid",
    "AADSTS50148": "code-verifier-invalid",
}
_BY_DESCRIPTION: Final = (
    (re.compile(r"redirect[_ ]?ur[il]|callback url|reply (url|address)", re.IGNORECASE), "redirect-uri-mismatch"),
    (re.compile(r"code[_ ]verifier|pkce", re.IGNORECASE), "code-verifier-invalid"),
    (re.compile(r"\bscopes?\b", re.IGNORECASE), "scope-rejected"),
    (re.compile(r"\bconsent", re.IGNORECASE), "consent-required"),
)
_BY_ERROR: Final[Mapping[str, str]] = {
    "invalid_client": "client-rejected",
    "unauthorized_client": "client-rejected",
    "deleted_client": "client-rejected",
    "invalid_grant": "grant-rejected",
    "bad_verification_code": "grant-rejected",
    "incorrect_client_credentials": "client-rejected",
    "application_suspended": "client-rejected",
    "Client_not_found": "client-rejected",
    "redirect_uri_mismatch": "redirect-uri-mismatch",
    "invalid_redirect_uri": "redirect-uri-mismatch",
    "invalid_scope": "scope-rejected",
    "invalid_resource": "scope-rejected",
    "invalid_target": "scope-rejected",
    "consent_required": "consent-required",
    "server_error": "idp-server-error",
    "temporarily_unavailable": "idp-server-error",
    "interaction_required": "consent-required",
}
_VAGUE: Final = frozenset({"invalid_grant", "invalid_request", "access_denied", "unauthorized_client", "server_error"})
"""Errors whose description tells more than they do."""


def cause_of(error: str, description: str = "", codes: tuple[str, ...] = ()) -> str:
    """The rule that explains a provider's error; `idp-error` for any that has none of its own."""
    for code in codes:
        if code in _BY_CODE:
            return _BY_CODE[code]
    if error in _VAGUE or error not in _BY_ERROR:
        for sign, rule in _BY_DESCRIPTION:
            if sign.search(description):
                return rule
    return _BY_ERROR.get(error, "idp-error")
