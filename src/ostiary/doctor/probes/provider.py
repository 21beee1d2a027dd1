"""One provider: discovery, keys, clock, and what its endpoints answer to requests that harm nobody.

Everything is asked at the same time, once, and within the time that the configuration gives. Where a connection fails,
what was tried says more than that a document is missing: it becomes facts by the same hand as a probe's.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from msgspec.structs import replace as changed

from ostiary.core.decision import Fetch, Fetched, FetchFailed
from ostiary.core.jose import KeySetInvalid, parse_key_set
from ostiary.core.oauth2.client_auth import ClientAuth, authenticate, choose_method, methods_of
from ostiary.core.oauth2.failures import SignInError
from ostiary.core.oauth2.token import authorization_url, code_request
from ostiary.core.oidc import DiscoveryInvalid, ProviderMetadata, discovery_url, parse_discovery
from ostiary.doctor.facts.configuration import ClusterSeen, OAuth2Seen
from ostiary.doctor.facts.origin import Fact, Origin
from ostiary.doctor.facts.provider import Endpoint, NotAnswered
from ostiary.doctor.facts.provider import FetchFailed as DocumentFailed
from ostiary.doctor.probes.answers import Asked, answered, authorization_answer, body_of, clock_offset, token_answer
from ostiary.doctor.probes.traces import facts_of_trace
from ostiary.doctor.probes.trust import SEES_SLOW
from ostiary.doctor.report import Evidence, Found
from ostiary.model.clusters import Cluster
from ostiary.model.clusters import Endpoint as Host
from ostiary.model.errors import OstiaryError
from ostiary.model.oauth2 import SdsSecret
from ostiary.model.secret import Secret
from ostiary.model.signin import ProviderConfig
from ostiary.model.tls import DataSource, UpstreamTlsContext
from ostiary.net.client import ProviderClient
from ostiary.net.connect_error import ConnectError
from ostiary.net.lone_client import lone_client
from ostiary.net.tls import TlsError

INVENTED: Final = "ostiary-doctor-probe-this-code-was-never-issued"
"""The authorization code of a harmless token request."""
_CONNECTING: Final = 0.9
"""The share of the time that connecting may take: so that what is late is told as what it is."""
_BROWSER: Final = (("accept", "text/html"), ("accept-language", "en"))
_DOCUMENT: Final = (("accept", "application/json"),)
_NEVER_SENT: Final = "0" * 43
"""A PKCE verifier without a challenge anywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """What to ask whom."""

    sign_in: OAuth2Seen
    strict: bool = True
    """The issuer is configured, so that it must be the document's to the letter; else somebody typed it."""
    expected: bool = True
    """Somebody says that this is a provider; else a place without a discovery document is as good as any."""
    tls: UpstreamTlsContext
    trusted: bool = True
    """Certificates are verified, so that the client's secret may be sent."""
    dns_servers: tuple[tuple[str, int], ...] = ()
    cluster: Cluster | None = None
    """Where token requests go, if not where the URL leads."""


class Inquiry:
    """The questions to one provider; `run` it once."""

    def __init__(self, asking: Asking, tell: Callable[[str, str], None], found: Callable[[list[str]], None]) -> None:
        """`found` is told the endpoints of the document, as soon as they are known."""
        self._asking = asking
        self._sign_in = asking.sign_in
        self._tell = tell
        self._found = found
        self._name = asking.sign_in.issuer or asking.sign_in.token_endpoint or asking.sign_in.authorization_endpoint
        self._ends = time.monotonic() + asking.sign_in.timeout
        self._facts: list[Fact] = []
        self._said: dict[str, str] = {}
        self.metadata: ProviderMetadata | None = None

    async def run(self) -> Found:
        """Everything that there is to know."""
        asking = self._asking
        clusters = (asking.cluster,) if asking.cluster is not None else ()
        async with lone_client(
            asking.tls,
            connect_timeout=self._sign_in.timeout * _CONNECTING,
            dns_resolvers=asking.dns_servers,
            clusters=clusters,
        ) as client:
            if self._sign_in.issuer:
                self.metadata = await self._discovery(client)
                if self.metadata is not None:
                    self._found([each for each in (self.metadata.token_endpoint, self.metadata.jwks_uri) if each])
            await asyncio.gather(self._keys(client), self._token(client), self._authorization(client))
        summary = ", ".join(f"{what} {said}" for what, said in self._said.items()) or "nothing could be asked"
        found = Evidence(kind="probe", source=self._name, summary=summary, details={"answers": dict(self._said)})
        return Found(self._facts, [found] if self._said else [])

    async def _discovery(self, client: ProviderClient) -> ProviderMetadata | None:
        issuer = self._sign_in.issuer
        url = discovery_url(issuer)
        answer = await self._ask(client, self._get(url, "discovery"), url)
        if answer is None:
            return None
        offset = clock_offset(url, answer)
        if answer.status != 200 or body_of(answer) != "json":
            if self._asking.expected or answer.status >= 500:
                self._facts.append(answered("discovery", url, answer))
                if answer.status == 200:
                    self._failed("discovery", url, "the answer is no JSON document")
            return None
        if offset is not None:
            self._facts.append(offset)
        try:
            return self._parsed(answer)
        except DiscoveryInvalid as error:
            self._failed("discovery", url, str(error))
            return None

    def _parsed(self, answer: Fetched) -> ProviderMetadata:
        """Raises DiscoveryInvalid."""
        issuer = self._sign_in.issuer
        other = issuer.removesuffix("/") if issuer.endswith("/") else f"{issuer}/"
        config = ProviderConfig(client_id=self._sign_in.client_id, issuer=issuer)
        try:
            return parse_discovery(answer.body, config)
        except DiscoveryInvalid:
            if self._asking.strict:
                raise
            try:  # somebody typed the address: a final slash more or less is not a configuration's mistake
                return parse_discovery(answer.body, ProviderConfig(client_id="", issuer=other))
            except DiscoveryInvalid:
                pass
            raise

    async def _keys(self, client: ProviderClient) -> None:
        url = self.metadata.jwks_uri if self.metadata is not None else ""
        if not url:
            return
        answer = await self._ask(client, self._get(url, "jwks"), url)
        if answer is None:
            return
        if answer.status != 200:
            self._facts.append(answered("jwks", url, answer))
            return
        try:
            parse_key_set(answer.body)
        except KeySetInvalid as error:
            self._failed("jwks", url, str(error))

    async def _token(self, client: ProviderClient) -> None:
        url = self._sign_in.token_endpoint or (self.metadata.token_endpoint if self.metadata is not None else "")
        if not url:
            return
        metadata = self._metadata(token_endpoint=url)
        secret = await self._secret()
        auth, proved = self._proof(metadata, secret)
        wanted = code_request(
            metadata, self._config(), auth, code=INVENTED, verifier=_NEVER_SENT,
            redirect_uri=_literal(self._sign_in.redirect_uri) or "https://localhost/callback",
        )  # fmt: skip
        answer = await self._ask(client, self._routed(wanted), url)
        if answer is not None:
            asked = Asked(url=url, secret=secret, proved=proved)
            self._facts.append(token_answer(asked, answer))

    def _proof(self, metadata: ProviderMetadata, secret: Secret | None) -> tuple[ClientAuth, bool]:
        """How the client shows who it is, and whether that is everything it would show."""
        client_id = self._sign_in.client_id
        if not client_id:
            return ClientAuth(), False
        wanted = self._sign_in.auth_method
        supported = methods_of(self._sign_in.preset, metadata.token_endpoint_auth_methods_supported)
        public = self._sign_in.client_secret is None and wanted in ("auto", "none") and self._asking.strict
        if secret is None:
            return ClientAuth(params=(("client_id", client_id),)), public and self._knows_secret
        try:
            method = choose_method(wanted, secret, supported)
            return authenticate(method, client_id, secret, metadata.token_endpoint, time.time(), os.urandom), True
        except SignInError:
            return ClientAuth(params=(("client_id", client_id),)), False

    @property
    def _knows_secret(self) -> bool:
        """A native configuration says where its secret is; one of Envoy names a secret that is delivered elsewhere."""
        return bool(self._sign_in.issuer)

    async def _secret(self) -> Secret | None:
        """The client's secret, if it may be sent and can be read here."""
        source = self._sign_in.client_secret
        if source is None or not self._asking.trusted:
            return None
        key = await asyncio.to_thread(_read, source)
        if key is None or self._sign_in.client_certificate is None:
            return key
        certificate = await asyncio.to_thread(_read, self._sign_in.client_certificate)
        return Secret(b"\n".join((key.reveal(), certificate.reveal()))) if certificate is not None else None

    async def _authorization(self, client: ProviderClient) -> None:
        sign_in = self._sign_in
        url = sign_in.authorization_endpoint or (
            self.metadata.authorization_endpoint if self.metadata is not None else ""
        )
        redirect_uri = _literal(sign_in.redirect_uri)
        if not (url and sign_in.client_id and redirect_uri):
            return
        challenge = base64.urlsafe_b64encode(hashlib.sha256(_NEVER_SENT.encode()).digest()).rstrip(b"=").decode()
        target = authorization_url(
            self._metadata(authorization_endpoint=url), self._config(), redirect_uri=redirect_uri,
            state="ostiary-probe", nonce="ostiary-probe", code_challenge=challenge, extra={"prompt": "none"},
        )  # fmt: skip
        fetch = Fetch(method="GET", url=target, headers=_BROWSER, timeout=self._left, purpose="authorization")
        answer = await self._ask(client, fetch, url)
        if answer is not None:
            self._facts += authorization_answer(url, redirect_uri, answer)

    # --- asking

    async def _ask(self, client: ProviderClient, fetch: Fetch, url: str) -> Fetched | None:
        """One answer. What happens instead becomes facts, and None."""
        self._tell(self._name, f"{fetch.purpose}")
        endpoint: Endpoint = fetch.purpose  # type: ignore[assignment] # the purposes above are endpoints
        try:
            answer = await client.fetch(fetch)
        except TlsError as error:
            self._said[endpoint] = str(error)
            return None
        except FetchFailed as error:
            self._said[endpoint] = error.reason
            self._facts += _unanswered(endpoint, url, error, self._sign_in.timeout)
            return None
        self._said[endpoint] = f"answers {answer.status}"
        return answer

    @property
    def _left(self) -> float:
        return max(round(self._ends - time.monotonic(), 2), 0.05)

    def _get(self, url: str, purpose: str) -> Fetch:
        return Fetch(method="GET", url=url, headers=_DOCUMENT, timeout=self._left, purpose=purpose)

    def _routed(self, fetch: Fetch) -> Fetch:
        """A token request, to where the configuration sends it."""
        cluster, parts = self._asking.cluster, urlsplit(fetch.url)
        if cluster is None:
            return changed(fetch, timeout=self._left)
        path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        return changed(fetch, url="", cluster=cluster.name, path=path, authority=parts.netloc, timeout=self._left)

    def _failed(self, endpoint: Endpoint, url: str, problem: str) -> None:
        assert endpoint in ("discovery", "jwks")
        origin = Origin(kind="probe", source=url, quote=problem)
        self._facts.append(DocumentFailed(origin=origin, endpoint=endpoint, target=url, problem=problem, who="probe"))
        self._said[endpoint] = problem

    def _metadata(self, **endpoints: str) -> ProviderMetadata:
        known = self.metadata or ProviderMetadata(issuer="", authorization_endpoint="", token_endpoint="")
        return replace(known, **endpoints)  # type: ignore[arg-type] # strings all

    def _config(self) -> ProviderConfig:
        sign_in = self._sign_in
        return ProviderConfig(
            client_id=sign_in.client_id,
            issuer=sign_in.issuer,
            scopes=sign_in.scopes or ("user",),
            timeout=self._left,
        )


def _unanswered(endpoint: Endpoint, url: str, error: FetchFailed, timeout: float) -> Iterator[Fact]:
    if isinstance(error.cause, ConnectError):
        yield from facts_of_trace(error.cause.trace)
    elif error.kind == "timeout":
        origin = Origin(kind="probe", source=url, quote=f"{endpoint}: {error.reason}")
        yield NotAnswered(origin=origin, endpoint=endpoint, target=url, after=timeout)


def routed(seen: ClusterSeen, tls: UpstreamTlsContext) -> Cluster | None:
    """The cluster that token requests go through; None for Ostiary's own providers, which are reached by URL."""
    if seen.type == "native" or not seen.hosts:
        return None
    socket = changed(tls, sni=seen.sni if "(" not in seen.sni else "") if seen.tls else None
    return Cluster(
        name=seen.name,
        type="LOGICAL_DNS",
        connect_timeout=max(seen.connect_timeout, SEES_SLOW),
        dns_lookup_family="ALL",
        endpoints=(Host(address=seen.hosts[0], port=seen.port),),
        transport_socket=socket,
        dns_resolvers=seen.dns_servers,
    )


def _read(source: DataSource | SdsSecret) -> Secret | None:
    if isinstance(source, SdsSecret):
        return _read_sds(source)
    if source.inline is not None:
        return source.inline
    try:
        with open(source.filename or "", "rb") as file:
            return Secret(file.read().strip())
    except OSError:
        return None


def _literal(redirect_uri: str) -> str:
    """A redirect URI that depends on no request; empty if it does (`%REQ(:authority)%`)."""
    return "" if "%" in redirect_uri.replace("%%", "") else redirect_uri.replace("%%", "%")


def _read_sds(source: SdsSecret) -> Secret | None:
    """Of one of Envoy's secrets: static, or in a file that is here."""
    from ostiary.dialects.envoy_secret import parse_sds

    if source.value is not None:
        return _read(source.value)
    try:
        text = Path(source.path or "").read_bytes()
        return parse_sds(text, source.path or "", source.name, lambda name: Path(name).read_bytes())
    except (OSError, OstiaryError):
        return None
