from __future__ import annotations

import asyncio
import os
import ssl
from pathlib import Path

import pytest
import trustme
from msgspec.structs import replace

from net.loops import Run
from net.test_connector import Client
from ostiary.model.matchers import StringMatcher
from ostiary.model.secret import Secret
from ostiary.model.tls import (
    CertificateValidationContext,
    DataSource,
    DownstreamTlsContext,
    SanMatcher,
    TlsCertificate,
    TlsVersion,
    UpstreamTlsContext,
)
from ostiary.net.certificates import name_matches
from ostiary.net.connect_error import ConnectError
from ostiary.net.connector import Connector
from ostiary.net.tls import DownstreamTls, TlsError, UpstreamTls


def inline(data: bytes) -> DataSource:
    return DataSource(inline=Secret(data))


def pair(cert: trustme.LeafCert) -> TlsCertificate:
    return TlsCertificate(
        certificate_chain=inline(b"".join(blob.bytes() for blob in cert.cert_chain_pems)),
        private_key=inline(cert.private_key_pem.bytes()),
    )


def trusting(ca: trustme.CA, **more: object) -> UpstreamTlsContext:
    validation = CertificateValidationContext(trusted_ca=inline(ca.cert_pem.bytes()), **more)  # type: ignore[arg-type]
    return UpstreamTlsContext(validation_context=validation)


async def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext | None, name: str = "app.test") -> ssl.SSLObject:
    """Connect over loopback; the client's side of TLS. Raises ConnectError."""

    async def on_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"hello")
            await reader.read()
        except OSError:
            pass
        finally:
            writer.close()

    listener = await asyncio.start_server(on_client, "127.0.0.1", 0, ssl=server)
    port = listener.sockets[0].getsockname()[1]
    try:
        transport, protocol, _ = await Connector().connect("127.0.0.1", port, Client, ssl=client, server_hostname=name)
        await asyncio.wait((protocol.spoken, protocol.lost), return_when=asyncio.FIRST_COMPLETED)
        connection: ssl.SSLObject = transport.get_extra_info("ssl_object")
        assert protocol.received == b"hello", "the server ended it"
        transport.abort()
        await protocol.lost
        return connection
    finally:
        listener.close()


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def server(ca: trustme.CA) -> ssl.SSLContext:
    return DownstreamTls(
        DownstreamTlsContext(tls_certificates=(pair(ca.issue_cert("app.test", "*.wild.test")),))
    ).context


def test_an_upstream_is_verified_against_the_given_roots(run: Run, ca: trustme.CA, server: ssl.SSLContext) -> None:
    assert run(shake_hands(server, UpstreamTls(trusting(ca))())).version() == "TLSv1.3"


@pytest.mark.parametrize("settings", [UpstreamTlsContext(), trusting(trustme.CA())], ids=["system", "other"])
def test_an_upstream_of_another_authority_is_refused(
    run: Run, server: ssl.SSLContext, settings: UpstreamTlsContext
) -> None:
    with pytest.raises(ConnectError, match="certificate is not trusted"):
        run(shake_hands(server, UpstreamTls(settings)()))


def test_an_upstream_of_another_name_is_refused(run: Run, ca: trustme.CA, server: ssl.SSLContext) -> None:
    with pytest.raises(ConnectError, match=r"bad\.test"):
        run(shake_hands(server, UpstreamTls(trusting(ca))(), "bad.test"))


def test_only_accept_untrusted_switches_verification_off(run: Run, server: ssl.SSLContext) -> None:
    untrusting = UpstreamTlsContext(validation_context=CertificateValidationContext(accept_untrusted=True))
    run(shake_hands(server, UpstreamTls(untrusting)(), "bad.test"))


@pytest.mark.parametrize(
    ("san_type", "kind", "value", "accepted"),
    [
        ("DNS", "exact", "app.test", True),
        ("DNS", "exact", "any.wild.test", True),
        ("DNS", "exact", "a.b.wild.test", False),
        ("DNS", "suffix", ".test", True),
        ("ANY", "exact", "app.test", True),
        ("DNS", "safe_regex", "app\\.t.*", True),
        ("DNS", "safe_regex", "app", False),
        ("URI", "exact", "app.test", False),
        ("DNS", "exact", "other.test", False),
    ],
)
def test_named_alternatives_decide_whom_to_accept(  # type: ignore[no-untyped-def]
    run: Run, ca: trustme.CA, server: ssl.SSLContext, san_type, kind, value, accepted
) -> None:
    matcher = SanMatcher(san_type=san_type, matcher=StringMatcher(kind, value))
    context = UpstreamTls(trusting(ca, match_typed_subject_alt_names=(matcher,)))()
    if accepted:
        run(shake_hands(server, context, "sni.is.free.test"))
    else:
        with pytest.raises(ConnectError, match="no subject alternative name is accepted"):
            run(shake_hands(server, context))


def test_named_alternatives_do_not_replace_the_chain(run: Run, server: ssl.SSLContext) -> None:
    matcher = SanMatcher(san_type="DNS", matcher=StringMatcher("exact", "app.test"))
    context = UpstreamTls(trusting(trustme.CA(), match_typed_subject_alt_names=(matcher,)))()
    with pytest.raises(ConnectError, match="certificate is not trusted"):
        run(shake_hands(server, context))


def test_the_listener_chooses_by_name(run: Run, ca: trustme.CA) -> None:
    certificates = (pair(ca.issue_cert("one.test")), pair(ca.issue_cert("two.test")), pair(ca.issue_cert("*.w.test")))
    listener = DownstreamTls(DownstreamTlsContext(tls_certificates=certificates)).context
    client = UpstreamTls(trusting(ca))()
    for name in ("one.test", "two.test", "x.w.test"):
        run(shake_hands(listener, client, name))
    with pytest.raises(ConnectError, match=r"three\.test"):
        run(shake_hands(listener, client, "three.test"))


def test_alpn_and_versions(run: Run, ca: trustme.CA) -> None:
    listener = DownstreamTls(
        DownstreamTlsContext(
            tls_certificates=(pair(ca.issue_cert("app.test")),),
            alpn_protocols=("h2", "http/1.1"),
            tls_maximum_protocol_version="TLSv1_2",
        )
    ).context
    settings = trusting(ca)
    client = UpstreamTls(
        UpstreamTlsContext(validation_context=settings.validation_context, alpn_protocols=("http/1.1",))
    )()
    connection = run(shake_hands(listener, client))
    assert (connection.version(), connection.selected_alpn_protocol()) == ("TLSv1.2", "http/1.1")
    strict = UpstreamTls(
        UpstreamTlsContext(validation_context=settings.validation_context, tls_minimum_protocol_version="TLSv1_3")
    )()
    with pytest.raises(ConnectError, match="TLS handshake"):
        run(shake_hands(listener, strict))


def test_client_certificates(run: Run, ca: trustme.CA) -> None:
    clients = trustme.CA()
    listener = DownstreamTls(
        DownstreamTlsContext(
            tls_certificates=(pair(ca.issue_cert("app.test")),),
            require_client_certificate=True,
            validation_context=CertificateValidationContext(trusted_ca=inline(clients.cert_pem.bytes())),
            tls_maximum_protocol_version="TLSv1_2",  # 1.3 refuses after the client's side is done
        )
    ).context
    validation = trusting(ca).validation_context
    known = UpstreamTlsContext(validation_context=validation, tls_certificates=(pair(clients.issue_cert("me.test")),))
    run(shake_hands(listener, UpstreamTls(known)()))
    with pytest.raises(ConnectError, match="TLS handshake"):
        run(shake_hands(listener, UpstreamTls(UpstreamTlsContext(validation_context=validation))()))


def test_files_are_read_again_when_they_change(run: Run, ca: trustme.CA, tmp_path: Path) -> None:
    def write(cert: trustme.LeafCert) -> None:
        """As Kubernetes does: new files in place of the old ones."""
        for name, data in (("tls.crt", cert.cert_chain_pems[0].bytes()), ("tls.key", cert.private_key_pem.bytes())):
            (tmp_path / "new").write_bytes(data)
            os.replace(tmp_path / "new", tmp_path / name)

    write(ca.issue_cert("old.test"))
    certificate = TlsCertificate(
        certificate_chain=DataSource(filename=str(tmp_path / "tls.crt")),
        private_key=DataSource(filename=str(tmp_path / "tls.key")),
    )
    listener = DownstreamTls(DownstreamTlsContext(tls_certificates=(certificate,)))
    client = UpstreamTls(trusting(ca))()
    run(shake_hands(listener.context, client, "old.test"))
    assert not listener.changed()

    write(ca.issue_cert("new.test"))
    assert listener.changed()
    listener.reload()
    assert not listener.changed()
    run(shake_hands(listener.context, client, "new.test"))

    (tmp_path / "tls.key").write_text("half written")
    assert listener.changed()
    with pytest.raises(TlsError, match=r"tls\.key"):
        listener.reload()
    assert listener.changed(), "it will be tried again"
    run(shake_hands(listener.context, client, "new.test"))


def test_an_upstreams_roots_are_read_again(run: Run, ca: trustme.CA, server: ssl.SSLContext, tmp_path: Path) -> None:
    roots = tmp_path / "ca.pem"
    roots.write_bytes(trustme.CA().cert_pem.bytes())
    upstream = UpstreamTls(
        UpstreamTlsContext(validation_context=CertificateValidationContext(trusted_ca=DataSource(filename=str(roots))))
    )
    with pytest.raises(ConnectError):
        run(shake_hands(server, upstream()))
    roots.write_bytes(ca.cert_pem.bytes() + b"\n")
    assert upstream.changed()
    upstream.reload()
    run(shake_hands(server, upstream()))


def test_settings_that_can_not_be_used_say_why(ca: trustme.CA, tmp_path: Path) -> None:
    good = pair(ca.issue_cert("app.test"))
    other = pair(ca.issue_cert("app.test"))
    mixed = TlsCertificate(certificate_chain=good.certificate_chain, private_key=other.private_key)
    missing = TlsCertificate(certificate_chain=DataSource(filename="/nowhere.pem"), private_key=good.private_key)
    roots = CertificateValidationContext(trusted_ca=inline(ca.cert_pem.bytes()), accept_untrusted=True)
    for settings, reason in (
        (DownstreamTlsContext(tls_certificates=()), "needs a certificate"),
        (DownstreamTlsContext(tls_certificates=(mixed,)), "key values mismatch"),
        (DownstreamTlsContext(tls_certificates=(missing,)), "can't read '/nowhere.pem': No such file"),
        (DownstreamTlsContext(tls_certificates=(good,), require_client_certificate=True), "needs validation_context"),
        (DownstreamTlsContext(tls_certificates=(good,), validation_context=roots), "ACCEPT_UNTRUSTED"),
        (DownstreamTlsContext(tls_certificates=(good,), cipher_suites=("NO-SUCH",)), "NO-SUCH"),
        (
            DownstreamTlsContext(
                tls_certificates=(good,),
                tls_minimum_protocol_version="TLSv1_3",
                tls_maximum_protocol_version="TLSv1_2",
            ),
            "is above",
        ),
    ):
        with pytest.raises(TlsError, match=reason):
            DownstreamTls(settings)
    empty = CertificateValidationContext(trusted_ca=inline(b"nothing"))
    with pytest.raises(TlsError, match="no PEM certificate"):
        UpstreamTls(UpstreamTlsContext(validation_context=empty))


def test_a_secret_key_is_in_no_error(ca: trustme.CA) -> None:
    key = b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0LWtleS1ieXRlcw==\n-----END PRIVATE KEY-----\n"
    chain = pair(ca.issue_cert("app.test")).certificate_chain
    with pytest.raises(TlsError) as caught:
        DownstreamTls(
            DownstreamTlsContext(tls_certificates=(TlsCertificate(certificate_chain=chain, private_key=inline(key)),))
        )
    assert "c2Vjcm" not in f"{caught.value!r} {caught.value.__cause__!r}"


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("a.test", "A.test", True),
        ("*.test", "a.test", True),
        ("*.test", "a.b.test", False),
        ("*.test", "test", False),
        ("*.test", ".test", False),
        ("a*.test", "ab.test", False),
        ("*", "test", False),
    ],
)
def test_wildcards(pattern: str, name: str, expected: bool) -> None:
    assert name_matches(pattern, name) is expected


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
@pytest.mark.parametrize("keys", [0, 1])
def test_a_session_is_resumed_for_the_same_name_only(run: Run, ca: trustme.CA, version: TlsVersion, keys: int) -> None:
    server = DownstreamTls(DownstreamTlsContext(tls_certificates=(pair(ca.issue_cert("app.test", "other.test")),)))
    settings = replace(trusting(ca), max_session_keys=keys, tls_maximum_protocol_version=version)
    client = UpstreamTls(settings)

    async def resumed() -> list[bool]:
        names = ("app.test", "app.test", "other.test", "app.test", "other.test")
        connections = [await shake_hands(server.context, client(), name) for name in names]
        assert all(connection.getpeercert() for connection in connections)
        return [bool(connection.session_reused) for connection in connections]

    assert run(resumed()) == [False, bool(keys), False, bool(keys), bool(keys)]


def test_a_peer_that_is_not_accepted_is_not_accepted_later_either(run: Run, ca: trustme.CA) -> None:
    server = DownstreamTls(DownstreamTlsContext(tls_certificates=(pair(ca.issue_cert("app.test")),)))
    wanted = SanMatcher(san_type="DNS", matcher=StringMatcher("exact", "wanted.test"))
    client = UpstreamTls(trusting(ca, match_typed_subject_alt_names=(wanted,)))
    for _ in range(3):
        with pytest.raises(ConnectError):
            run(shake_hands(server.context, client()))
