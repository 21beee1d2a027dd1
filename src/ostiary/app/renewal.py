"""Certificates and keys in files that change while the process serves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ostiary.net.log import log
from ostiary.net.tls import DownstreamTls, TlsError, UpstreamTls

_LOG: Final = log("config")


def renew(contexts: Iterable[UpstreamTls | DownstreamTls]) -> None:
    """Read again what has changed; the log says what is in use now, or why the last ones stay in use."""
    for tls in contexts:
        if tls.changed():
            try:
                tls.reload()
            except TlsError as error:
                _LOG.warning("changed certificates can't be used, the last ones stay in use: %s", error)
            else:
                paths = ", ".join(dict.fromkeys(each.path for each in tls.certificates))
                _LOG.info("changed certificates are in use: %s", paths)
