"""A browser without a screen: follows redirects, keeps cookies as browsers do, fills in forms."""

from __future__ import annotations

import html.parser
import http.client
import ssl
from dataclasses import dataclass, field
from urllib.parse import urlencode, urljoin, urlsplit

NAVIGATION = {
    "Accept": "text/html,application/xhtml+xml,*/*;q=0.8",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Site": "same-origin",
    "User-Agent": "person",
}
MAX_HOPS = 20


@dataclass(frozen=True, slots=True)
class Page:
    """Where a walk ended."""

    status: int
    url: str
    headers: tuple[tuple[str, str], ...]
    text: str
    hops: tuple[str, ...]
    """Every address on the way, the last one included."""

    def get(self, name: str) -> str | None:
        """The first field of that name, without regard to case."""
        return next((v for k, v in self.headers if k.lower() == name), None)


@dataclass(slots=True)
class Form:
    """One form of a page."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)


class _Forms(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {k: v or "" for k, v in attrs}
        if tag == "form":
            self.forms.append(Form(given.get("action", ""), given.get("method", "get").lower()))
        elif tag == "input" and self.forms and given.get("type") != "submit" and "name" in given:
            self.forms[-1].fields[given["name"]] = given.get("value", "")


class Person:
    """One browser; cookies are kept by host and path, not by port, as browsers keep them."""

    def __init__(self, trusts: ssl.SSLContext | None = None, names: dict[str, str] | None = None) -> None:
        """`names`: host name -> address, for names that the system's resolver doesn't know."""
        self.cookies: dict[tuple[str, str, str], str] = {}
        self.trusts = trusts
        self.names = names or {}

    def cookie_header(self, url: str) -> str:
        """The Cookie header that goes to `url`."""
        parts = urlsplit(url)
        path = parts.path or "/"
        found = [
            (p, f"{name}={value}")
            for (host, p, name), value in self.cookies.items()
            if host == parts.hostname and (path == p or path.startswith(p.rstrip("/") + "/") or p == "/")
        ]
        return "; ".join(pair for _, pair in sorted(found, key=lambda item: -len(item[0])))

    def keep(self, url: str, lines: list[str]) -> None:
        """Take in Set-Cookie lines."""
        host = urlsplit(url).hostname or ""
        for line in lines:
            pair, *attributes = line.split(";")
            name, _, value = pair.strip().partition("=")
            given = {k.strip().lower(): v.strip() for k, _, v in (a.partition("=") for a in attributes)}
            key = (host, given.get("path") or "/", name)
            expired = given.get("max-age") == "0" or "1970" in given.get("expires", "")
            if expired:
                self.cookies.pop(key, None)
            else:
                self.cookies[key] = value

    def step(
        self, url: str, form: dict[str, str] | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, tuple[tuple[str, str], ...], str]:
        """One request, no redirect followed: status, headers, body."""
        parts = urlsplit(url)
        connection: http.client.HTTPConnection
        host = self.names.get(parts.hostname or "", parts.hostname or "")
        if parts.scheme == "https":
            connection = http.client.HTTPSConnection(host, parts.port, timeout=20, context=self.trusts)
        else:
            connection = http.client.HTTPConnection(host, parts.port, timeout=20)
        sent = dict(NAVIGATION if headers is None else headers) | {"Host": parts.netloc}
        cookie = self.cookie_header(url)
        if cookie:
            sent["Cookie"] = cookie
        body = None
        if form is not None:
            body = urlencode(form)
            sent["Content-Type"] = "application/x-www-form-urlencoded"
            sent.setdefault("Origin", f"{parts.scheme}://{parts.netloc}")
        target = parts.path or "/"
        try:
            connection.request("POST" if form is not None else "GET", f"{target}?{parts.query}".rstrip("?"), body, sent)
            response = connection.getresponse()
            text = response.read().decode("utf-8", "replace")
            self.keep(url, response.headers.get_all("set-cookie") or [])
            return response.status, tuple(response.getheaders()), text
        finally:
            connection.close()

    def open(self, url: str, form: dict[str, str] | None = None) -> Page:
        """Go there and follow redirects."""
        hops = [url]
        for _ in range(MAX_HOPS):
            status, headers, text = self.step(url, form)
            location = next((v for k, v in headers if k.lower() == "location"), None)
            if status not in {301, 302, 303, 307, 308} or location is None:
                return Page(status, url, headers, text, tuple(hops))
            url, form = urljoin(url, location), None
            hops.append(url)
        raise AssertionError(f"more than {MAX_HOPS} redirects: {hops}")

    def submit(self, page: Page, **values: str) -> Page:
        """Fill in the page's first form and send it."""
        parser = _Forms()
        parser.feed(page.text)
        assert parser.forms, f"no form on {page.url}: {page.text[:300]}"
        form = parser.forms[0]
        fields = form.fields | values
        action = urljoin(page.url, form.action)
        if form.method == "get":
            return self.open(f"{action}?{urlencode(fields)}")
        return self.open(action, fields)

    def value(self, name: str) -> str | None:
        """A cookie's value, on any host."""
        return next((v for (_, _, n), v in self.cookies.items() if n == name), None)
