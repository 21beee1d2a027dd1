"""No page of the admin API shows a secret, wherever in a configuration of any dialect it stands."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml
from msgspec.structs import replace

from admin.admin_world import HOST, client
from app.harness import running
from ostiary.admin.catalogue import PAGES
from ostiary.cli.configuration import load
from ostiary.model.config import Address, Config
from peers.same_yaml import bootstrap, fill, header, oauth2_config
from wire import Upstream, scenario

SECRET = "do-not-show-%s-0123456789abcdef"
"""Every secret is one of these, so that any of them is found."""
LEAK = re.compile(r"do-not-show|ZG8tbm90LXNob3|BEGIN [A-Z ]*PRIVATE KEY")


def secret(name: str) -> str:
    return SECRET % name


def loaded(path: Path, dialect: str, flags: dict[str, str] | None = None) -> Config:
    found = load([str(path)], dialect=dialect, flags=flags or {}, ignore_unsupported=False)
    assert found.config is not None, [str(each) for each in found.diagnostics]
    listeners = tuple(replace(each, address=Address(host="127.0.0.1")) for each in found.config.listeners)
    return replace(found.config, listeners=listeners, admin=Address(host="127.0.0.1"))


def native(folder: Path, port: int) -> Config:
    ca = trustme.CA()
    leaf = ca.issue_cert("127.0.0.1")
    leaf.private_key_pem.write_to_path(str(folder / "key.pem"))
    leaf.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    (folder / "header").write_text(secret("header-file"))
    document: dict[str, Any] = {
        "listen": "127.0.0.1:1",
        "external_url": "https://app.example.com",
        "upstream": f"http://127.0.0.1:{port}",
        "tls": {"certificate_file": str(folder / "cert.pem"), "key_file": str(folder / "key.pem")},
        "secret": secret("session"),
        "provider": {
            "issuer": "https://127.0.0.1:1/",
            "client_id": "app",
            "client_secret": secret("client"),
        },
        "telemetry": {
            "endpoint": "http://127.0.0.1:1",
            "headers": {"api-key": secret("header")},
            "header_files": {"x-key": str(folder / "header")},
        },
    }
    path = folder / "ostiary.yaml"
    path.write_text(yaml.safe_dump(document))
    return loaded(path, "native")


def envoy_tree(folder: Path, port: int) -> dict[str, Any]:
    leaf = trustme.CA().issue_cert("app.test")
    (folder / "sds.yaml").write_text(
        yaml.safe_dump(
            {
                "resources": [
                    {
                        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
                        "name": "token",
                        "generic_secret": {"secret": {"inline_string": secret("in-a-file")}},
                    }
                ]
            }
        )
    )
    delivered = {"name": "token", "sds_config": {"path_config_source": {"path": str(folder / "sds.yaml")}}}
    credentials = {"client_id": "app", "token_secret": delivered, "hmac_secret": {"name": "hmac"}}
    encoded = base64.b64encode(secret("hmac").encode()).decode()
    tree = bootstrap(
        oauth2=oauth2_config(credentials=credentials, pass_through_matcher=[header(":path", prefix="/public")]),
        secrets=[
            {
                "name": "hmac",
                "generic_secret": {"secret": {"inline_bytes": encoded}},
            }
        ],
    )
    tls = {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {
            "tls_certificates": [
                {
                    "certificate_chain": {"inline_string": leaf.cert_chain_pems[0].bytes().decode()},
                    "private_key": {"inline_string": leaf.private_key_pem.bytes().decode()},
                }
            ]
        },
    }
    chain = tree["static_resources"]["listeners"][0]["filter_chains"][0]
    chain["transport_socket"] = {"name": "envoy.transport_sockets.tls", "typed_config": tls}
    values = {"PORT": 1, "ADMIN": 1, "APP": port, "IDP": 1, "LOG": str(folder / "access.log")}
    filled: dict[str, Any] = fill(tree, values)
    filled["node"] = {"id": "test", "cluster": "test"}
    return filled


def envoy(folder: Path, port: int) -> Config:
    path = folder / "envoy.yaml"
    path.write_text(yaml.safe_dump(envoy_tree(folder, port)))
    return loaded(path, "envoy")


def istio(folder: Path, port: int) -> Config:
    oauth2 = oauth2_config(token_endpoint={"uri": "https://127.0.0.1:1/token", "cluster": "oauth", "timeout": "5s"})
    inline = {"resources": []}
    for name in ("token", "hmac"):
        inline["resources"].append(
            {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
                "name": name,
                "generic_secret": {"secret": {"inline_string": secret(name)}},
            }
        )
        oauth2["credentials"][f"{name}_secret"] = {
            "name": name,
            "sds_config": {"path_config_source": {"path": str(folder / "sds.yaml")}},
        }
    (folder / "sds.yaml").write_text(yaml.safe_dump(inline))
    cluster = {
        "name": "oauth",
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": "oauth",
            "endpoints": [
                {
                    "lb_endpoints": [
                        {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 1}}}}
                    ]
                }
            ],
        },
    }
    patches = [
        {"applyTo": "CLUSTER", "patch": {"operation": "ADD", "value": cluster}},
        {
            "applyTo": "HTTP_FILTER",
            "match": {
                "context": "SIDECAR_INBOUND",
                "listener": {"filterChain": {"filter": {"name": "envoy.filters.network.http_connection_manager"}}},
            },
            "patch": {
                "operation": "INSERT_FIRST",
                "value": {"name": "envoy.filters.http.oauth2", "typed_config": {"@type": OAUTH2, "config": oauth2}},
            },
        },
    ]
    document = {
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        "metadata": {"name": "sign-in", "namespace": "app"},
        "spec": {"configPatches": patches},
    }
    path = folder / "envoyfilter.yaml"
    path.write_text(yaml.safe_dump(document))
    return loaded(path, "istio", {"upstream": f"http://127.0.0.1:{port}", "listen": "127.0.0.1:1"})


SOMEWHERE = {"address": "127.0.0.1", "port_value": 1}
OAUTH2 = "type.googleapis.com/envoy.extensions.filters.http.oauth2.v3.OAuth2"


@pytest.mark.parametrize("make", [native, envoy, istio])
@scenario
async def test_no_page_shows_one(make: Any, tmp_path: Path) -> None:
    async with Upstream().running() as app, running(make(tmp_path, app.port)) as door:
        connection = await client(door)
        for page in PAGES:
            if page.mutates:
                continue
            path = page.path + ("0000" if page.path.endswith("s/") else "")
            for query in ("", "?format=json", "?include_eds", "?resource=static_secrets", "?resource=static_listeners"):
                answer = await connection.get(path + query, host=HOST)
                assert answer.status in (200, 404, 503), (path, answer.body)
                assert not LEAK.search(answer.body.decode()), (path, LEAK.search(answer.body.decode()))
        dump = (await connection.get("/config_dump", host=HOST)).body.decode()
        assert "[redacted]" in dump
