"""What a sign-in, a refresh and a sign-out ask of the provider, as generators that yield `Fetch`.

A refresh ends a session only if the provider says so (`invalid_grant` and its kin) or answers with something that can't
be believed. No answer, an answer that makes no sense and a rejected client say nothing about the user: the caller keeps
the session and asks again later.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar, final

import msgspec

from ostiary.core.decision import Entropy, Fetch, Fetched
from ostiary.core.jose import IdTokenPolicy, TokenRefused, UnknownKey, is_issuer, verify_id_token
from ostiary.core.oauth2 import token
from ostiary.core.oauth2.client_auth import ClientAuth, authenticate, choose_method, methods_of
from ostiary.core.oauth2.failures import SignInError
from ostiary.core.oauth2.flow import PendingSignIn, base64url
from ostiary.core.oauth2.identity import (
    Person,
    github_email,
    has_group_overage,
    lacks_what_was_asked,
    merge_userinfo,
    named_groups,
    needed_from_userinfo,
    person_of,
    wants_groups,
)
from ostiary.core.oauth2.memberships import READ_ORG, github_groups, graph_groups
from ostiary.core.oauth2.session import Session
from ostiary.core.oidc import Provider, ProviderMetadata, ask
from ostiary.model.secret import Secret
from ostiary.model.signin import SignIn

T = TypeVar("T")
Steps = Generator[Fetch, Fetched, T]

_ENDS_SESSION: Final = frozenset(
    (
        *("grant-rejected", "login-required", "consent-required", "sign-in-declined", "email-unverified"),
        *("clock-skew", "userinfo-invalid"),
    )
)


@dataclass(frozen=True, slots=True)
class RefreshOutcome:
    """How a refresh went. `session` is the renewed one, or the old one."""

    result: Literal["renewed", "failed", "ended"]
    session: Session
    now: float
    code: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SignInOutcome:
    """What a code was good for: a session, or an error."""

    session: Session | None
    code: str = ""
    reason: str = ""


@final
class TokenExchange:
    """The provider's side of the filter."""

    def __init__(
        self, config: SignIn, provider: Provider, client_secret: Callable[[], Secret | None], entropy: Entropy
    ) -> None:
        self._config = config
        self._provider = provider
        self._client_secret = client_secret
        self._entropy = entropy
        self._keep_access_token = config.session.keep_access_token
        if self._keep_access_token is None:
            self._keep_access_token = config.pass_access_token or config.pass_authorization

    def complete(self, pending: PendingSignIn, code: str, issuer: str | None, now: float) -> Steps[Session]:
        """A new session for an authorization code. `issuer` is the callback's `iss`. Raises SignInError."""
        metadata, now = yield from self._provider.fetch_metadata(now)
        _check_callback_issuer(metadata, issuer)
        request = token.code_request(
            metadata,
            self._config.provider,
            self._authenticate(metadata, now),
            code=code,
            redirect_uri=pending.redirect_uri,
            verifier=pending.verifier,
        )
        answer = yield from ask(request, "idp-unreachable", now)
        try:
            tokens = token.parse_tokens(answer)
        except SignInError as error:
            if error.code == "redirect-uri-mismatch":
                raise SignInError(error.code, f"{error.reason}; redirect_uri={pending.redirect_uri}") from error
            raise
        claims, now = yield from self._claims(metadata, tokens, pending.nonce, None, answer.now)
        person = person_of(claims, self._config, multi_tenant="{tenantid}" in metadata.issuer)
        fresh = Session(
            id=base64url(self._entropy(16)),
            subject=person.subject,
            created=now,
            last_seen=now,
        )
        return self._with_tokens(_with_person(fresh, person), tokens, answer.now)

    def refresh(self, session: Session, now: float) -> Steps[RefreshOutcome]:
        """Renew the tokens, and the claims if a new ID token came. Never raises SignInError."""
        try:
            metadata, now = yield from self._provider.fetch_metadata(now)
            auth = self._authenticate(metadata, now)
            request = token.refresh_request(metadata, self._config.provider, auth, session.refresh_token)
            answer = yield from ask(request, "idp-unreachable", now)
            now = answer.now
            tokens = token.parse_tokens(answer)
        except SignInError as error:
            result: Literal["ended", "failed"] = "ended" if _ends_session(error) else "failed"
            return RefreshOutcome(result, session, getattr(error, "now", now), error.code, error.reason)
        renewed = self._with_tokens(msgspec.structs.replace(session, last_seen=now), tokens, now)
        try:
            if tokens.id_token or self._config.provider.kind == "oauth2":
                claims, now = yield from self._claims(metadata, tokens, None, session.sub, now)
                person = person_of(claims, self._config, multi_tenant="{tenantid}" in metadata.issuer)
                if person.subject != session.subject:
                    raise SignInError("jwt-subject", "the refreshed token names another user")
                renewed = _with_person(renewed, person)
        except SignInError as error:
            if _ends_session(error):
                return RefreshOutcome("ended", session, now, error.code, error.reason)
            # The tokens are new and must be kept (the old one may be used up); what they say is asked next time.
        return RefreshOutcome("renewed", renewed, now)

    def revoke(self, metadata: ProviderMetadata, session: Session, now: float) -> Steps[bool]:
        """Revoke what can be revoked; False if the provider did not agree. Never raises SignInError."""
        found, hint = (
            (session.refresh_token, "refresh_token")
            if session.refresh_token
            else (session.access_token, "access_token")
        )
        if not found or not metadata.revocation_endpoint:
            return False
        try:
            auth = self._authenticate(metadata, now, metadata.revocation_endpoint)
            request = token.revocation_request(metadata.revocation_endpoint, self._config.provider, auth, found, hint)
            answer = yield from ask(request, "idp-unreachable", now)
        except SignInError:
            return False
        return answer.status == 200

    def _authenticate(self, metadata: ProviderMetadata, now: float, endpoint: str = "") -> ClientAuth:
        provider, secret = self._config.provider, self._client_secret()
        if secret is None and provider.client_secret is not None:
            raise SignInError("secret-not-delivered", "the client secret can't be read")
        supported = methods_of(provider.preset, metadata.token_endpoint_auth_methods_supported)
        method = choose_method(provider.client_auth_method, secret, supported)
        return authenticate(method, provider.client_id, secret, endpoint or metadata.token_endpoint, now, self._entropy)

    def _claims(
        self, metadata: ProviderMetadata, tokens: token.Tokens, nonce: str | None, subject: str | None, now: float
    ) -> Steps[tuple[Mapping[str, Any], float]]:
        if self._config.provider.kind == "oauth2":
            return (yield from self._plain_userinfo(metadata, tokens, now))
        if not tokens.id_token:
            raise SignInError("jwt-missing", "the token endpoint's answer has no id_token")
        claims, now = yield from self._verified(metadata, tokens, nonce, subject, now)
        claims, now = yield from self._with_all_groups(claims, tokens, now)
        needed = needed_from_userinfo(self._config, claims)
        if not metadata.userinfo_endpoint or not (needed or lacks_what_was_asked(self._config, claims)):
            return claims, now
        try:
            userinfo, now = yield from self._userinfo(metadata.userinfo_endpoint, tokens, now)
            return merge_userinfo(claims, userinfo), now
        except SignInError as error:
            if needed:
                raise
            return claims, max(now, getattr(error, "now", now))

    def _with_all_groups(
        self, claims: Mapping[str, Any], tokens: token.Tokens, now: float
    ) -> Steps[tuple[Mapping[str, Any], float]]:
        """Entra's groups where they were too many for the token. Hundreds fit no header: those that rules name are
        kept, and all only if the configuration hands them on."""
        provider = self._config.provider
        if not (provider.groups_endpoint and wants_groups(self._config) and has_group_overage(claims, provider)):
            return claims, now
        groups, now = yield from graph_groups(provider, tokens.access_token, now)
        if provider.groups_claim not in self._config.claim_headers.values():
            named = named_groups(self._config)
            groups = [group for group in groups if group in named]
        return {**claims, provider.groups_claim: groups}, now

    def _verified(
        self, metadata: ProviderMetadata, tokens: token.Tokens, nonce: str | None, subject: str | None, now: float
    ) -> Steps[tuple[Mapping[str, Any], float]]:
        for unknown in (False, True):
            keys, now = yield from self._provider.fetch_keys(now, unknown=unknown)
            policy = IdTokenPolicy(
                issuer=metadata.issuer,
                client_id=self._config.provider.client_id,
                algorithms=self._config.provider.id_token_algorithms,
                keys=keys,
                nonce=nonce,
                access_token=tokens.access_token,
                subject=subject,
            )
            try:
                return verify_id_token(tokens.id_token, policy, now), now
            except UnknownKey as error:
                refused: TokenRefused = error
            except TokenRefused as error:
                raise SignInError(error.code, error.reason) from error
        raise SignInError(refused.code, refused.reason)

    def _plain_userinfo(
        self, metadata: ProviderMetadata, tokens: token.Tokens, now: float
    ) -> Steps[tuple[Mapping[str, Any], float]]:
        provider, url = self._config.provider, metadata.userinfo_endpoint
        claims, now = yield from self._userinfo(url, tokens, now)
        if provider.preset == "github" and "user:email" in provider.scopes:
            request = token.userinfo_request(f"{url.removesuffix('/')}/emails", provider, tokens.access_token)
            answer = yield from ask(request, "idp-unreachable", now)
            now = answer.now
            claims["email"] = github_email(_json(answer.body)) if answer.status == 200 else ""
        if provider.preset == "github" and READ_ORG in provider.scopes:
            claims["groups"], now = yield from github_groups(url, provider, tokens.access_token, now)
        return claims, now

    def _userinfo(self, url: str, tokens: token.Tokens, now: float) -> Steps[tuple[dict[str, Any], float]]:
        request = token.userinfo_request(url, self._config.provider, tokens.access_token)
        answer = yield from ask(request, "idp-unreachable", now)
        document = token.json_object(answer, "userinfo endpoint")
        if answer.status != 200:
            raise SignInError("userinfo-invalid", f"the userinfo endpoint answered {answer.status}")
        return document, answer.now

    def _with_tokens(self, session: Session, tokens: token.Tokens, now: float) -> Session:
        refresh_token = tokens.refresh_token or session.refresh_token
        expires = None if tokens.expires_in is None else now + tokens.expires_in
        refresh_at = None
        if refresh_token and tokens.expires_in is not None:
            refresh_at = now + tokens.expires_in - min(self._config.session.refresh_margin, tokens.expires_in / 2)
        return msgspec.structs.replace(
            session,
            access_token=tokens.access_token if self._keep_access_token else "",
            access_expires=expires,
            refresh_token=refresh_token,
            refresh_at=refresh_at,
            id_token=(tokens.id_token or session.id_token) if self._config.session.keep_id_token else "",
        )


def _ends_session(error: SignInError) -> bool:
    return error.code in _ENDS_SESSION or error.code.startswith("jwt-")


def _with_person(session: Session, person: Person) -> Session:
    return msgspec.structs.replace(
        session,
        subject=person.subject,
        provider_subject=person.provider_subject,
        email=person.email,
        preferred_username=person.preferred_username,
        name=person.name,
        groups=person.groups,
        claims=person.claims,
    )


def _check_callback_issuer(metadata: ProviderMetadata, issuer: str | None) -> None:
    """RFC 9207 section 2.4. Entra's template has no issuer of its own to compare; its tokens are checked by `tid`."""
    if issuer is None:
        if metadata.authorization_response_iss_parameter_supported:
            raise SignInError("issuer-mismatch", "the callback has no `iss`, the provider says it always sends it")
        return
    tenant = issuer[len(metadata.issuer.partition("{")[0]) :].partition("/")[0]
    if not is_issuer(issuer, metadata.issuer, tenant):
        raise SignInError("issuer-mismatch", f"`iss` of the callback is {token.clean(issuer)!r}")


def _json(body: bytes) -> object:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
