"""The demo provider's two pages: who are you, and a message."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Final

from ostiary.testing.provider_people import DemoUser
from ostiary.testing.provider_server import Reply

_STYLE: Final = """
:root{color-scheme:light dark;--back:#f3f5fb;--card:#fff;--ink:#1a2033;--soft:#5b6478;--line:#d7dce9;--accent:#5940c9}
@media(prefers-color-scheme:dark){
:root{--back:#0f1220;--card:#191e31;--ink:#e9ecf7;--soft:#a3abc2;--line:#2d3450;--accent:#b3a2ff}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1rem;background:var(--back);color:var(--ink);
font:16px/1.5 system-ui,sans-serif}
main{width:100%;max-width:26rem;background:var(--card);border:1px solid var(--line);border-radius:16px;padding:2rem}
h1{font-size:1.35rem;margin:0 0 .25rem}
p{color:var(--soft);margin:0 0 1.25rem}
button{display:block;width:100%;text-align:left;font:inherit;color:inherit;background:none;cursor:pointer;
border:1px solid var(--line);border-radius:12px;padding:.75rem 1rem;margin:0 0 .75rem}
button:hover,button:focus-visible{border-color:var(--accent);outline:2px solid var(--accent);outline-offset:1px}
button span{display:block;color:var(--soft);font-size:.9rem}
button.quiet{border:0;text-align:center;color:var(--soft);margin:0}
small{display:block;color:var(--soft);margin-top:1rem}
"""


def login_page(users: Iterable[DemoUser], query: str, client: str) -> Reply:
    """One button a user; the authorization request comes along in the form's address."""
    buttons = "".join(
        f'<button name="username" value="{escape(user.username)}"><b>{escape(user.name)}</b>'
        f"<span>{escape(user.email)} · {escape(', '.join(user.groups) or 'no groups')}</span></button>"
        for user in users
    )
    return _page(
        200,
        "Demo provider",
        f"<h1>Who are you today?</h1><p><b>{escape(client)}</b> asks you to sign in. This provider is for trying "
        f'things out: pick a user, there are no passwords.</p><form method="post" action="?{escape(query)}">{buttons}'
        '<button class="quiet" name="decline" value="1">Cancel</button></form>',
    )


def message_page(status: int, title: str, text: str) -> Reply:
    """A heading and a sentence."""
    return _page(status, title, f"<h1>{escape(title)}</h1><p>{escape(text)}</p>")


def _page(status: int, title: str, inner: str) -> Reply:
    body = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style><main>{inner}<small>Ostiary demo provider</small></main>"
    )
    headers = (
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-store"),
        ("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    )
    return Reply(status=status, headers=headers, body=body.encode())
