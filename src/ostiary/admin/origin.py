"""Which requests a page of another site made a browser send: the admin API must not be used through somebody's browser.

Two ways are known. A form or `fetch` of any site can POST to 127.0.0.1, where it needs no answer to do harm: browsers
put `Origin` on those, so an Origin that isn't this host is refused. And a site can let its own name point to 127.0.0.1
after it was loaded (DNS rebinding) and read the answers: then Host is that name. So where the admin API listens on
loopback, and where a browser POSTs, Host has to be an address, `localhost`, or a name without dots, which no site has.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit


def refusal(*, host: str, origin: str, fetch_site: str, mutates: bool, loopback: bool) -> str | None:
    """Why a request with these fields (Host, Origin, Sec-Fetch-Site; empty: absent) is refused, or None."""
    by_browser = bool(origin or fetch_site)
    if mutates and origin and urlsplit(origin).netloc.lower() != host.lower():
        return f"a page of another site ({origin}) may not change anything here"
    if mutates and not origin and fetch_site not in ("", "same-origin", "none"):
        return "a page of another site may not change anything here"
    if (loopback or (mutates and by_browser)) and host and not _is_no_site(host):
        return f"{host} could be any site's name for this address: use 127.0.0.1, localhost or the IP address"
    return None


def _is_no_site(host: str) -> bool:
    name = urlsplit(f"//{host}").hostname or "" if _parses(host) else "."
    if name == "localhost" or name.endswith(".localhost") or ("." not in name and ":" not in name):
        return True
    try:
        ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


def _parses(host: str) -> bool:
    try:
        urlsplit(f"//{host}").hostname  # noqa: B018 - raises for what is no authority
    except ValueError:
        return False
    return True
