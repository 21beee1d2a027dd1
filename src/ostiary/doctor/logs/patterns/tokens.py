"""Bearer tokens that were refused: Envoy's jwt_authn in log and access log, and Go's OpenID Connect library."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from ostiary.core.log_redaction import redacted
from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.facts.provider import FetchFailed
from ostiary.doctor.facts.signin import GroupsLeftOut, JwtFault, JwtRejected
from ostiary.doctor.logs.pattern import Found, Pattern
from ostiary.doctor.logs.wording import steady

_FAULTS: Final[tuple[tuple[str, JwtFault], ...]] = (
    (r"issuer|issued by a different provider|unknown issuer", "issuer"),
    (r"audience", "audience"),
    (r"missing", "missing"),
    (r"expired", "expired"),
    (r"not yet valid|before the nbf|issued in the future|used before", "not-yet-valid"),
    (r"alg\b|algorithm|\[alg\]", "algorithm"),
    (r"verification fails|kid|public key|jwks|keys|failed to verify signature|no matching", "key"),
)


_CALLBACK: Final = re.compile(r"[?&](?:code|state)=")


def fault_of(text: str) -> JwtFault:
    """Which check refused a token, by any library's words."""
    plain = text.replace("_", " ").lower()
    return next((fault for expression, fault in _FAULTS if re.search(expression, plain)), "other")


def _accepted(found: Found) -> None:
    found.join.tokens.accepted(found.record)


def _one_refused(found: Found) -> Iterator[Fact]:
    for fact in _denied(found):
        yield from found.join.tokens.refused_by(found.record, found["provider"], fact)


def _refused(found: Found) -> Iterator[Fact]:
    told = [*found.join.tokens.refused(found.record)]
    yield from told or _denied(found)


def _denied(found: Found) -> Iterator[Fact]:
    why = " ".join(found["why"].replace("_", " ").split()).strip(". ")
    if why in ("OK", "Jwt verification OK"):
        return
    if re.search(r"(?i)remote jwks fetch is failed|jwks remote fetch|fetch is failed", why):
        yield FetchFailed(origin=found.origin, endpoint="jwks", target="", problem=why)
        return
    back = _CALLBACK.search(found.record.access.get("path", "")) is not None
    yield JwtRejected(origin=found.origin, fault=fault_of(why), detail=steady(redacted(why)), at_callback=back)


def _go(found: Found) -> Iterator[Fact]:
    message = found.record.message
    if "get keys failed" in message:
        return
    yield JwtRejected(
        origin=found.origin, fault=fault_of(found["why"]), detail=steady(redacted(found["why"])), who=found.who
    )


def _overage(found: Found) -> Iterator[Fact]:
    yield GroupsLeftOut(origin=found.origin, who=found.who)


PATTERNS: Final = (
    Pattern(
        words=("jwt_authn_access_denied",),
        expression=r"jwt_authn_access_denied\{(?P<why>[^}]*)",
        facts=_denied,
    ),
    Pattern(
        words=("JWT (?:token )?verification completed with: [^O]",),
        expression=r"(?:(?P<provider>[\w./-]+): )?JWT (?:token )?verification completed with: (?P<why>.*)",
        facts=_one_refused,
        joins=True,
    ),
    Pattern(
        words=("J[wW][tT] authentication completed with: [^O]",),
        expression=r"J[wW][tT] authentication completed with: (?P<why>.*)",
        facts=_refused,
        joins=True,
    ),
    Pattern(
        words=("completed with: OK",),
        expression=r"^(?:[\w./-]+: )?J[wW][tT] (?:token )?(?:verification|authentication) completed with: OK",
        facts=_accepted,
        joins=True,
        context=True,
    ),
    Pattern(
        words=(r"oidc: [a-z]", r"audience from claim", "failed to verify (?:id token )?signature"),
        expression=r"(?P<why>oidc: (?:id token issued by a different provider|expected audience|token is expired|"
        r"malformed jwt|failed to verify|current time .* before the nbf)[^\n]*|audience from claim [^\n]*|"
        r"failed to verify (?:id token )?signature[^\n]*)",
        facts=_go,
    ),
    Pattern(
        words=("_claim_names", "hasgroups"),
        expression=r"\"_claim_names\"[^}]*\"groups\"|\"hasgroups\": ?(?:true|\"true\")",
        facts=_overage,
    ),
)  # fmt: skip
