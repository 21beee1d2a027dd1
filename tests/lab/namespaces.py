"""Network namespaces and TUN devices, straight from the kernel.

Nothing gets a name in the file system: a namespace lives as long as a process or a descriptor holds it, a TUN device
as long as its descriptor. So whatever ends the process, nothing of it is left behind.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import Final

CLONE_NEWNET: Final = 0x40000000
CLONE_NEWNS: Final = 0x00020000
_TUNSETIFF: Final = 0x400454CA
_TUN_WITHOUT_HEADER: Final = 0x0001 | 0x1000
TUN: Final = Path("/dev/net/tun")
_RESOLV_CONF: Final = "/etc/resolv.conf"

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """Give this thread namespaces of its own. Raises OSError."""
    if _libc.unshare(flags):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def enter(path: str) -> None:
    """Move this thread into a network namespace. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if _libc.setns(descriptor, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    finally:
        os.close(descriptor)


def new_network() -> int:
    """A network namespace of its own for this thread; a descriptor that holds it."""
    unshare(CLONE_NEWNET)
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY)


def open_tun(name: str) -> int:
    """A TUN device in this thread's namespace; its descriptor, which doesn't block."""
    descriptor = os.open(TUN, os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _TUN_WITHOUT_HEADER))
    return descriptor


def shell(script: str) -> None:
    """Run commands in this thread's namespaces. Raises RuntimeError with what they said."""
    done = subprocess.run(["sh", "-exc", script], check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the world could not be built:\n{done.stderr}")


def own_resolv_conf() -> int:
    """Cover /etc/resolv.conf for this process by a file of its own; that file's descriptor."""
    unshare(CLONE_NEWNS)
    descriptor, name = tempfile.mkstemp(prefix="ostiary-lab-")
    os.chmod(name, 0o644)
    try:
        shell(f"mount --make-rprivate /; mount --bind {name} {_RESOLV_CONF}")
    finally:
        os.unlink(name)
    return descriptor


def missing() -> str:
    """Why this machine can't hold a lab; empty if it can."""
    if os.geteuid() != 0:
        return "the network lab needs root, for network namespaces"
    try:
        os.close(os.open(TUN, os.O_RDWR))
    except OSError as error:
        return f"the network lab needs {TUN}: {error.strerror}"
    for flag in ("--net", "--mount"):
        if subprocess.run(["unshare", flag, "true"], check=False, capture_output=True).returncode:
            return f"the network lab needs namespaces, and this machine gives out none (unshare {flag})"
    return ""
