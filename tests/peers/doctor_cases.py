"""Ways to break a sign-in in Envoy, what the doctor has to say first, and whether its patch of the file mends it."""

from __future__ import annotations

import datetime
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme
import yaml

from net.dns_server import Reply
from ostiary.testing.provider import DemoProvider
from waiting import PATIENCE

V6 = ("2606:4700:6810::a016",)
Tree = dict[str, Any]
Serve = Callable[[socket.socket, str], None]


def idp(tree: Tree) -> Tree:
    """The provider's cluster."""
    found: Tree = tree["static_resources"]["clusters"][1]
    return found


def manager(tree: Tree) -> Tree:
    found: Tree = tree["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    return found


def oauth2(tree: Tree) -> Tree:
    """The filter's configuration."""
    found: Tree = manager(tree)["http_filters"][0]["typed_config"]["config"]
    return found


def context(tree: Tree) -> Tree:
    found: Tree = idp(tree)["transport_socket"]["typed_config"]
    return found


def endpoint(tree: Tree) -> Tree:
    found: Tree = idp(tree)["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]
    return found["socket_address"]


def _usual_certificate(authority: trustme.CA, host: str) -> trustme.LeafCert:
    return authority.issue_cert(host)


def _nothing(*_: Any) -> None:
    """As usual."""


def _sign_in(place: Any, trusts: ssl.SSLContext, app: Any) -> str:
    found: str = place.sign_in(trusts, app)
    return found


@dataclass(frozen=True, kw_only=True)
class Broken:
    """One way."""

    name: str = ""
    rule: str
    """Empty: nothing is wrong."""
    sources: tuple[str, ...] = ("admin",)
    heals: bool = False
    """The patch of the file lets somebody sign in."""
    configure: Callable[[Tree, Path], None] = _nothing
    dns: Mapping[str, Reply] = field(default_factory=dict)
    certificate: Callable[[trustme.CA, str], trustme.LeafCert] = _usual_certificate
    server_tls: Callable[[ssl.SSLContext], None] = _nothing
    provider: Callable[[DemoProvider], None] = _nothing
    others: Mapping[int, Serve] = field(default_factory=dict)
    """Port of the provider's address -> what is done with a connection there."""
    until: str = ""
    """Nobody can sign in: the doctor is asked once /ready says that. The listener may never come."""
    use: Callable[[Any, ssl.SSLContext, Any], str] = _sign_in
    attempts: int = 1
    level: str = "info"
    """Of the proxy's log."""


def _at(**changes: Any) -> Callable[[Tree, Path], None]:
    """Fields of the cluster; None takes one out."""

    def configure(tree: Tree, _folder: Path) -> None:
        for name, value in changes.items():
            idp(tree).pop(name, None) if value is None else idp(tree).update({name: value})

    return configure


def _filter(**changes: Any) -> Callable[[Tree, Path], None]:
    def configure(tree: Tree, _folder: Path) -> None:
        for name, value in changes.items():
            oauth2(tree).pop(name, None) if value is None else oauth2(tree).update({name: value})

    return configure


def _token(**changes: Any) -> Callable[[Tree, Path], None]:
    return lambda tree, _folder: oauth2(tree)["token_endpoint"].update(changes)


def _leads_to(**changes: Any) -> Callable[[Tree, Path], None]:
    return lambda tree, _folder: endpoint(tree).update(changes)


def _secret(name: str, change: Callable[[Path], object]) -> Callable[[Tree, Path], None]:
    return lambda _tree, folder: change(folder / f"{name}.yaml") and None


def _faults(**changes: Any) -> Callable[[DemoProvider], None]:
    def provider(running: DemoProvider) -> None:
        for name, value in changes.items():
            setattr(running.faults, name, value)

    return provider


def _no_ca(tree: Tree, _folder: Path) -> None:
    del context(tree)["common_tls_context"]


def _no_name(tree: Tree, _folder: Path) -> None:
    del context(tree)["sni"]


def _other_roots(tree: Tree, folder: Path) -> None:
    trustme.CA().cert_pem.write_to_path(str(folder / "other.pem"))
    context(tree)["common_tls_context"]["validation_context"]["trusted_ca"] = {"filename": str(folder / "other.pem")}


def _tls_1_3(tree: Tree, _folder: Path) -> None:
    context(tree)["common_tls_context"]["tls_params"] = {"tls_minimum_protocol_version": "TLSv1_3"}


def _expired(authority: trustme.CA, host: str) -> trustme.LeafCert:
    past = datetime.datetime.now(datetime.UTC)
    return authority.issue_cert(host, not_before=past - datetime.timedelta(9), not_after=past - datetime.timedelta(2))


def _at_most_1_2(tls: ssl.SSLContext) -> None:
    tls.maximum_version = ssl.TLSVersion.TLSv1_2


def _wants_client_certificate(tls: ssl.SSLContext) -> None:
    tls.verify_mode = ssl.CERT_REQUIRED
    trustme.CA().configure_trust(tls)
    tls.minimum_version = ssl.TLSVersion.TLSv1_3  # older ones have no alert that says it


def _speaks_1_3(tree: Tree, _folder: Path) -> None:
    context(tree)["common_tls_context"]["tls_params"] = {"tls_maximum_protocol_version": "TLSv1_3"}


def _wants_name(tls: ssl.SSLContext) -> None:
    def chosen(_socket: Any, name: str | None, _context: ssl.SSLContext) -> int | None:
        return None if name else ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

    tls.sni_callback = chosen


def _silent(connection: socket.socket, _address: str) -> None:
    with connection:
        time.sleep(30)


def _reset(connection: socket.socket, _address: str) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.recv(1)
    connection.close()


def _plain(connection: socket.socket, _address: str) -> None:
    with connection:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")


def _late(connection: socket.socket, address: str) -> None:
    """A relay to the provider, that thinks before it begins."""
    time.sleep(0.5)
    between(connection, (address, 443))


def between(connection: socket.socket, onward: tuple[str, int]) -> None:
    """Relays both ways until one side ends."""
    with connection, socket.create_connection(onward) as other:

        def pump(source: socket.socket, target: socket.socket) -> None:
            try:
                while data := source.recv(65536):
                    target.sendall(data)
            except OSError:
                pass
            finally:
                with suppress(OSError):
                    target.shutdown(socket.SHUT_RDWR)

        back = threading.Thread(target=pump, args=(other, connection), daemon=True)
        back.start()
        pump(connection, other)
        back.join()


def _by_lds(change: Callable[[Tree, Path], None]) -> Callable[[Tree, Path], None]:
    """The listener arrives by LDS, from a file; so it can be refused while Envoy runs."""

    def configure(tree: Tree, folder: Path) -> None:
        change(tree, folder)
        (listener,) = tree["static_resources"].pop("listeners")
        kind = {"@type": "type.googleapis.com/envoy.config.listener.v3.Listener"}
        (folder / "lds.yaml").write_text(yaml.safe_dump({"resources": [kind | listener]}))
        tree["dynamic_resources"] = {"lds_config": {"path_config_source": {"path": str(folder / "lds.yaml")}}}

    return configure


def _impatient(tree: Tree, folder: Path) -> None:
    _leads_to(port_value=446)(tree, folder)
    _at(connect_timeout="0.2s")(tree, folder)


def _router_first(tree: Tree, _folder: Path) -> None:
    manager(tree)["http_filters"].reverse()


def _unknown_extension(tree: Tree, _folder: Path) -> None:
    kind = "type.googleapis.com/envoy.extensions.filters.http.wonder.v3.Wonder"
    manager(tree)["http_filters"].insert(0, {"name": "wonder", "typed_config": {"@type": kind}})


def _unknown_field(tree: Tree, _folder: Path) -> None:
    oauth2(tree)["client_secret"] = "x"


def _jwt_first(tree: Tree, _folder: Path) -> None:
    jwks = json.dumps(
        {"keys": [{"kty": "oct", "alg": "HS256", "kid": "k", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"}]}
    )
    provider = {"issuer": "https://x", "local_jwks": {"inline_string": jwks}}
    rules = [{"match": {"prefix": "/"}, "requires": {"provider_name": "p"}}]
    kind = "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"
    config = {"@type": kind, "providers": {"p": provider}, "rules": rules}
    manager(tree)["http_filters"].insert(0, {"name": "envoy.filters.http.jwt_authn", "typed_config": config})


def _no_config(tree: Tree, _folder: Path) -> None:
    del manager(tree)["http_filters"][0]["typed_config"]["config"]


def _no_authorizer(tree: Tree, _folder: Path) -> None:
    """Nothing listens where every request is asked about."""
    clusters = tree["static_resources"]["clusters"]
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 9}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    clusters.append({"name": "authz", "load_assignment": {"cluster_name": "authz", "endpoints": endpoints}})
    kind = "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz"
    service = {"server_uri": {"uri": "http://authz.test", "cluster": "authz", "timeout": "1s"}}
    config = {"@type": kind, "http_service": service}
    manager(tree)["http_filters"].insert(0, {"name": "envoy.filters.http.ext_authz", "typed_config": config})


def _small_heads(tree: Tree, _folder: Path) -> None:
    manager(tree)["max_request_headers_kb"] = 1


def _with_other_hmac(place: Any, trusts: ssl.SSLContext, app: Any) -> str:
    """Goes to the provider, and comes back after the secret was rotated."""
    from peers.person import Person

    person = Person(trusts, {place.host: place.address})
    page = person.open(f"http://127.0.0.1:{place.port}/page")
    secret = place.folder / "hmac.yaml"
    rotated = place.folder / "hmac.new"
    rotated.write_text(secret.read_text().replace("0123456789abcdef", "fedcba9876543210"))
    rotated.rename(secret)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        _, headers, _ = person.step(page.url, form={"username": "ada"})
        status, _, text = person.step({name.lower(): value for name, value in headers}["location"])
        if status == 401:
            return f"{status} {text}"
        page = Person(trusts, {place.host: place.address}).open(f"http://127.0.0.1:{place.port}/page")
    return "not rotated"


def _too_much(place: Any, _trusts: ssl.SSLContext, _app: Any) -> str:
    from peers.rawhttp import exchange, request

    cookie = ("cookie", "a=" + "x" * 2000)
    status = str(exchange(place.port, request("GET", "/", (cookie,), host="x")).status)
    deadline = time.monotonic() + PATIENCE
    while f" {status} " not in place.log.read_text() and time.monotonic() < deadline:
        time.sleep(0.02)
    return status


_CONFIG = ("admin", "config")
_LOG = ("admin", "log")
_ALL = ("admin", "config", "log")

_CASES = {
    "healthy": Broken(rule="", sources=_ALL),
    # Names
    "no-family": Broken(rule="dns-family-unreachable", configure=_at(dns_lookup_family=None), dns={"AAAA": Reply(V6)},
                        sources=_CONFIG, heals=True),
    "no-family-admin": Broken(rule="dns-family-unreachable", configure=_at(dns_lookup_family=None),
                              dns={"AAAA": Reply(V6)}),
    "v6-only": Broken(rule="dns-family-unreachable", configure=_at(dns_lookup_family="V6_ONLY"),
                      dns={"AAAA": Reply(V6)}, sources=_CONFIG, heals=True),
    "v6-of-v4": Broken(rule="dns-no-address-in-family", configure=_at(dns_lookup_family="V6_ONLY"), sources=_CONFIG,
                       heals=True),
    "strict-all": Broken(rule="race-impossible", configure=_at(type="STRICT_DNS"), dns={"AAAA": Reply(V6)},
                         sources=_CONFIG, heals=True, attempts=2),
    "nxdomain": Broken(rule="dns-name-not-found", configure=_leads_to(address="nowhere.idp.test")),
    "servfail": Broken(rule="dns-server-failure",
                       dns={kind: Reply(rcode="SERVFAIL") for kind in ("A", "AAAA")}),
    "dns-silent": Broken(rule="dns-no-answer", dns={kind: Reply(silent=True) for kind in ("A", "AAAA")}, until=
                         "PRE_INITIALIZING"),
    "aaaa-silent": Broken(rule="dns-type-unanswered", dns={"AAAA": Reply(silent=True)}),
    # Connections
    "no-route": Broken(rule="no-route", dns={"A": Reply(("203.0.113.7",))}),
    "prohibited": Broken(rule="no-route", dns={"A": Reply(("10.98.0.7",))}),
    "refused": Broken(rule="tcp-refused", configure=_leads_to(port_value=444)),
    "black-hole": Broken(rule="tcp-timeout", dns={"A": Reply(("10.99.0.7",))}),
    "reset": Broken(rule="tcp-reset", configure=_leads_to(port_value=445), others={445: _reset}),
    "too-short": Broken(rule="connect-timeout-too-short", others={446: _late}, sources=_CONFIG, heals=True,
                        configure=_impatient),
    "overflow": Broken(rule="upstream-overflow", configure=_at(circuit_breakers={"thresholds": [
        {"max_connections": 0, "max_pending_requests": 0}]})),
    # TLS
    "other-ca": Broken(rule="tls-untrusted-ca", configure=_other_roots),
    "other-name": Broken(rule="tls-name-mismatch", certificate=lambda ca, _host: ca.issue_cert("other.test")),
    "expired": Broken(rule="tls-expired", certificate=_expired),
    "plain-to-tls": Broken(rule="tls-not-configured", configure=_at(transport_socket=None), sources=_CONFIG,
                           heals=True),
    "tls-to-plain": Broken(rule="tls-to-plaintext", configure=_leads_to(port_value=80), others={80: _plain}),
    "tls-silent": Broken(rule="tls-silent", configure=_leads_to(port_value=447), others={447: _silent}),
    "no-sni": Broken(rule="tls-sni", configure=_no_name, server_tls=_wants_name, sources=_CONFIG, heals=True),
    "version": Broken(rule="tls-version", configure=_tls_1_3, server_tls=_at_most_1_2),
    "client-certificate": Broken(rule="tls-client-certificate-required", server_tls=_wants_client_certificate,
                                 configure=_speaks_1_3,
                                 sources=_LOG, level="debug"),
    "not-verified": Broken(rule="tls-not-verified", configure=_no_ca, sources=_CONFIG, heals=True),
    # Secrets
    "secret-name": Broken(rule="secret-not-delivered", until="INITIALIZING", configure=_by_lds(
        _secret("token", lambda file: file.write_text(file.read_text().replace("name: token", "name: other"))))),
    "secret-file": Broken(rule="secret-not-delivered", until="LIVE",
                          configure=_by_lds(_secret("hmac", lambda file: file.unlink()))),
    "hmac-rotated": Broken(rule="csrf-mismatch", use=_with_other_hmac, sources=_LOG),
    # The provider
    "client-secret": Broken(rule="client-rejected", configure=_secret("token", lambda file: file.write_text(
        file.read_text().replace("the-client-secret", "the-old-secret")))),
    "client-secret-log": Broken(rule="client-rejected", sources=_LOG, configure=_secret(
        "token", lambda file: file.write_text(file.read_text().replace("the-client-secret", "the-old-secret")))),
    "token-path": Broken(rule="idp-not-oauth", configure=lambda tree, _folder: oauth2(tree)["token_endpoint"].update(
        uri=oauth2(tree)["token_endpoint"]["uri"].replace("/token", "/tokens"))),
    "provider-500": Broken(rule="idp-server-error", provider=_faults(token_status=500)),
    "provider-slow": Broken(rule="idp-timeout", configure=_token(timeout="0.3s"), provider=_faults(delay=1.0)),
    "no-lifetime": Broken(rule="token-response-invalid", provider=_faults(no_expires_in=True), sources=_ALL,
                          heals=True),
    "scope": Broken(rule="scope-rejected", configure=_filter(auth_scopes=None), sources=_ALL, heals=True),
    "http2": Broken(rule="idp-protocol", configure=_at(typed_extension_protocol_options={
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}}}})),
    "declined": Broken(rule="consent-required", provider=_faults(authorize_error="consent_required"), sources=_LOG),
    # Configuration
    "router-first": Broken(rule="filter-order", configure=_by_lds(_router_first), until="LIVE"),
    "jwt-first": Broken(rule="filter-order", configure=_jwt_first),
    "no-authorizer": Broken(rule="ext-authz-unreachable", configure=_no_authorizer),
    "no-config": Broken(rule="filter-fails-open", configure=_no_config),
    "no-cluster": Broken(rule="cluster-unknown", configure=_token(cluster="nobody")),
    "extension": Broken(rule="listener-rejected", configure=_by_lds(_unknown_extension), until="LIVE"),
    "extension-log": Broken(rule="config-type-url", configure=_by_lds(_unknown_extension), until="LIVE",
                            sources=_LOG),
    "unknown-field": Broken(rule="config-unknown-field", configure=_by_lds(_unknown_field), sources=_LOG),
    "small-heads": Broken(rule="headers-too-large", configure=_small_heads, use=_too_much, sources=_LOG),
}  # fmt: skip
CASES = {name: Broken(**{**vars(broken), "name": name}) for name, broken in _CASES.items()}
