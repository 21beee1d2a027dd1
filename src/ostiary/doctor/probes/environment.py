"""Variables of this process that send other programs through an HTTP proxy, which Envoy and Ostiary do not read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from ostiary.doctor.facts.connection import ProxyVariable
from ostiary.doctor.facts.origin import Fact, Origin

_VARIABLES: Final = ("https_proxy", "all_proxy")
"""In either case; `http_proxy` is for plain HTTP, which no provider speaks."""


def proxy_variables(hosts: Iterable[str], environment: Mapping[str, str] = os.environ) -> Iterator[Fact]:
    """The variables by which other programs would reach one of the hosts through a proxy."""
    said = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    excepted = [each.strip().lstrip("*.").lower() for each in said.split(",") if each.strip()]
    if all(is_near(host) or _is_excepted(host.lower(), said.strip(), excepted) for host in hosts):
        return
    for name in _VARIABLES:
        for variable in (name, name.upper()):
            parts = urlsplit(environment.get(variable, ""))
            if parts.hostname:
                host = parts.hostname + (f":{parts.port}" if parts.port else "")
                origin = Origin(kind="probe", source="environment", quote=f"{variable} names {host}")
                yield ProxyVariable(origin=origin, variable=variable, host=host)
                return


def _is_excepted(host: str, said: str, names: Iterable[str]) -> bool:
    """`NO_PROXY` names the host, or a domain above it."""
    return said == "*" or any(host == name or host.endswith(f".{name}") for name in names)


def is_near(host: str) -> bool:
    """Whether it is this host itself."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
