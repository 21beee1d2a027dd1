"""TLS as probes find it: every way in which a handshake goes wrong, by real handshakes on loopback."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from doctor.probes.probing import examined, native, rules
from ostiary.doctor.case import Case
from ostiary.doctor.configuration.read import read
from ostiary.doctor.examine import Question, examine
from ostiary.doctor.facts.tls import HandshakeDone
from ostiary.doctor.probes import probe
from ostiary.doctor.report import Report
from waiting import PATIENCE

CA, OTHER = trustme.CA(), trustme.CA()
NAMES = ("127.0.0.1", "idp.example")
Change = Callable[[ssl.SSLContext], object]


def server(
    issuer: trustme.CA = CA, names: tuple[str, ...] = NAMES, change: Change | None = None, **dates: Any
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issuer.issue_cert(*names, **dates).configure_cert(context)
    if change is not None:
        change(context)
    return context


def cluster(port: int, directory: Path, *, tls: bool = True, **context: Any) -> bytes:
    """A bootstrap with one cluster of a provider, on loopback; `ca` and `names` as Envoy has them, or None."""
    (directory / "ca.pem").write_bytes(CA.cert_pem.bytes())
    ca = context.pop("ca", str(directory / "ca.pem"))
    validation: dict[str, Any] = {"trusted_ca": {"filename": ca}} if ca else {}
    name = context.pop("name", "127.0.0.1")
    if name:
        kind = "IP_ADDRESS" if name[0].isdigit() else "DNS"
        validation["match_typed_subject_alt_names"] = [{"san_type": kind, "matcher": {"exact": name}}]
    common = {"validation_context": validation, **context.pop("common", {})}
    socket = {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            **({"sni": context.pop("sni", "idp.example")} if "no_sni" not in context else {}),
            "common_tls_context": common,
        },
    }
    context.pop("no_sni", None)
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    one = {
        "name": "idp",
        "type": "STATIC",
        "connect_timeout": "2s",
        "load_assignment": {
            "cluster_name": "idp",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        **({"transport_socket": socket} if tls else {}),
        **context,
    }
    return yaml.safe_dump({"static_resources": {"clusters": [one]}}).encode()


class Server:
    """Blocking, a thread for each connection: asyncio's own server ends failed handshakes without an alert."""

    def __init__(self, context: ssl.SSLContext | None, greeting: bytes = b"") -> None:
        self._context = context
        self._greeting = greeting
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept)

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE)
        self._listener.close()

    def _accept(self) -> None:
        speaking: list[threading.Thread] = []
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                client.settimeout(5)
                speaking.append(threading.Thread(target=self._speak, args=(client,)))
                speaking[-1].start()
        for each in speaking:
            each.join(PATIENCE)

    def _speak(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            client.sendall(self._greeting)
            spoken = self._context.wrap_socket(client, server_side=True) if self._context is not None else client
            with spoken:
                if b"\r\n\r\n" in spoken.recv(4096) or self._context is None:
                    spoken.sendall(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")


def look(directory: Path, context: ssl.SSLContext | None, **settings: Any) -> Report:
    with Server(context) as listening:
        file = ("envoy.yaml", cluster(listening.port, directory, **settings))
        return asyncio.run(examine(Question(configurations=(file,))))


def wants_a_certificate(context: ssl.SSLContext) -> None:
    context.verify_mode = ssl.CERT_REQUIRED
    CA.configure_trust(context)


def of_old(context: ssl.SSLContext) -> None:
    context.maximum_version = ssl.TLSVersion.TLSv1_2


def wants_a_certificate_of_old(context: ssl.SSLContext) -> None:
    of_old(context)
    wants_a_certificate(context)


def knows_one_name(context: ssl.SSLContext) -> None:
    def choose(_connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> int | None:
        return None if name == "idp.example" else ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

    context.sni_callback = choose


PAST = {"not_before": datetime.now(UTC) - timedelta(days=9), "not_after": datetime.now(UTC) - timedelta(days=2)}
FUTURE = {"not_before": datetime.now(UTC) + timedelta(days=2), "not_after": datetime.now(UTC) + timedelta(days=9)}
MODERN = {"common": {"tls_params": {"tls_minimum_protocol_version": "TLSv1_3"}}}


def test_a_healthy_one(tmp_path: Path) -> None:
    assert look(tmp_path, server()).findings == ()


@pytest.mark.parametrize(
    ("context", "settings", "first"),
    [
        (lambda: server(OTHER), {}, "tls-untrusted-ca"),
        (lambda: server(names=("10.9.9.9", "other.example")), {}, "tls-name-mismatch"),
        (lambda: server(**PAST), {}, "tls-expired"),
        (lambda: server(**FUTURE), {}, "tls-expired"),
        (lambda: server(change=of_old), MODERN, "tls-version"),
        (lambda: server(change=wants_a_certificate), {}, "tls-client-certificate-required"),
        (lambda: server(change=knows_one_name), {"no_sni": True}, "tls-sni"),
        (lambda: server(change=knows_one_name), {"sni": "other.example"}, "tls-sni"),
        (lambda: None, {}, "tls-to-plaintext"),
        (lambda: server(), {"http2_protocol_options": {}}, "idp-protocol"),
    ],
)
def test_each_fault(tmp_path: Path, context: Callable[[], ssl.SSLContext | None], settings: Any, first: str) -> None:
    report = look(tmp_path, context(), **settings)
    assert rules(report)[:1] == [first], [each.as_dict() for each in report.findings]


def test_the_certificate_that_came_is_in_the_proof(tmp_path: Path) -> None:
    (finding,) = look(tmp_path, server(OTHER)).findings
    assert "idp.example" in " ".join(finding.proof)
    assert "issued by" in " ".join(finding.proof)


def test_a_client_certificate_of_the_configuration_is_shown(tmp_path: Path) -> None:
    mine = CA.issue_cert("client.example")
    (tmp_path / "chain.pem").write_bytes(b"".join(each.bytes() for each in mine.cert_chain_pems))
    (tmp_path / "key.pem").write_bytes(mine.private_key_pem.bytes())
    files = {"certificate_chain": {"filename": str(tmp_path / "chain.pem")},
             "private_key": {"filename": str(tmp_path / "key.pem")}}  # fmt: skip
    report = look(tmp_path, server(change=wants_a_certificate), common={"tls_certificates": [files]})
    assert report.findings == ()


def test_http2_that_the_peer_agrees_to(tmp_path: Path) -> None:
    context = server(change=lambda made: made.set_alpn_protocols(["h2", "http/1.1"]))
    assert look(tmp_path, context, http2_protocol_options={}).findings == ()


@pytest.mark.parametrize(
    "settings",
    [{"ca": "/nowhere/in/this/place.pem"}, {"ca": None}, {"ca": None, "name": None}],
    ids=["its CA file is elsewhere", "it verifies nothing", "nor names"],
)
def test_what_can_t_be_judged_here_is_no_fault(tmp_path: Path, settings: Any) -> None:
    report = look(tmp_path, server(OTHER), **settings)
    assert [each for each in report.findings if each.severity == "error"] == []


def test_that_the_ca_file_is_not_here_is_said(tmp_path: Path) -> None:
    with Server(server()) as listening:
        facts = read([("envoy.yaml", cluster(listening.port, tmp_path, ca="/nowhere/ca.pem"))], env={})
        found = asyncio.run(probe("", Case(facts), lambda _source, _what: None))
    done = [fact for fact in found.facts if isinstance(fact, HandshakeDone)]
    assert [fact.verified for fact in done] == [None]
    assert "/nowhere/ca.pem is not here" in done[0].origin.quote


def test_plain_http_to_a_port_that_speaks_tls() -> None:
    with Server(server()) as listening:
        report = asyncio.run(examined(config=native(f"http://127.0.0.1:{listening.port}")))
    assert rules(report)[:1] == ["tls-not-configured"]


def test_a_port_that_somebody_types_without_saying_what_it_speaks() -> None:
    with Server(None, b"220 mail.example ESMTP\r\n") as listening:
        assert asyncio.run(examined(f"127.0.0.1:{listening.port}")).findings == ()
