"""Request heads as a browser sends them."""

from __future__ import annotations

from bench.sessions import HOST

BROWSER = (
    ("cache-control", "max-age=0"),
    ("sec-ch-ua", '"Chromium";v="156", "Not)A;Brand";v="8", "Google Chrome";v="156"'),
    ("sec-ch-ua-mobile", "?0"),
    ("sec-ch-ua-platform", '"Linux"'),
    ("upgrade-insecure-requests", "1"),
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36",
    ),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    ("sec-fetch-site", "same-origin"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-user", "?1"),
    ("sec-fetch-dest", "document"),
    ("referer", f"https://{HOST}/reports/quarterly?year=2026"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept-language", "en-GB,en;q=0.9,de;q=0.8"),
    ("priority", "u=0, i"),
)
"""What Chromium adds to a navigation, apart from Host, Connection and Cookie."""


def head(method: str, target: str, cookie: str, *, host: str = HOST, extra: tuple[tuple[str, str], ...] = ()) -> bytes:
    """The bytes of one request's head."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Connection: keep-alive"]
    lines += [f"{name}: {value}" for name, value in (*BROWSER, *extra)]
    if cookie:
        lines.append(f"Cookie: {cookie}")
    return "\r\n".join((*lines, "", "")).encode("latin-1")
