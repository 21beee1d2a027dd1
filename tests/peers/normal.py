"""What can't be equal is replaced by what it must be, and checked while it is replaced.

So two proxies can't agree on rubbish: `<csrf>` is only written where the token's MAC holds, `<hmac>` where it covers
the tokens of the response, `<cbc:access-1>` where the cookie decrypts to that.
"""

from __future__ import annotations

import itertools
import json
import re
import time
from collections.abc import Mapping
from urllib.parse import unquote

from peers import sealed
from peers.recorders import Received
from peers.same_yaml import HMAC_SECRET, HOST

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
IN_A_DAY = round(time.time() / 1000) * 1000 + 100_000
"""When tokens expire that have an expiry of their own: a moment, where others have a time from now."""
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
FLOW = re.compile(r"\.[0-9a-f]{16}$")


class CookieReader:
    """Reads Set-Cookie lines with the cookie names and the domain of one configuration."""

    def __init__(self, names: Mapping[str, str], domain: str) -> None:
        self.names = DEFAULT_NAMES | dict(names)
        self.domain = domain

    def normal(self, lines: list[str], jar: Mapping[str, str]) -> list[str]:
        """Set-Cookie lines in order, each value replaced by what it must be; `jar` is what the browser had."""
        fresh = dict(jar)
        for line in lines:
            name, _, rest = line.partition("=")
            fresh[name] = rest.split(";")[0]
        shown = [self._line(line, fresh, jar) for line in lines]
        if len(shown) > 5 and all("=deleted;" in line for line in shown):
            return shown[:5] + sorted(shown[5:])  # sign-out: Envoy deletes flow cookies in no order
        return shown

    def _line(self, line: str, fresh: Mapping[str, str], jar: Mapping[str, str]) -> str:
        name, _, rest = line.partition("=")
        value, semicolon, attributes = rest.partition(";")
        attributes = re.sub(r"Max-Age=(\d+)", lambda m: f"Max-Age={_about(int(m[1]))}", attributes)
        kind = next(
            (k for k, n in self.names.items() if name == n or (name.startswith(n + ".") and FLOW.search(name))), ""
        )
        shown = FLOW.sub(".<flow>", name) if kind in {"oauth_nonce", "code_verifier"} else name
        if value != "deleted":
            value = self._value(kind, value, fresh, jar)
        return f"{shown}={value}{semicolon}{attributes}"

    def _value(self, kind: str, value: str, fresh: Mapping[str, str], jar: Mapping[str, str]) -> str:
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
            return "<hmac>" if self._hmac_holds(value, fresh, jar) else f"<bad hmac {value}>"
        return value

    def _hmac_holds(self, mac: str, fresh: Mapping[str, str], jar: Mapping[str, str]) -> bool:
        """Whether it covers the tokens of this response, or those that the browser had."""
        expires = fresh.get(self.names["oauth_expires"], "")
        choices = []
        for kind in TOKEN_KINDS:
            held = [fresh.get(self.names[kind], ""), jar.get(self.names[kind], ""), ""]
            plain = [sealed.decrypt(v, HMAC_SECRET) for v in held]
            choices.append({p[1] if p else h for p, h in zip(plain, held, strict=True)})
        return any(
            mac == sealed.session_hmac(HMAC_SECRET, self.domain or HOST, expires, *tokens)
            for tokens in itertools.product(*choices)
        )


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
    return re.sub(r"client_assertion=([^&]+)", lambda m: f"client_assertion={_normal_assertion(m[1], got.at)}", text)


def _normal_assertion(token: str, now: float) -> str:
    header, payload, _ = unquote(token).split(".")
    claims = json.loads(sealed.unb64url(payload))
    for name in ("iat", "nbf", "exp"):
        if name in claims:
            claims[name] = f"<now+{_about(int(claims[name] - now + 0.5))}>"
    if UUID.fullmatch(str(claims.get("jti", ""))):
        claims["jti"] = "<uuid>"
    return f"{sealed.unb64url(header).decode()}.{json.dumps(claims, sort_keys=True)}"


def _about(seconds: int) -> str:
    """Seconds from now, forgiving those that pass between two clocks; 0 and small values stay exact."""
    if abs(time.time() + seconds - IN_A_DAY) < 1000:
        return "<until IN_A_DAY>"
    near_round = abs(seconds) > 50 and abs(seconds % 50 - 25) > 5
    return str(round(seconds / 50) * 50 if near_round else seconds)
