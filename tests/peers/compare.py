"""Runs one script against the real Envoy and against Ostiary and says where they differ.

A `Case` is a script that talks to a proxy through a `Client`. Everything that can be seen is an observation with a
path: `2.response.status`, `2.app.0.headers.cookie`, `counters.http.ing.oauth_success`. Random parts are replaced by
what they must be (`<csrf>`, `<cbc:access-1>`, `<hmac>`), and are checked while they are replaced, so that two proxies
can't agree on rubbish.

Where Ostiary differs on purpose, `differences.py` says so.
"""

from __future__ import annotations

import itertools
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote

import yaml

from peers import rawhttp, sealed
from peers.differences import judge
from peers.proxies import Proxy, envoy_arguments, ostiary_arguments
from peers.recorders import Answer, Application, Provider, Received, free_port
from peers.same_yaml import HMAC_SECRET, HOST, Tree, fill

DEFAULT_NAMES = {
    "bearer_token": "BearerToken",
    "oauth_hmac": "OauthHMAC",
    "oauth_expires": "OauthExpires",
    "id_token": "IdToken",
    "refresh_token": "RefreshToken",
    "oauth_nonce": "OauthNonce",
    "code_verifier": "CodeVerifier",
}
TOKEN_KINDS = ("bearer_token", "id_token", "refresh_token")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
FLOW_IN_TEXT = re.compile(r"\b[0-9a-f]{16}\b")
UNSTABLE_DETAILS = re.compile(r"response_body:.* (?=\S+ \S+ \S*$)")
"""protobuf puts random spaces into its errors, so that nobody compares them."""
FLOW = re.compile(r"\.[0-9a-f]{16}$")
COUNTED = re.compile(
    r"oauth_(?!legacy)|^http\.ing\.(no_route|no_cluster|rq_direct_response|rq_redirect|downstream_rq_[1-5]xx)$"
)
IDP_HEADERS = ("host", "content-type", "accept", "authorization")
IGNORED_RESPONSE_HEADERS = {"date", "server", "content-length", "connection", "transfer-encoding"}
IGNORED_APP_HEADERS = {"x-case"}


@dataclass(frozen=True, slots=True)
class Case:
    """One script and where the two are known to differ."""

    id: str
    config: str
    """The name of a configuration in the module's table."""
    script: Callable[[Client], None]


@dataclass(slots=True)
class Side:
    """One proxy with an application and a provider of its own."""

    name: str
    proxy: Proxy
    app: Application
    idp: Provider
    access_log: Path
    port: int


@dataclass(slots=True)
class Flow:
    """A sign-in under way: what a browser holds after the redirect."""

    state: str
    flow_id: str
    csrf: str
    url: str


class Client:
    """Plays one script against one side and writes down what can be seen."""

    def __init__(self, side: Side, case: str, names: Mapping[str, str], domain: str) -> None:
        self.side = side
        self.case = case
        self.names = DEFAULT_NAMES | dict(names)
        self.domain = domain
        self.jar: dict[str, str] = {}
        self.seen: dict[str, object] = {}
        self.step = 0
        self.app = side.app
        self.idp = side.idp

    # --- talking

    def send(
        self,
        method: str = "GET",
        target: str = "/page",
        *headers: tuple[str, str],
        body: bytes = b"",
        cookie: str | None = None,
        host: str | None = HOST,
    ) -> rawhttp.Response:
        """One request; its cookies come from the jar unless `cookie` gives the header ("" = none)."""
        line = "; ".join(f"{k}={v}" for k, v in self.jar.items()) if cookie is None else cookie
        sent = (("x-case", self.case), *headers, *((("cookie", line),) if line else ()))
        data = rawhttp.request(method, target, sent, body, host=host)
        return self.raw(data, head_request=method == "HEAD")

    def raw(self, data: bytes, *, head_request: bool = False) -> rawhttp.Response:
        """Bytes as they are; the response and what it caused behind the proxy are written down."""
        self.step += 1
        response = rawhttp.exchange(self.side.port, data, head_request=head_request)
        self.record(response)
        return response

    def record(self, response: rawhttp.Response) -> None:
        """Write down a response and what arrived behind the proxy since the last one."""
        place = f"{self.step}."
        self.seen[place + "response.status"] = response.status
        self.seen[place + "response.body"] = response.body.decode("latin-1")
        location = response.get("location")
        if location is not None:
            self.seen[place + "response.location"] = normal_location(location)
        cookies = self.normal_set_cookies(response.get_all("set-cookie"))
        self.seen[place + "response.set_cookie"] = cookies
        for name, value in response.headers:
            low = name.lower()
            if low not in IGNORED_RESPONSE_HEADERS | {"set-cookie", "location"}:
                self.seen[place + f"response.headers.{low}"] = normal_header(low, value)
        for line in response.get_all("set-cookie"):
            self._store(line)
        self._record_behind(place)

    def _record_behind(self, place: str) -> None:
        for number, got in enumerate(self.app.drain()):
            at = f"{place}app.{number}."
            self.seen[at + "line"] = got.request_line
            self.seen[at + "body"] = (len(got.body), got.body[:200])
            names = dict.fromkeys(name.lower() for name, _ in got.headers)
            for name in names:
                if name == "cookie":
                    self.seen[at + "headers.cookie"] = sorted(_pairs(got.get_all(name)))
                elif name not in IGNORED_APP_HEADERS:
                    values = [normal_header(name, v) for v in got.get_all(name)]
                    self.seen[at + f"headers.{name}"] = values
        for number, got in enumerate(self.idp.drain()):
            at = f"{place}idp.{number}."
            self.seen[at + "line"] = got.request_line
            for name in IDP_HEADERS:
                self.seen[at + f"headers.{name}"] = got.get_all(name)
            self.seen[at + "body"] = normal_form(got)

    def _store(self, line: str) -> None:
        name, _, rest = line.partition("=")
        value = rest.split(";")[0]
        if value == "deleted" or "max-age=0;" in line.lower():
            self.jar.pop(name, None)
        else:
            self.jar[name] = value

    # --- what a browser does

    def start(self, target: str = "/page", *headers: tuple[str, str]) -> Flow:
        """Ask for a page without a session and follow nothing."""
        return flow_of(self.send("GET", target, *headers))

    def callback(
        self, flow: Flow, *headers: tuple[str, str], code: str = "code-1", state: str | None = None
    ) -> rawhttp.Response:
        """Come back from the provider."""
        return self.send("GET", f"/callback?code={code}&state={flow.state if state is None else state}", *headers)

    def sign_in(self, target: str = "/page", *headers: tuple[str, str]) -> rawhttp.Response:
        """The whole way; the jar holds the session afterwards."""
        return self.callback(self.start(target, *headers), *headers)

    def session(
        self,
        access: str = "access-1",
        identity: str = "id-1",
        refresh: str = "",
        *,
        expires: str | None = None,
        mode: str = "cbc",
        domain: str | None = None,
        secret: str = HMAC_SECRET,
        legacy: bool = False,
        mac: str | None = None,
    ) -> None:
        """Put a session into the jar that was made elsewhere. `mode` is cbc, gcm or plain."""
        expires = str(int(time.time()) + 3600) if expires is None else expires
        tokens = {"bearer_token": access, "id_token": identity, "refresh_token": refresh}
        mac = mac or sealed.session_hmac(
            secret, domain or self.domain or HOST, expires.strip(' "'), access, identity, refresh, legacy=legacy
        )
        self.jar[self.names["oauth_hmac"]] = mac
        self.jar[self.names["oauth_expires"]] = expires
        seal = {"cbc": sealed.encrypt_cbc, "gcm": sealed.encrypt_gcm, "plain": lambda text, _: text}[mode]
        for kind, token in tokens.items():
            if token:
                self.jar[self.names[kind]] = seal(token, secret)

    def flow_cookies(self, url: str, *, nonce: str = "00000000075bcd15", flow_id: str | None = None) -> Flow:
        """Put a flow into the jar that was started elsewhere."""
        csrf, flow = sealed.csrf_token(HMAC_SECRET, nonce), nonce if flow_id is None else flow_id
        verifier = sealed.encrypt_cbc("v" * 43, HMAC_SECRET)
        suffixes = [f".{flow}", ""] if flow else [""]
        for name, value in ((self.names["oauth_nonce"], csrf), (self.names["code_verifier"], verifier)):
            for suffix in suffixes:
                self.jar[name + suffix] = value
        return Flow(sealed.state(url, csrf, flow), flow, csrf, url)

    # --- random parts, checked and replaced

    def normal_set_cookies(self, lines: list[str]) -> list[str]:
        """Set-Cookie lines in order, each value replaced by what it must be."""
        fresh = dict(self.jar)
        for line in lines:
            name, _, rest = line.partition("=")
            fresh[name] = rest.split(";")[0]
        shown = [self._normal_set_cookie(line, fresh) for line in lines]
        if len(shown) > 5 and all("=deleted;" in line for line in shown):
            return shown[:5] + sorted(shown[5:])  # sign-out: Envoy deletes flow cookies in no order
        return shown

    def _normal_set_cookie(self, line: str, fresh: Mapping[str, str]) -> str:
        name, _, rest = line.partition("=")
        value, semicolon, attributes = rest.partition(";")
        attributes = re.sub(r"Max-Age=(\d+)", lambda m: f"Max-Age={_about(int(m[1]))}", attributes)
        kind = next(
            (k for k, n in self.names.items() if name == n or (name.startswith(n + ".") and FLOW.search(name))), ""
        )
        shown = FLOW.sub(".<flow>", name) if kind in {"oauth_nonce", "code_verifier"} else name
        if value != "deleted":
            value = self._normal_value(kind, value, fresh)
        return f"{shown}={value}{semicolon}{attributes}"

    def _normal_value(self, kind: str, value: str, fresh: Mapping[str, str]) -> str:
        if kind == "oauth_nonce":
            return (
                "<csrf>" if value == sealed.csrf_token(HMAC_SECRET, value.partition(".")[0]) else f"<bad csrf {value}>"
            )
        if kind == "code_verifier" or kind in TOKEN_KINDS:
            opened = sealed.decrypt(value, HMAC_SECRET)
            if opened is None:
                return value
            mode, text = opened
            return f"<{mode}:{len(text)} characters>" if kind == "code_verifier" else f"<{mode}:{text}>"
        if kind == "oauth_expires":
            return f"<now+{_about(int(value) - int(time.time()))}>" if value.isdigit() else value
        if kind == "oauth_hmac":
            return "<hmac>" if self._hmac_holds(value, fresh) else f"<bad hmac {value}>"
        return value

    def _hmac_holds(self, mac: str, fresh: Mapping[str, str]) -> bool:
        """Whether it covers the tokens of this response, or those that the browser had."""
        expires = fresh.get(self.names["oauth_expires"], "")
        choices = []
        for kind in TOKEN_KINDS:
            held = [fresh.get(self.names[kind], ""), self.jar.get(self.names[kind], ""), ""]
            plain = [sealed.decrypt(v, HMAC_SECRET) for v in held]
            choices.append({p[1] if p else h for p, h in zip(plain, held, strict=True)})
        return any(
            mac == sealed.session_hmac(HMAC_SECRET, self.domain or HOST, expires, *tokens)
            for tokens in itertools.product(*choices)
        )


def flow_of(response: rawhttp.Response) -> Flow:
    """The flow that a redirect to the provider started."""
    location = response.get("location") or ""
    state = dict(parse_qsl(location.partition("?")[2])).get("state", "")
    assert state, f"no redirect to a provider: {response.status} {location} {response.body[:100]!r}"
    document = json.loads(sealed.unb64url(state))
    return Flow(state, document["flow_id"], document["csrf_token"], document["url"])


def normal_location(location: str) -> object:
    """A redirect's target: parameters in order, the state opened, random parts checked and replaced."""
    base, mark, query = location.partition("?")
    if "state=" not in query:
        return location
    shown = []
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if name == "state":
            value = _normal_state(value)
        elif name == "code_challenge":
            value = "<challenge>" if re.fullmatch(r"[A-Za-z0-9_-]{43}", value) else f"<bad challenge {value}>"
        shown.append(f"{name}={value}")
    return base + mark + "&".join(shown)


def _normal_state(value: str) -> str:
    try:
        text = sealed.unb64url(value).decode()
        document = json.loads(text)
    except ValueError:
        return value
    csrf, flow = document.get("csrf_token", ""), document.get("flow_id", "")
    good = csrf == sealed.csrf_token(HMAC_SECRET, flow) and re.fullmatch("[0-9a-f]{16}", flow)
    return text.replace(csrf, "<csrf>").replace(flow, "<flow>") if good else f"<bad {text}>"


def normal_header(name: str, value: str) -> str:
    """A header's value with what can't be equal replaced."""
    if name == "x-request-id":
        return "<uuid>" if UUID.fullmatch(value) else value
    if name == "x-envoy-upstream-service-time" and value.isdigit():
        return "<ms>"
    return value.lower() if name == "connection" else value


def normal_form(got: Received) -> str:
    """A token request's body, byte for byte but for the verifier and an assertion's times."""
    text = got.body.decode("latin-1")
    text = re.sub(r"code_verifier=[A-Za-z0-9_-]{43}(?=&|$)", "code_verifier=<verifier>", text)
    return re.sub(r"client_assertion=([^&]+)", lambda m: f"client_assertion={_normal_assertion(m[1])}", text)


def _normal_assertion(token: str) -> str:
    header, payload, _ = unquote(token).split(".")
    claims = json.loads(sealed.unb64url(payload))
    now = time.time()
    for name in ("iat", "nbf", "exp"):
        if name in claims:
            claims[name] = f"<now+{_about(int(claims[name] - now + 0.5))}>"
    if UUID.fullmatch(str(claims.get("jti", ""))):
        claims["jti"] = "<uuid>"
    return f"{sealed.unb64url(header).decode()}.{json.dumps(claims, sort_keys=True)}"


def _about(seconds: int) -> int:
    """Seconds, forgiving the few that pass between two clocks; 0 and small values stay exact."""
    near_round = abs(seconds) > 50 and abs(seconds % 50 - 25) > 20
    return round(seconds / 50) * 50 if abs(seconds) > 1000 or near_round else seconds


def _pairs(lines: list[str]) -> list[str]:
    return [pair for line in lines for pair in line.split("; ")]


def credentials_of(tree: Any) -> Mapping[str, Any]:
    """The first OAuth2 credentials in a configuration; empty if there are none."""
    branches = tree.values() if isinstance(tree, Mapping) else tree if isinstance(tree, list) else ()
    if isinstance(tree, Mapping) and "credentials" in tree:
        found: Mapping[str, Any] = tree["credentials"]
        return found
    return next((found for branch in branches if (found := credentials_of(branch))), {})


class Pair:
    """Envoy and Ostiary, running the same configuration."""

    def __init__(self, name: str, tree: Tree, directory: Path) -> None:
        self.name = name
        self.directory = directory
        credentials = credentials_of(tree)
        self.names: Mapping[str, str] = credentials.get("cookie_names", {})
        self.domain: str = credentials.get("cookie_domain", "")
        self.sides = tuple(self._side(kind, tree) for kind in ("envoy", "ostiary"))

    def _side(self, kind: str, tree: Tree) -> Side:
        app, idp = Application(), Provider()
        port, admin = free_port(), free_port()
        log = self.directory / f"{self.name}-{kind}.access.log"
        values = {"PORT": port, "ADMIN": admin, "APP": app.port, "IDP": idp.port, "LOG": str(log), "DEAD": 1}
        config = self.directory / f"{self.name}-{kind}.yaml"
        config.write_text(yaml.safe_dump(fill(tree, values), sort_keys=False))
        argv = envoy_arguments(config) if kind == "envoy" else ostiary_arguments(config)
        proxy = Proxy(kind, argv, (port,), admin, self.directory / f"{self.name}-{kind}.log")
        return Side(kind, proxy, app, idp, log, port)

    def start(self) -> Pair:
        """Start everything."""
        for side in self.sides:
            side.proxy.start()
        return self

    def stop(self) -> None:
        """Stop everything; logs are complete afterwards."""
        for side in self.sides:
            side.proxy.stop()
            side.app.close()
            side.idp.close()


def play(pair: Pair, side: Side, case: Case) -> dict[str, object]:
    """Run a script against one side; what was seen, and what it counted."""
    before = side.proxy.counters()
    side.app.drain()
    side.idp.drain()
    side.app.script.clear()
    side.idp.script.clear()
    client = Client(side, case.id, pair.names, pair.domain)
    case.script(client)
    after = side.proxy.counters()
    for name, value in after.items():
        if COUNTED.search(name) and value != before.get(name, 0):
            client.seen[f"counters.{name}"] = value - before.get(name, 0)
    return client.seen


def differences(envoy: Mapping[str, object], ostiary: Mapping[str, object]) -> dict[str, tuple[Any, Any]]:
    """Observation -> (Envoy's, Ostiary's), where they are not equal."""
    missing = "<nothing>"
    paths = sorted({*envoy, *ostiary})
    return {
        path: (envoy.get(path, missing), ostiary.get(path, missing))
        for path in paths
        if envoy.get(path, missing) != ostiary.get(path, missing)
    }


class Pairs(Protocol):
    """Finds the running pair of a configuration."""

    pairs: dict[str, Pair]

    def pair(self, name: str) -> Pair: ...

    def stop(self) -> None: ...


def compare(case: Case, fleet: Pairs, tally: Counter[str]) -> None:
    """Play a case on both sides and judge. Raises AssertionError."""
    pair = fleet.pair(case.config)
    envoy, ostiary = (play(pair, side, case) for side in pair.sides)
    tally["scripts"] += 1
    tally["observations"] += len(envoy.keys() | ostiary.keys())
    tally.update(judge(case.id, differences(envoy, ostiary)))


def compare_access_logs(fleet: Pairs, tally: Counter[str]) -> None:
    """Stop every pair and compare what they logged about each case. Raises AssertionError."""
    fleet.stop()
    problems = []
    for pair in fleet.pairs.values():
        envoy, ostiary = (_log_lines(side.access_log) for side in pair.sides)
        for case in sorted(envoy.keys() | ostiary.keys()):
            tally["log lines"] += len(envoy.get(case, ()))
            found = differences(_columns(envoy.get(case, [])), _columns(ostiary.get(case, [])))
            try:
                tally.update(judge(case, found, whole=False))
            except AssertionError as problem:
                problems.append(f"{pair.name}: {problem}")
    assert not problems, "\n".join(problems)


def _log_lines(path: Path) -> dict[str, list[str]]:
    lines: dict[str, list[str]] = {}
    for line in path.read_text("latin-1").splitlines() if path.exists() else ():
        case, _, rest = line.partition(" ")
        rest = UNSTABLE_DETAILS.sub("response_body:<body> ", FLOW_IN_TEXT.sub("<flow>", rest))
        lines.setdefault(case, []).append(rest)
    return lines


def _columns(lines: list[str]) -> dict[str, object]:
    """Log lines by column: code, details (which may hold spaces), flags, cluster, route."""
    split = [re.fullmatch(r"(\S+) (.*) (\S+) (\S+) (\S*)", line) for line in lines]
    names = ("code", "details", "flags", "cluster", "route")
    return {f"log.{name}": [m[n] if m else "?" for m in split] for n, name in enumerate(names, 1)} if lines else {}


def refused(status: int = 400, body: bytes = b"") -> Answer:
    """A token endpoint that says no."""
    return Answer(status, (("content-type", "application/json"),), body or b'{"error":"invalid_grant"}')
