"""The pages of the demo's application. What came from outside is escaped; nothing is loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Final

_IDENTITY: Final = "x-forwarded-user", "x-forwarded-email", "x-forwarded-preferred-username", "x-forwarded-groups"
_SECRET: Final = ("authorization", "cookie", "x-forwarded-access-token")
_STYLE: Final = """
:root { color-scheme: light dark; --back: #fff; --ink: #1b2130; --line: #8884; --soft: #eff1f6; --accent: #2563eb; }
@media (prefers-color-scheme: dark) {
:root { --back: #10131c; --ink: #e8ebf4; --soft: #1e2433; --accent: #8ab4ff; }
}
body { background: var(--back); color: var(--ink); }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1rem; margin: 2rem 0 .5rem; }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1rem; margin: 1rem 0; } a { color: var(--accent); }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; border-top: 1px solid var(--line); padding: .3rem .5rem; }
th { font-weight: 400; vertical-align: top; min-width: 8rem; }
code, td, th, pre { font-family: ui-monospace, monospace; }
td, th { font-size: .875rem; overflow-wrap: anywhere; }
.card { background: var(--soft); border-radius: .5rem; padding: 1rem 1.25rem; }
.mark :is(td, th) { background: #22c55e22; }
pre { background: var(--soft); border-radius: .5rem; padding: 1rem; min-height: 8rem; }
button, input { font: inherit; padding: .25rem .75rem; max-width: 100%; box-sizing: border-box; }
a:focus-visible, button:focus-visible, input:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
"""
_NAV: Final = """<nav aria-label="Try"><a href="/">this page</a><a href="/anything?a=1">/anything</a>
<a href="/headers">/headers</a><a href="/status/418">/status/418</a><a href="/stream">/stream</a><a href="/ws">/ws</a>
<a href="/upload">/upload</a><a href="/.ostiary/userinfo">who am I</a>
<a href="/.ostiary/sign_out">sign out</a></nav>"""


def _page(title: str, body: str) -> str:
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{escape(title)} · the application</title><link rel="icon" href="data:,"><style>{_STYLE}</style></head>
<body>{_NAV}
<main><h1>{escape(title)}</h1>
{body}
</main></body></html>
"""


def received(method: str, target: str, headers: Iterable[tuple[str, str]], peer: str) -> str:
    """What reached the application, the identity first. Cookies and tokens are shown by their length only."""
    fields = [(name, f"{len(value)} characters" if name.lower() in _SECRET else value) for name, value in headers]
    fields.sort(key=lambda field: field[0].lower() not in _IDENTITY)
    known = {name.lower(): value for name, value in fields}
    who = known.get("x-forwarded-email") or known.get("x-forwarded-user")
    rows = "".join(f"<tr{_mark(name)}><th scope=row>{escape(name)}<td>{escape(value)}</tr>\n" for name, value in fields)
    person = f"You are <strong id=who>{escape(who)}</strong>" if who else "Nobody is signed in: this path is public."
    groups = known.get("x-forwarded-groups")
    return _page(
        "Hello from behind the door",
        f"""<div class="card"><p>{person}{f", in {escape(groups)}" if groups else ""}.</p>
<p>This application has no sign-in of its own.
It sees the request below; the doorkeeper put in the marked lines.</p></div>
<h2>Request</h2><table>
<tr><th scope=row>method<td>{escape(method)}</tr>
<tr><th scope=row>target<td>{escape(target)}</tr><tr><th scope=row>from<td>{escape(peer)}</tr></table>
<h2>Headers</h2><table>
{rows}</table>""",
    )


def _mark(name: str) -> str:
    return " class=mark" if name.lower() in _IDENTITY else ""


STREAM: Final = _page(
    "Server-sent events",
    """<p>One event a second, through the doorkeeper, without delay.</p><pre id="log" aria-live="polite"></pre>
<script>
const log = document.getElementById("log"), source = new EventSource("/stream");
source.onmessage = event => { log.textContent = event.data + "\\n" + log.textContent; };
source.onerror = () => { log.textContent = "the stream ended; the browser tries again\\n" + log.textContent; };
</script>""",
)

WEBSOCKET: Final = _page(
    "WebSocket",
    """<form id="form"><label>Message <input id="text" value="hello" autocomplete="off"></label>
<button>Send</button></form>
<pre id="log" aria-live="polite"></pre>
<script>
const log = document.getElementById("log"), text = document.getElementById("text");
const say = line => { log.textContent = line + "\\n" + log.textContent; };
const socket = new WebSocket(location.origin.replace(/^http/, "ws") + "/ws");
socket.onopen = () => say("open");
socket.onmessage = event => say("the application says: " + event.data);
socket.onclose = event => say("closed: " + event.code);
document.getElementById("form").onsubmit = event => { event.preventDefault(); socket.send(text.value); };
</script>""",
)

UPLOAD: Final = _page(
    "Upload",
    """<p>Choose a file of any size; it is streamed through and answered with its length and SHA-256.</p>
<form method="post" enctype="multipart/form-data"><label>File <input type="file" name="file" required></label>
<button>Send</button></form>""",
)
