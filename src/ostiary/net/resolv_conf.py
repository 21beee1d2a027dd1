"""The system's own resolver settings: resolv.conf(5) and hosts(5), read again when they change."""

from __future__ import annotations

import os
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from ostiary.core.addresses import RecordType

RESOLV_CONF: Final = Path("/etc/resolv.conf")
HOSTS: Final = Path("/etc/hosts")
DNS_PORT: Final = 53
_MAX_SERVERS: Final = 8
_MAX_NDOTS: Final = 15
_MAX_TIMEOUT: Final = 30
_MAX_ATTEMPTS: Final = 5
"""As in glibc."""

Server = tuple[str, int]
"""A DNS server's IP address and port."""
_THIS_HOST: Final[tuple[Server, ...]] = (("127.0.0.1", DNS_PORT),)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvConf:
    """What resolv.conf says; without the file, the server on this host."""

    servers: tuple[Server, ...] = _THIS_HOST
    search: tuple[str, ...] = ()
    ndots: int = 1
    timeout: int | None = None
    attempts: int | None = None
    rotate: bool = False
    use_vc: bool = False
    """TCP only."""
    no_aaaa: bool = False

    @property
    def configured(self) -> bool:
        """Whether the file names a server."""
        return self.servers is not _THIS_HOST

    def candidates(self, name: str, *, search: bool = True) -> list[str]:
        """The absolute names (with trailing dot) to ask for, in order.

        A name with a trailing dot is absolute. One with at least `ndots` dots is asked for as it is before the search
        list, any other after it.
        """
        if name.endswith("."):
            return [name]
        absolute = f"{name}."
        if not search:
            return [absolute]
        extended = [f"{name}.{suffix}." for suffix in self.search]
        return [absolute, *extended] if name.count(".") >= self.ndots else [*extended, absolute]


def parse_resolv_conf(text: str) -> ResolvConf:
    """Read resolv.conf. Lines and options it does not know are skipped, as the system's own resolver does.

    `single-request` and its like are about two questions on one socket, which there never are here.
    """
    servers: list[Server] = []
    search: tuple[str, ...] = ()
    flags: set[str] = set()
    numbers: dict[str, int] = {}
    for line in text.splitlines():
        words = line.split("#", 1)[0].split(";", 1)[0].split()
        if len(words) < 2:
            continue
        keyword, values = words[0], words[1:]
        if keyword == "nameserver" and _is_address(values[0]):
            servers.append((values[0], DNS_PORT))
        elif keyword in ("search", "domain"):
            search = tuple(v.strip(".") for v in values if v.strip("."))
        elif keyword == "options":
            for option in values:
                key, _, value = option.partition(":")
                flags.add(option)
                if value.isascii() and value.isdigit():
                    numbers[key] = int(value[:3])
    timeout, attempts = numbers.get("timeout"), numbers.get("attempts")
    return ResolvConf(
        servers=tuple(dict.fromkeys(servers))[:_MAX_SERVERS] or _THIS_HOST,
        search=search,
        ndots=min(numbers.get("ndots", 1), _MAX_NDOTS),
        timeout=None if timeout is None else min(max(timeout, 1), _MAX_TIMEOUT),
        attempts=None if attempts is None else min(max(attempts, 1), _MAX_ATTEMPTS),
        rotate="rotate" in flags,
        use_vc="use-vc" in flags or "usevc" in flags,
        no_aaaa="no-aaaa" in flags,
    )


def parse_hosts(text: str) -> dict[str, dict[RecordType, tuple[str, ...]]]:
    """Read a hosts file: lower-case name -> addresses by type. Lines that are not understood are skipped."""
    hosts: dict[str, dict[RecordType, tuple[str, ...]]] = {}
    for line in text.splitlines():
        address, *names = line.split("#", 1)[0].split() or [""]
        if not _is_address(address):
            continue
        record_type: RecordType = "AAAA" if ":" in address else "A"
        for name in names:
            entry = hosts.setdefault(name.lower().rstrip("."), {})
            known = entry.get(record_type, ())
            if address not in known:
                entry[record_type] = (*known, address)
    return hosts


class SystemFiles:
    """Both files; a call costs two `stat`s, and a read if one changed."""

    __slots__ = ("_conf", "_conf_path", "_conf_stamp", "_hosts", "_hosts_path", "_hosts_stamp")

    def __init__(self, resolv_conf: Path = RESOLV_CONF, hosts: Path = HOSTS) -> None:
        self._conf_path = resolv_conf
        self._hosts_path = hosts
        self._conf = ResolvConf()
        self._conf_stamp: tuple[int, ...] = ()
        self._hosts: dict[str, dict[RecordType, tuple[str, ...]]] = {}
        self._hosts_stamp: tuple[int, ...] = ()

    def conf(self) -> ResolvConf:
        """resolv.conf as it is now."""
        stamp = _stamp(self._conf_path)
        if stamp != self._conf_stamp:
            self._conf_stamp = stamp
            self._conf = parse_resolv_conf(_read(self._conf_path))
        return self._conf

    def hosts(self, name: str) -> dict[RecordType, tuple[str, ...]] | None:
        """What the hosts file says about a name (without trailing dot); None if it does not have it."""
        stamp = _stamp(self._hosts_path)
        if stamp != self._hosts_stamp:
            self._hosts_stamp = stamp
            self._hosts = parse_hosts(_read(self._hosts_path))
        return self._hosts.get(name.lower())


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        status = os.stat(path)  # half the cost of Path.stat, on the way to every new connection
    except OSError:
        return (0,)
    return (status.st_mtime_ns, status.st_ino, status.st_size)


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
