"""The incident's network, in a namespace of its own, with everything in it: DNS, a provider with TLS, an application.

    unshare --net --mount python incident_world.py FOLDER NETWORK PROXY/FAMILY[/LEVEL]...

Runs each proxy, lets a person sign in through it, and prints what came of it as JSON. FAMILY is Envoy's
`dns_lookup_family`, `none` where the configuration has no such line, or `native` for `ostiary run --issuer`. LEVEL is
that of the log. PROXY `envoyfilter` is Ostiary with the EnvoyFilter as it was, and the secrets in files of SDS.

    unshare --net --mount python incident_world.py FOLDER ipv4_only doctor

Envoy fails as it was reported; `ostiary doctor` is asked in three ways, and what each prints mends it.
"""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import trustme
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' directory is not a package

from envoy_example import INCIDENT_CLUSTER
from net.dns_server import DnsServer, Reply
from ostiary.testing import provider_server
from ostiary.testing.provider import DemoClient, DemoProvider
from peers.in_thread import serving
from peers.mesh import generated, sidecar
from peers.person import Person
from peers.proxies import ROOT, Proxy, envoy_arguments, ostiary_arguments, ostiary_command
from peers.recorders import Application
from waiting import PATIENCE

NAME = "login.microsoftonline.com"
ISSUER = f"https://{NAME}/contoso/v2.0"
CLIENT = DemoClient(client_id="httpbin", client_secret="the-client-secret")
V4 = ("10.77.0.7",)
V6 = ("2606:4700::6810:a016", "2606:4700::6810:a116")
PORT, ADMIN = 4180, 4181

# The networks differ in one thing: which of the provider's addresses are there. DNS always answers with all of them.
NETWORKS = {"ipv4_only": V4, "ipv6_only": V6}

BOOTSTRAP = """\
admin: {address: {socket_address: {address: 127.0.0.1, port_value: @ADMIN@}}}
static_resources:
  secrets:
  - name: token
    generic_secret: {secret: {inline_string: the-client-secret}}
  - name: hmac
    generic_secret: {secret: {inline_string: 0123456789abcdef0123456789abcdef}}
  listeners:
  - name: ingress
    address: {socket_address: {address: 127.0.0.1, port_value: @PORT@}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: ingress
          route_config:
            virtual_hosts:
            - name: httpbin
              domains: ['*']
              routes:
              - match: {prefix: /}
                route: {cluster: httpbin}
          http_filters:
          - name: envoy.filters.http.oauth2
            typed_config:
              '@type': type.googleapis.com/envoy.extensions.filters.http.oauth2.v3.OAuth2
              config:
                token_endpoint: {cluster: oauth, uri: '@ISSUER@/token', timeout: 10s}
                authorization_endpoint: '@ISSUER@/authorize'
                redirect_uri: 'http://%REQ(:authority)%/callback'
                redirect_path_matcher: {path: {exact: /callback}}
                signout_path: {path: {exact: /signout}}
                forward_bearer_token: true
                auth_scopes: [openid, profile]
                credentials:
                  client_id: httpbin
                  token_secret: {name: token}
                  hmac_secret: {name: hmac}
          - name: envoy.filters.http.router
            typed_config:
              '@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: httpbin
    load_assignment:
      cluster_name: httpbin
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: @APP@}}}
"""
ENVOY_FILTER = """\
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: httpbin, namespace: httpbin}
spec: {selector: {matchLabels: {app: httpbin}}, jwtRules: [{issuer: '@ISSUER@'}]}
---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: httpbin-oauth2, namespace: httpbin}
spec:
  workloadSelector: {labels: {app: httpbin}}
  configPatches:
  - applyTo: CLUSTER
    match: {cluster: {service: oauth}}
    patch:
      operation: ADD
      value:
@CLUSTER@
  - applyTo: HTTP_FILTER
    match:
      context: SIDECAR_INBOUND
      listener:
        portNumber: 80
        filterChain:
          filter:
            name: envoy.filters.network.http_connection_manager
            subFilter: {name: envoy.filters.http.jwt_authn}
    patch:
      operation: INSERT_BEFORE
      value:
        name: envoy.filters.http.oauth2
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.http.oauth2.v3.OAuth2
          config:
            token_endpoint: {cluster: oauth, uri: '@ISSUER@/token', timeout: 10s}
            authorization_endpoint: '@ISSUER@/authorize'
            redirect_uri: 'http://%REQ(:authority)%/callback'
            redirect_path_matcher: {path: {exact: /callback}}
            signout_path: {path: {exact: /signout}}
            forward_bearer_token: true
            auth_scopes: [openid, profile]
            credentials:
              client_id: httpbin
              token_secret: {name: token, sds_config: {path_config_source: {path: '@FOLDER@/token.yaml'}}}
              hmac_secret: {name: hmac, sds_config: {path_config_source: {path: '@FOLDER@/hmac.yaml'}}}
"""
SECRET = """\
resources:
- '@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret
  name: @NAME@
  generic_secret: {secret: {inline_string: @VALUE@}}
"""


def sh(command: str) -> None:
    """One command, without a shell."""
    subprocess.run(command.split(), check=True)


def run_arguments(app: int, flags: dict[str, str]) -> list[str]:
    """`ostiary run` before the application, where a bootstrap doesn't say it."""
    places = {"upstream": f"http://127.0.0.1:{app}", "listen": f"127.0.0.1:{PORT}", "admin": f"127.0.0.1:{ADMIN}"}
    argv = [f"--{name}={value}" for name, value in (flags | places).items()]
    return [*ostiary_command(), "run", *argv, "--log-level", "info"]


def generated_sidecar(folder: Path, app: int, roots: Path) -> Path:
    """A sidecar's bootstrap with what `ostiary envoyfilter` prints for this provider."""
    (folder / "client-secret").write_text(CLIENT.client_secret)
    where = ("--namespace", "httpbin", "--selector", "app=httpbin", "--external-url", f"http://127.0.0.1:{PORT}")
    trusts = ("--ca", str(roots), "--trusted-ca", str(roots))
    secrets = ("--client-secret-file", str(folder / "client-secret"), "--generate-hmac")
    objects = generated("--issuer", ISSUER, "--client-id", "httpbin", *where, *trusts, *secrets)
    objects.files(folder)
    config = folder / "bootstrap.json"
    config.write_text(json.dumps(sidecar(objects, folder, app, PORT, ADMIN)))
    return config


def make_proxy(folder: Path, app: int, roots: Path, proxy: str, family: str, level: str = "info") -> Proxy:
    """The proxy of a case, not started. Its system's roots know the provider's certificate."""
    written = "" if family == "none" else f"    dns_lookup_family: {family}\n"
    if family == "native":
        flags = {"issuer": ISSUER, "client-id": "httpbin", "client-secret-file": str(folder / "client-secret")}
        (folder / "client-secret").write_text(CLIENT.client_secret)
        argv = run_arguments(app, flags)
    elif family == "generated":
        argv = envoy_arguments(generated_sidecar(folder, app, roots))
    elif proxy == "envoyfilter":
        for name, value in {"token": CLIENT.client_secret, "hmac": "0123456789abcdef0123456789abcdef"}.items():
            (folder / f"{name}.yaml").write_text(SECRET.replace("@NAME@", name).replace("@VALUE@", value))
        cluster = textwrap.indent(textwrap.dedent((INCIDENT_CLUSTER + written).replace("  - ", "    ", 1)), " " * 8)
        text = ENVOY_FILTER.replace("@CLUSTER@\n", cluster)
        config = folder / "envoyfilter.yaml"
        config.write_text(text.replace("@ISSUER@", ISSUER).replace("@FOLDER@", str(folder)))
        argv = run_arguments(app, {"config": str(config)})
    else:
        text = BOOTSTRAP + INCIDENT_CLUSTER + written
        for name, value in {"PORT": PORT, "ADMIN": ADMIN, "APP": app, "ISSUER": ISSUER}.items():
            text = text.replace(f"@{name}@", str(value))
        config = folder / "envoy.yaml"
        config.write_text(text)
        argv = envoy_arguments(config) if proxy == "envoy" else [*ostiary_arguments(config), "--log-level", "info"]
    argv[argv.index("--log-level") + 1] = level
    return Proxy(proxy, argv, (PORT,), ADMIN, folder / "log", {"SSL_CERT_FILE": str(roots)})


class Remembering(DemoProvider):
    """Keeps what nobody else may see."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.secrets: set[str] = set()

    def answer(
        self, method: str, endpoint: str, query: Mapping[str, str], form: Mapping[str, str], headers: Mapping[str, str]
    ) -> provider_server.Reply:
        reply = super().answer(method, endpoint, query, form, headers)
        if endpoint == "/token":
            said = json.loads(reply.body)
            self.secrets.update(form[name] for name in ("code", "code_verifier", "client_secret") if name in form)
            self.secrets.update(said[name] for name in ("access_token", "id_token", "refresh_token") if name in said)
            self.secrets.update(headers.get("authorization", "").split()[1:])
        return reply


def cookies(person: Person) -> list[str]:
    """What the proxy has given this browser."""
    return [value for (host, _, _), value in person.cookies.items() if host == "127.0.0.1"]


def sign_in(person: Person, app: Application) -> dict[str, Any]:
    """What the person and the application see. `callback_ms` is for people who measure: the token request is in it."""
    page = person.open(f"http://127.0.0.1:{PORT}/get?a=1")
    _, headers, _ = person.step(page.url, form={"username": "ada"})
    callback = dict(headers)["location"]
    secrets = cookies(person)
    began = time.monotonic()
    status, headers, text = person.step(callback)
    seen: dict[str, Any] = {"callback": status, "callback_ms": round((time.monotonic() - began) * 1000, 1)}
    if status in (302, 303):
        page = person.open(urljoin(callback, {name.lower(): value for name, value in headers}["location"]))
        status, text = page.status, page.text
    secrets += cookies(person) + [
        value for name in ("code", "state") for value in parse_qs(urlsplit(callback).query)[name]
    ]
    reached = [received.target for received in app.drain()]
    return seen | {"status": status, "text": text, "reached": reached, "secrets": secrets}


def build(folder: Path, network: str) -> None:
    """The addresses of this network, and where its DNS server is."""
    resolv = folder / "resolv.conf"
    resolv.write_text("nameserver 127.0.0.1\n")
    sh(f"mount --bind {resolv} /etc/resolv.conf")
    sh("ip link set lo up")
    for address in NETWORKS[network]:
        sh(f"ip addr add {address}/32 dev lo" if "." in address else f"ip addr add {address}/128 dev lo nodad")


def doctored(folder: Path, app: Application, roots: Path, trusts: ssl.SSLContext) -> dict[str, Any]:
    """What the three commands print, and what becomes of it when their patches are applied."""
    own = folder / "envoy"
    own.mkdir()
    running = make_proxy(own, app.port, roots, "envoy", "none", "debug").start()
    cluster = textwrap.indent(textwrap.dedent(INCIDENT_CLUSTER.replace("  - ", "    ", 1)), " " * 8)
    file = own / "envoyfilter.yaml"
    file.write_text(ENVOY_FILTER.replace("@CLUSTER@\n", cluster).replace("@ISSUER@", ISSUER))
    ways = {"admin": ("--admin", f"http://127.0.0.1:{ADMIN}"), "config": ("-c", file.name), "log": ("--log", "log")}
    found: dict[str, Any] = {}
    try:
        found["before"] = sign_in(Person(trusts), app)["callback"]
        for way, arguments in ways.items():
            done = [doctor(own, *arguments, *more) for more in ((), ("--json",), ("--patch",))]
            found[way] = {"text": done[0].stdout, "json": json.loads(done[1].stdout), "patch": done[2].stdout,
                          "status": done[0].returncode, "stderr": done[0].stderr}  # fmt: skip
    finally:
        running.stop()
    shutil.copy(file, own / "before.yaml")
    applied = subprocess.run(["patch", "-p0"], input=found["config"]["patch"], text=True, cwd=own, check=True,
                             capture_output=True)  # fmt: skip
    found["applied"] = applied.stdout
    patched = yaml.safe_load_all(file.read_text())
    value = next(each for each in patched if each["kind"] == "EnvoyFilter")["spec"]["configPatches"][0]["patch"][
        "value"
    ]
    running = make_proxy(own, app.port, roots, "envoy", value["dns_lookup_family"]).start()
    try:
        found["after"] = sign_in(Person(trusts), app)["callback"]
        found["healthy"] = json.loads(doctor(own, *ways["admin"], "--json").stdout)
    finally:
        running.stop()
    running = make_proxy(own, app.port, roots, "ostiary", "V6_ONLY").start()
    try:
        found["broken ostiary"] = sign_in(Person(trusts), app)["callback"]
        found["sick ostiary"] = json.loads(doctor(own, *ways["admin"], "--json", "--no-probe").stdout)
    finally:
        running.stop()
    running = make_proxy(own, app.port, roots, "ostiary", "native").start()
    try:
        found["ostiary"] = sign_in(Person(trusts), app)["callback"]
        found["healthy ostiary"] = json.loads(doctor(own, *ways["admin"], "--json").stdout)
    finally:
        running.stop()
    return found


def doctor(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`ostiary doctor` there."""
    env = os.environ | {"PYTHONPATH": str(ROOT / "src"), "NO_COLOR": "1", "COLUMNS": "110"}
    command = [*ostiary_command(), "doctor", *arguments]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=PATIENCE)


def main(folder: Path, network: str, cases: list[str]) -> None:
    """One case after the other, each with a provider that has seen nothing before."""
    build(folder, network)
    authority = trustme.CA()
    roots = folder / "roots.pem"
    authority.cert_pem.write_to_path(str(roots))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(NAME).configure_cert(tls)
    trusts = ssl.create_default_context(cafile=str(roots))
    found: dict[str, Any] = {}
    records = {(f"{NAME}.", "A"): Reply(V4), (f"{NAME}.", "AAAA"): Reply(V6)}
    with serving(DnsServer(records, port=53)), Application() as app:
        if cases == ["doctor"]:
            provider = DemoProvider(port=443, host=NETWORKS[network], issuer=ISSUER, clients=(CLIENT,), tls=tls)
            os.environ["SSL_CERT_FILE"] = str(roots)
            with serving(provider):
                print(json.dumps(doctored(folder, app, roots, trusts)))
            return
        for case in cases:
            own = folder / case.replace("/", "-")
            own.mkdir()
            provider = Remembering(port=443, host=NETWORKS[network], issuer=ISSUER, clients=(CLIENT,), tls=tls)
            with serving(provider):
                running = make_proxy(own, app.port, roots, *case.split("/")).start()
                try:
                    seen = sign_in(Person(trusts), app)
                    if running.name == "ostiary":
                        seen["flights"] = json.loads(running.admin("/flights"))["flights"]
                finally:
                    running.stop()
                seen["secrets"] += provider.secrets
                found[case] = seen | {"token_requests": len(provider.token_requests), "log": running.output()}
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
