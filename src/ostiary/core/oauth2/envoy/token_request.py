"""Requests to the token endpoint (RFC 6749 sections 4.1.3 and 6), member order and spelling as Envoy's."""

from __future__ import annotations

from base64 import b64encode

from ostiary.core.decision import Entropy, Fetch
from ostiary.core.oauth2.envoy.client_assertion import ASSERTION_TYPE, ClientAssertion
from ostiary.core.oauth2.envoy.urls import form_encode, split_http_uri
from ostiary.core.regex import wire_text
from ostiary.model import limits
from ostiary.model.oauth2 import HttpUri, OAuth2Config


class TokenEndpoint:
    """Builds the two requests of one client."""

    def __init__(self, config: OAuth2Config, endpoint: HttpUri) -> None:
        self._endpoint = endpoint
        self._authority, self._path = split_http_uri(wire_text(endpoint.uri))
        self._retry_policy = config.retry_policy
        self._auth_type = config.auth_type
        self._client_id = wire_text(config.credentials.client_id)
        self._assertion = ClientAssertion(config.credentials.client_id, endpoint.uri, config.private_key_jwt_config)

    def exchange(
        self, code: str, *, redirect_uri: str, verifier: str, secret: bytes, now: float, entropy: Entropy
    ) -> Fetch:
        """Redeem `code`, which goes on as it stood in the callback's query. Raises ClientCredentialError."""
        body = (
            f"grant_type=authorization_code&code={code}{self._credentials(secret, now, entropy)}"
            f"&redirect_uri={form_encode(redirect_uri)}&code_verifier={verifier}"
        )
        return self._fetch(body, secret, "token")

    def refresh(self, refresh_token: str, *, secret: bytes, now: float, entropy: Entropy) -> Fetch:
        """Ask for new tokens. Raises ClientCredentialError."""
        body = (
            f"grant_type=refresh_token&refresh_token={form_encode(refresh_token)}"
            f"{self._credentials(secret, now, entropy)}"
        )
        return self._fetch(body, secret, "refresh")

    def _credentials(self, secret: bytes, now: float, entropy: Entropy) -> str:
        client_id = f"&client_id={form_encode(self._client_id)}"
        match self._auth_type:
            case "BASIC_AUTH":
                return ""
            case "URL_ENCODED_BODY":
                return f"{client_id}&client_secret={form_encode(secret.decode('latin-1'))}"
            case "TLS_CLIENT_AUTH":
                return client_id
            case "PRIVATE_KEY_JWT":
                assertion = self._assertion(secret, now, entropy)
                assertion_type = form_encode(ASSERTION_TYPE)
                return f"{client_id}&client_assertion_type={assertion_type}&client_assertion={assertion}"

    def _fetch(self, body: str, secret: bytes, purpose: str) -> Fetch:
        headers = [("content-type", "application/x-www-form-urlencoded"), ("accept", "application/json")]
        if self._auth_type == "BASIC_AUTH":
            pair = self._client_id.encode("latin-1") + b":" + secret
            headers.append(("authorization", "Basic " + b64encode(pair).decode("ascii")))
        retry = self._retry_policy
        return Fetch(
            method="POST",
            cluster=self._endpoint.cluster,
            path=self._path,
            authority=self._authority,
            headers=tuple(headers),
            body=body.encode("latin-1"),
            timeout=self._endpoint.timeout or limits.PROVIDER_TIMEOUT,
            retries=retry.num_retries if retry else 0,
            retry_base_interval=retry.base_interval if retry else 0.025,
            retry_max_interval=max(retry.base_interval, retry.max_interval) if retry else 0.25,
            purpose=purpose,
        )
