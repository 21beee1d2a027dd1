"""Drives Envoy's OAuth2 filter as a browser and a provider would, without a network: everything is a value."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from ostiary.core.decision import Allow, Counter, Decision, Fetch, Fetched, FetchFailed, Request, Respond, Start
from ostiary.core.oauth2.envoy import EnvoyOAuth2Filter
from ostiary.core.oauth2.envoy.filter import Outcomes
from ostiary.model.headers import Headers
from ostiary.model.matchers import StringMatcher
from ostiary.model.oauth2 import HttpUri, OAuth2Config, OAuth2Credentials, RuntimeFlags, SdsSecret

NOW = 1_790_000_000.25


def config(**changes: Any) -> OAuth2Config:
    """A complete configuration; `credentials_*` changes go to the credentials."""
    credentials = {
        name.removeprefix("credentials_"): changes.pop(name)
        for name in list(changes)
        if name.startswith("credentials_")
    }
    values: dict[str, Any] = {
        "token_endpoint": HttpUri(uri="https://idp.example/token?tenant=1", cluster="idp", timeout=5.0),
        "authorization_endpoint": "https://idp.example/authorize?prompt=login",
        "credentials": OAuth2Credentials(
            **{
                "client_id": "my client",
                "token_secret": SdsSecret(name="token"),
                "hmac_secret": SdsSecret(name="hmac"),
                **credentials,
            }
        ),
        "redirect_uri": "https://%REQ(:authority)%/callback",
        "redirect_path_matcher": StringMatcher("exact", "/callback"),
        "signout_path": StringMatcher("exact", "/signout"),
        "auth_scopes": ("openid", "email"),
    }
    return OAuth2Config(**{**values, **changes})


class Secrets:
    """What SDS delivered."""

    def __init__(self) -> None:
        self.token: bytes | None = b"client secret"
        self.hmac: bytes | None = b"asdf_token_secret_fdsa"

    def token_secret(self) -> bytes | None:
        return self.token

    def hmac_secret(self) -> bytes | None:
        return self.hmac


class World:
    """One filter, its counters, and one browser with its cookies."""

    def __init__(self, oauth2: OAuth2Config | None = None, *, seed: int = 0, **flags: bool) -> None:
        self.secrets = Secrets()
        self.counters: dict[str, Counter] = {}
        self.cookies: dict[str, str] = {}
        self.deleted: list[str] = []
        self.now = NOW
        self.clusters = {"idp"}
        self._draws = seed
        self.filter = EnvoyOAuth2Filter(
            oauth2 or config(),
            runtime=RuntimeFlags(**flags),
            secrets=self.secrets,
            entropy=self.entropy,
            counter=lambda name: self.counters.setdefault(name, Counter(name)),
            known_cluster=self.clusters.__contains__,
        )

    def another_filter(self, oauth2: OAuth2Config, outcomes: Outcomes) -> EnvoyOAuth2Filter:
        """A filter beside the first, with the same secrets, of a process that shares `outcomes`."""
        return EnvoyOAuth2Filter(
            oauth2,
            runtime=RuntimeFlags(),
            secrets=self.secrets,
            entropy=self.entropy,
            counter=Counter,
            known_cluster=self.clusters.__contains__,
            outcomes=outcomes,
        )

    def entropy(self, count: int) -> bytes:
        self._draws += 1
        return hashlib.shake_256(self._draws.to_bytes(8, "big")).digest(count)

    def counts(self) -> dict[str, int]:
        """Every counter that has moved."""
        return {name: counter.value for name, counter in self.counters.items() if counter.value}

    def request(
        self,
        target: str = "/page?a=1",
        *,
        host: str = "app.example",
        cookie: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
        **changes: Any,
    ) -> Request:
        """A request of this browser, or with just the cookies of `cookie`."""
        path, _, query = target.partition("?")
        sent = cookie if cookie is not None else "; ".join(f"{n}={v}" for n, v in self.cookies.items())
        fields = [*headers, *([("cookie", sent)] if sent else [])]
        request = Request(
            method="GET",
            target=target,
            path=path,
            query=query,
            scheme="https",
            authority=host,
            headers=Headers(fields),
        )
        return msgspec.structs.replace(request, **changes)

    def decide(self, request: Request, *answers: Fetched | FetchFailed) -> Decision:
        """Decide, drive a flow to its end, keep the cookies and count what the shell would count."""
        decision: Decision = self.filter.decide(request, self.now)
        if isinstance(decision, Start):
            decision = self.drive(decision, *answers)
        self.keep(decision)
        return decision

    def drive(self, start: Start, *answers: Fetched | FetchFailed) -> Allow | Respond:
        """Run a flow; `asked` becomes its fetches."""
        self.asked: list[Fetch] = []
        flow, pending = start.flow, list(answers)
        try:
            self.asked.append(next(flow))
            while True:
                answer = pending.pop(0)
                self.asked.append(flow.throw(answer) if isinstance(answer, FetchFailed) else flow.send(answer))
        except StopIteration as end:
            assert not pending
            result: Allow | Respond = end.value
            return result

    def keep(self, decision: Decision) -> None:
        assert not isinstance(decision, Start)
        if isinstance(decision, Allow):
            for counter in decision.counters:
                counter.inc()
        for line in set_cookies(decision):
            name, _, rest = line.partition("=")
            if "expires=Thu, 01 Jan 1970" in line or ";Max-Age=0" in line:
                self.cookies.pop(name, None)
                self.deleted.append(name)
            else:
                self.cookies[name] = rest.partition(";")[0]

    def begin(self, target: str = "/page?a=1", **changes: Any) -> dict[str, str]:
        """Ask for a page and be sent to the provider; the parameters of the authorization request."""
        answer = self.decide(self.request(target, **changes))
        assert isinstance(answer, Respond)
        assert answer.details == "oauth.missing_credentials"
        return {name: values[0] for name, values in parse_qs(urlsplit(location(answer)).query).items()}

    def sign_in(self, *, host: str = "app.example", **tokens: Any) -> Respond:
        """A whole sign-in; the answer to the callback."""
        asked = self.begin(host=host)
        callback = self.request(f"/callback?code=c0de&state={asked['state']}", host=host)
        answer = self.decide(callback, self.token_answer(**tokens))
        assert isinstance(answer, Respond)
        return answer

    def token_answer(self, status: int = 200, body: bytes | None = None, **members: Any) -> Fetched:
        """The token endpoint's answer; a member that is None is left out."""
        document = {
            "access_token": "the-access-token",
            "expires_in": 3600,
            "id_token": "the-id-token",
            "refresh_token": "the-refresh-token",
            **members,
        }
        shown = {name: value for name, value in document.items() if value is not None}
        return Fetched(
            status=status,
            headers=Headers([("content-type", "application/json; charset=utf-8")]),
            body=json.dumps(shown).encode() if body is None else body,
            now=self.now,
        )


def set_cookies(decision: Allow | Respond) -> list[str]:
    """The values of its Set-Cookie headers."""
    fields = decision.headers if isinstance(decision, Respond) else decision.response_set
    return [value for name, value in fields if name == "set-cookie"]


def location(decision: Decision) -> str:
    assert isinstance(decision, Respond)
    (value,) = [value for name, value in decision.headers if name == "location"]
    return value


def cookie_names(decision: Allow | Respond) -> list[str]:
    """The names of its Set-Cookie headers, in order."""
    return [line.partition("=")[0] for line in set_cookies(decision)]
