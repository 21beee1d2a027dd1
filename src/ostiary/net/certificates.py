"""What a certificate says about names, and whether that is accepted."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, final

from ostiary.core.matching import string_matcher
from ostiary.model.tls import SanMatcher

if TYPE_CHECKING:
    from cryptography import x509


def subject_alt_names(certificate: x509.Certificate) -> list[tuple[str, str]]:
    """(type as in SanMatcher, value) of every subject alternative name; names of other types are left out."""
    from cryptography import x509

    types: dict[type[x509.GeneralName], str] = {
        x509.DNSName: "DNS",
        x509.RFC822Name: "EMAIL",
        x509.UniformResourceIdentifier: "URI",
        x509.IPAddress: "IP_ADDRESS",
    }
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return []
    return [(types[type(name)], str(name.value)) for name in extension.value if type(name) in types]


@final
class PublicCertificate:
    """A certificate that is in use, for those who ask: the first of a file. Read when somebody does.

    OpenSSL, which uses it, takes some that can't be read here; those have nothing but a path.
    """

    def __init__(self, path: str, pem: bytes, *, is_ca: bool) -> None:
        self.path = path
        self.is_ca = is_ca
        """It is trusted, not shown to anybody."""
        begin, end = pem.find(b"-----BEGIN CERTIFICATE"), pem.find(b"-----END CERTIFICATE-----")
        self.pem = pem[max(begin, 0) : end + 25]

    @cached_property
    def _read(self) -> x509.Certificate | None:
        from cryptography import x509

        try:
            return x509.load_pem_x509_certificate(self.pem)
        except (ValueError, x509.InvalidVersion):
            return None

    @property
    def is_readable(self) -> bool:
        """Whether it can be told about."""
        return self._read is not None

    @property
    def _certificate(self) -> x509.Certificate:
        assert self._read is not None
        return self._read

    @property
    def serial_number(self) -> str:
        """Hexadecimal."""
        return f"{self._certificate.serial_number:x}"

    @property
    def names(self) -> list[tuple[str, str]]:
        """See `subject_alt_names`."""
        return subject_alt_names(self._certificate)

    @property
    def not_before(self) -> str:
        """RFC 3339."""
        return f"{self._certificate.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}"

    @property
    def not_after(self) -> str:
        """RFC 3339."""
        return f"{self._certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"

    def days_left(self, now: float) -> int:
        """Whole days until it expires, 0 afterwards; `now` is Unix time."""
        return max(0, int((self._certificate.not_valid_after_utc.timestamp() - now) // 86400))


def dns_names(pem: bytes) -> frozenset[str]:
    """The DNS names (lower case) of a chain's first certificate. Raises ValueError if there is none."""
    from cryptography import x509

    certificate = x509.load_pem_x509_certificate(pem)
    return frozenset(value.lower() for kind, value in subject_alt_names(certificate) if kind == "DNS")


def name_matches(pattern: str, name: str) -> bool:
    """RFC 6125 section 6.4: equal, or a wildcard that stands for exactly the leftmost label."""
    pattern, name = pattern.lower(), name.lower()
    if pattern.startswith("*."):
        label, dot, rest = name.partition(".")
        return bool(label and dot) and rest == pattern[2:]
    return pattern == name


def peer_check(matchers: Sequence[SanMatcher]) -> Callable[[ssl.SSLObject], None]:
    """A check that raises ssl.CertificateError unless one matcher accepts one of the peer's names.

    As in Envoy, an exact matcher of type DNS accepts a certificate's wildcard.
    """
    compiled = [_compile(matcher) for matcher in matchers]

    def check(connection: ssl.SSLObject) -> None:
        der = connection.getpeercert(binary_form=True)
        names: list[tuple[str, str]] = []
        if der:
            from cryptography import x509

            try:
                names = subject_alt_names(x509.load_der_x509_certificate(der))
            except ValueError as error:
                raise ssl.CertificateError("the peer's certificate can't be read") from error
        if not any(accepts(kind, value) for accepts in compiled for kind, value in names):
            shown = ", ".join(f"{kind}:{value}" for kind, value in names[:8]) or "none"
            raise ssl.CertificateError(f"no subject alternative name is accepted (the certificate has {shown})")

    return check


def _compile(matcher: SanMatcher) -> Callable[[str, str], bool]:
    wanted = matcher.san_type
    if wanted == "DNS" and matcher.matcher.kind == "exact":
        name = matcher.matcher.value
        return lambda kind, value: kind == "DNS" and name_matches(value, name)
    matches = string_matcher(matcher.matcher)
    return lambda kind, value: wanted in ("ANY", kind) and matches(value)
