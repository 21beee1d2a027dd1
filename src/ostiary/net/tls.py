"""TLS contexts from the model, built again when their files change.

Everything is read into memory first and handed to OpenSSL through an anonymous file, so that certificate and key are of
one moment and inline secrets touch no disk.

An upstream's certificate is always verified, against the system's roots unless others are given, and by name unless
the settings name what to accept (`match_typed_subject_alt_names`); only `accept_untrusted` switches that off.

A listener keeps one context for its lifetime: the certificate is chosen at each handshake, by the name the client asks
for, among those of the latest reload.
"""

from __future__ import annotations

import os
import ssl
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from ostiary.model import limits
from ostiary.model.errors import OstiaryError
from ostiary.model.tls import (
    CertificateValidationContext,
    DataSource,
    DownstreamTlsContext,
    TlsCertificate,
    TlsVersion,
    UpstreamTlsContext,
)
from ostiary.net.certificates import PublicCertificate, dns_names, name_matches, peer_check

_VERSIONS: Final[dict[TlsVersion, ssl.TLSVersion]] = {
    "TLSv1_0": ssl.TLSVersion.TLSv1,
    "TLSv1_1": ssl.TLSVersion.TLSv1_1,
    "TLSv1_2": ssl.TLSVersion.TLSv1_2,
    "TLSv1_3": ssl.TLSVersion.TLSv1_3,
}


class TlsError(OstiaryError):
    """TLS settings that can't be used: the message names the file and what is wrong with it."""


class ClientContext(ssl.SSLContext):
    """A client's context that also carries the check OpenSSL can't make, which the connector runs in the race, and
    resumes sessions (RFC 8446 section 2.2): a full handshake costs a round trip and both sides a signature."""

    check_peer: Callable[[ssl.SSLObject], None] | None = None
    """Raises ssl.CertificateError if the peer's certificate is not one of the accepted."""
    resumes = True

    def remember(self, tls: ssl.SSLObject) -> None:
        """A connection that was let through: the next one to the same name may resume its session.

        The connection is kept, not its session: TLS 1.3 sends tickets when it likes.
        """
        if self.resumes:
            latest = self.__dict__.setdefault("_latest", {})
            latest.pop(tls.server_hostname, None)
            if len(latest) >= limits.MAX_TLS_SESSIONS:
                del latest[next(iter(latest))]
            latest[tls.server_hostname] = tls

    def forget(self) -> None:
        """Resume nothing any more. The connection kept for that holds this context: no collector finds that circle."""
        self.resumes = False
        self.__dict__.pop("_latest", None)

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """As in ssl.SSLContext; event loops call it for each connection."""
        name = server_hostname.decode() if isinstance(server_hostname, bytes) else server_hostname
        latest = self.__dict__.get("_latest", {}).get(name)
        if session is None and latest is not None:
            session = latest.session
        return super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)


class _Files:
    """The files of one generation and their stamps."""

    def __init__(self) -> None:
        self._stamps: dict[str, tuple[int, ...]] = {}
        self.public: list[PublicCertificate] = []
        """What of them is no secret."""

    def read(self, source: DataSource, what: str) -> bytes:
        """The source's bytes. Raises TlsError if the file can't be read."""
        data = self._read(source, what)
        if what in ("trusted_ca", "certificate_chain"):
            path = source.filename or "<inline>"
            self.public.append(PublicCertificate(path, data, is_ca=what == "trusted_ca"))
        return data

    def _read(self, source: DataSource, what: str) -> bytes:
        if source.inline is not None:
            return source.inline.reveal()
        name = source.filename or ""
        self._stamps[name] = _stamp(name)
        try:
            with open(name, "rb") as file:
                return file.read()
        except OSError as error:
            raise TlsError(f"{what}: can't read {name!r}: {error.strerror}") from error

    def distinct(self) -> list[PublicCertificate]:
        """The certificates that were read, each once."""
        return list({(each.path, each.is_ca, each.pem): each for each in self.public}.values())

    def changed(self) -> bool:
        """Whether a file is another one than at the time it was read."""
        return any(_stamp(name) != stamp for name, stamp in self._stamps.items())


class UpstreamTls:
    """A cluster's context: call it for the current one. Raises TlsError if the settings can't be used."""

    def __init__(self, settings: UpstreamTlsContext) -> None:
        self._settings = settings
        self._files = _Files()
        self._context = self._build(self._files)

    def __call__(self) -> ClientContext:
        """The context for new connections."""
        return self._context

    @property
    def certificates(self) -> list[PublicCertificate]:
        """Those in use, each once."""
        return self._files.distinct()

    def changed(self) -> bool:
        """Whether `reload` would read something new; costs a `stat` a file."""
        return self._files.changed()

    def reload(self) -> None:
        """Read the files again. Raises TlsError and keeps the old context if they can't be used."""
        files = _Files()
        old, self._context = self._context, self._build(files)
        old.forget()
        self._files = files

    def _build(self, files: _Files) -> ClientContext:
        settings = self._settings
        context = ClientContext(ssl.PROTOCOL_TLS_CLIENT)
        context.resumes = settings.max_session_keys > 0
        _common(context, settings.tls_minimum_protocol_version, settings.tls_maximum_protocol_version,
                settings.cipher_suites, settings.alpn_protocols)  # fmt: skip
        if len(settings.tls_certificates) > 1:
            raise TlsError("tls_certificates: an upstream has one client certificate at most")
        for certificate in settings.tls_certificates:
            _load_certificate(context, certificate, files)
        validation = settings.validation_context
        _trust(context, validation, files)
        if validation.accept_untrusted:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif validation.match_typed_subject_alt_names:
            context.check_hostname = False
            context.check_peer = peer_check(validation.match_typed_subject_alt_names)
        return context


class DownstreamTls:
    """A listener's context. Raises TlsError if the settings can't be used."""

    def __init__(self, settings: DownstreamTlsContext) -> None:
        self.settings = settings
        self._files = _Files()
        self._choices = self._build(self._files)
        self.context = self._server_context(self._files)
        """For the listening socket, for as long as it lives."""
        _load_certificate(self.context, settings.tls_certificates[0], self._files)
        self.context.sni_callback = self._choose

    @property
    def certificates(self) -> list[PublicCertificate]:
        """Those in use, each once."""
        return self._files.distinct()

    def changed(self) -> bool:
        """Whether `reload` would read something new; costs a `stat` a file."""
        return self._files.changed()

    def reload(self) -> None:
        """Read the files again, for new handshakes. Raises TlsError and keeps the old ones if they can't be used."""
        files = _Files()
        self._choices = self._build(files)
        self._files = files

    def _build(self, files: _Files) -> list[tuple[frozenset[str], ssl.SSLContext]]:
        if not self.settings.tls_certificates:
            raise TlsError("tls_certificates: a listener needs a certificate")
        choices = []
        for certificate in self.settings.tls_certificates:
            context = self._server_context(files)
            chain = _load_certificate(context, certificate, files)
            choices.append((dns_names(chain), context))
        return choices

    def _server_context(self, files: _Files) -> ssl.SSLContext:
        settings = self.settings
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        _common(context, settings.tls_minimum_protocol_version, settings.tls_maximum_protocol_version,
                settings.cipher_suites, settings.alpn_protocols)  # fmt: skip
        validation = settings.validation_context
        if validation is None or validation.trusted_ca is None:
            if settings.require_client_certificate:
                raise TlsError("require_client_certificate needs validation_context.trusted_ca to judge them by")
            return context
        if validation.accept_untrusted:
            raise TlsError("trust_chain_verification: ACCEPT_UNTRUSTED is not supported for a listener's clients")
        if validation.match_typed_subject_alt_names:
            raise TlsError("match_typed_subject_alt_names is not supported for a listener's clients")
        _trust(context, validation, files)
        context.verify_mode = ssl.CERT_REQUIRED if settings.require_client_certificate else ssl.CERT_OPTIONAL
        return context

    def _choose(self, connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        """OpenSSL calls it at each handshake, with or without a name: an exact match, a wildcard, or the first one."""
        choices = self._choices
        wanted = (name or "").lower()
        chosen = next((context for names, context in choices if wanted in names), None)
        if chosen is None:
            chosen = next((c for names, c in choices if any(name_matches(n, wanted) for n in names)), choices[0][1])
        connection.context = chosen


def _common(
    context: ssl.SSLContext,
    minimum: TlsVersion,
    maximum: TlsVersion,
    cipher_suites: Sequence[str],
    alpn_protocols: Sequence[str],
) -> None:
    low = _VERSIONS.get(minimum, ssl.TLSVersion.TLSv1_2)
    high = _VERSIONS.get(maximum, ssl.TLSVersion.TLSv1_3)
    if low > high:
        raise TlsError(f"tls_minimum_protocol_version {minimum} is above tls_maximum_protocol_version {maximum}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # TLS 1.0 and 1.1, where someone asks for them
        context.minimum_version = low
        context.maximum_version = high
    if cipher_suites:
        # BoringSSL's groups of equal preference, `[A|B]`, are to OpenSSL a list.
        names = ":".join(suite.strip("[]").replace("|", ":") for suite in cipher_suites)
        try:
            context.set_ciphers(names)
        except ssl.SSLError as error:
            raise TlsError(f"cipher_suites: OpenSSL has none of {names!r}") from error
    if alpn_protocols:
        try:
            context.set_alpn_protocols(list(alpn_protocols))
        except ssl.SSLError as error:
            raise TlsError(f"alpn_protocols: {error}") from error


def _trust(context: ssl.SSLContext, validation: CertificateValidationContext, files: _Files) -> None:
    if validation.trusted_ca is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        return
    where = _where(validation.trusted_ca)
    data = files.read(validation.trusted_ca, "trusted_ca")
    try:
        context.load_verify_locations(cadata=data.decode("ascii", "replace"))
    except ssl.SSLError as error:
        raise TlsError(f"trusted_ca: {where} holds no PEM certificate") from error


def _load_certificate(context: ssl.SSLContext, certificate: TlsCertificate, files: _Files) -> bytes:
    """Load chain and key; gives back the chain's PEM bytes."""
    chain = files.read(certificate.certificate_chain, "certificate_chain")
    key = files.read(certificate.private_key, "private_key")
    # Never None: OpenSSL would ask on the terminal.
    password = b"" if certificate.password is None else files.read(certificate.password, "password").rstrip(b"\r\n")
    where = f"{_where(certificate.certificate_chain)} with key {_where(certificate.private_key)}"
    try:
        with _as_file(chain) as chain_file, _as_file(key) as key_file:
            context.load_cert_chain(chain_file, key_file, password)
    except ssl.SSLError as error:
        reason = (error.reason or "no PEM certificate, or no key, or the wrong password").replace("_", " ").lower()
        raise TlsError(f"tls_certificates: {where}: {reason}") from error
    return chain


def _where(source: DataSource) -> str:
    return repr(source.filename) if source.filename is not None else "the inline value"


@contextmanager
def _as_file(data: bytes) -> Iterator[str]:
    """A file name for bytes: memory where the system has that, a private file that is removed at once elsewhere."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("ostiary-tls", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, data)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
    else:
        import tempfile  # slow to import, and needed only for keys that are written into the configuration

        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            yield file.name


def _stamp(name: str) -> tuple[int, ...]:
    try:
        status = os.stat(name)
    except OSError:
        return (0,)
    return (status.st_mtime_ns, status.st_ino, status.st_size)
