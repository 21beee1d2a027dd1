"""EnvoyFilter patches that do nothing or harm are facts, at their line; the whole is judged as Envoy would."""

from __future__ import annotations

import asyncio
from pathlib import Path
from subprocess import run
from textwrap import indent

import pytest
import yaml

from ostiary.doctor.configuration.read import read
from ostiary.doctor.examine import Question, examine
from ostiary.doctor.facts.configuration import ConfigurationProblem

HEAD = """\
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: sign-in, namespace: httpbin}
spec:
  configPatches:
"""
CLUSTER = """\
- applyTo: CLUSTER
  patch:
    operation: ADD
    value:
      name: oauth
      type: LOGICAL_DNS
      load_assignment:
        cluster_name: oauth
        endpoints:
        - lb_endpoints: [{endpoint: {address: {socket_address: {address: login.example, port_value: 443}}}}]
"""
FILTER = """\
- applyTo: HTTP_FILTER
  match:
    context: SIDECAR_INBOUND
    listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager@ANCHOR@}}}
  patch:
    operation: @OPERATION@
    value:
      name: envoy.filters.http.oauth2
      typed_config:
        '@type': type.googleapis.com/envoy.extensions.filters.http.oauth2.v3.OAuth2
        config:
          token_endpoint: {cluster: @CLUSTER@, uri: https://login.example/token, timeout: 5s}
          authorization_endpoint: https://login.example/authorize
          redirect_uri: "@REDIRECT@"
          redirect_path_matcher: {path: {exact: /callback}}
          signout_path: {path: {exact: /signout}}
          credentials:
            client_id: app
            token_secret: {name: token, sds_config: {path_config_source: {path: /etc/istio/token.yaml}}}
            hmac_secret: {name: hmac, sds_config: {path_config_source: {path: /etc/istio/hmac.yaml}}}
"""
GOOD = {"ANCHOR": "", "OPERATION": "INSERT_FIRST", "CLUSTER": "oauth", "REDIRECT": "https://app.example/callback"}


def text(*patches: str, **changes: str) -> str:
    for name, value in {**GOOD, **changes}.items():
        patches = tuple(patch.replace(f"@{name}@", value) for patch in patches)
    return HEAD + indent("".join(patches), "  ")


def problems(written: str) -> list[tuple[str, str, int]]:
    """(kind, confidence, line) of each."""
    found = [fact for fact in read([("f.yaml", written.encode())], env={}) if isinstance(fact, ConfigurationProblem)]
    return [(fact.kind, fact.confidence, fact.where.line if fact.where else 0) for fact in found]


def line_of(written: str, sign: str) -> int:
    """The last line that has it."""
    return max(number for number, line in enumerate(written.splitlines(keepends=True), 1) if sign in line)


def test_patches_that_do_what_they_say() -> None:
    assert problems(text(CLUSTER, FILTER)) == []


@pytest.mark.parametrize(
    ("changes", "kind", "sign"),
    [
        ({"OPERATION": "ADD"}, "filter-order", "operation: ADD\n"),
        ({"CLUSTER": "nope"}, "cluster-unknown", "cluster: nope"),
        ({"REDIRECT": "%REQ(:authority%/callback"}, "redirect-uri-template", "redirect_uri"),
        ({"OPERATION": "INSERT_BEFORE", "ANCHOR": ", subFilter: {name: envoy.filters.http.gone}"}, "patch-nothing",
         "envoy.filters.http.gone"),
    ],
)  # fmt: skip
def test_patches_that_do_not(changes: dict[str, str], kind: str, sign: str) -> None:
    written = text(CLUSTER, FILTER, **changes)
    found = problems(written)
    assert (kind, "certain") in [each[:2] for each in found], found
    assert any(each[0] == kind and abs(each[2] - line_of(written, sign)) <= 1 for each in found), found


def test_an_anchor_that_only_another_object_makes() -> None:
    anchor = {"OPERATION": "INSERT_BEFORE", "ANCHOR": ", subFilter: {name: envoy.filters.http.jwt_authn}"}
    written = text(CLUSTER, FILTER, **anchor)
    assert ("patch-nothing", "possible") in [each[:2] for each in problems(written)]
    policy = "---\napiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {name: jwt}\n"
    assert problems(written + policy) == []


def test_a_merge_never_reaches_an_added_cluster() -> None:
    merge = CLUSTER.replace("ADD", "MERGE").replace("patch:", "match: {cluster: {name: oauth}}\n  patch:")
    assert ("patch-nothing", "certain") in [each[:2] for each in problems(text(CLUSTER, merge, FILTER))]


def test_an_unknown_field_is_dropped_without_a_word() -> None:
    written = text(CLUSTER.replace("type: LOGICAL_DNS", "type: LOGICAL_DNS\n      dns_family: V4_ONLY"), FILTER)
    assert ("unknown-field", "certain", line_of(written, "dns_family")) in problems(written)


ORDINARY = """\
- applyTo: NETWORK_FILTER
  match:
    context: @CONTEXT@
    listener: {portNumber: 8443, filterChain: {sni: app.example, filter: {name: envoy.filters.network.http_connection_manager}}}
  patch:
    operation: MERGE
    value:
      typed_config:
        '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
        max_request_headers_kb: 96
- applyTo: CLUSTER
  match: {context: SIDECAR_OUTBOUND, cluster: {service: reviews.default.svc.cluster.local}}
  patch: {operation: MERGE, value: {connect_timeout: 3s}}
- applyTo: HTTP_ROUTE
  match: {context: SIDECAR_OUTBOUND, routeConfiguration: {vhost: {name: 'reviews.default.svc.cluster.local:80'}}}
  patch: {operation: MERGE, value: {route: {timeout: 3s}}}
- applyTo: NETWORK_FILTER
  match: {context: SIDECAR_OUTBOUND, listener: {filterChain: {filter: {name: envoy.filters.network.tcp_proxy}}}}
  patch:
    operation: MERGE
    value:
      typed_config:
        '@type': type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
        idle_timeout: 60s
"""  # noqa: E501 - YAML as people write it


@pytest.mark.parametrize("context", ["GATEWAY", "SIDECAR_INBOUND", "SIDECAR_OUTBOUND"])
def test_what_patches_match_in_a_mesh_is_not_to_be_known_from_files(context: str) -> None:
    assert problems(text(ORDINARY, CONTEXT=context)) == []


def test_a_filter_for_gateways_is_judged_as_a_gateway_s() -> None:
    gateway = FILTER.replace("SIDECAR_INBOUND", "GATEWAY")
    assert problems(text(CLUSTER.replace("patch:", "match: {context: GATEWAY}\n  patch:", 1), gateway)) == []
    assert ("filter-order", "certain") in [each[:2] for each in problems(text(CLUSTER, gateway, OPERATION="ADD"))]


def test_filters_for_sidecars_and_gateways_in_one_file() -> None:
    gateway = text(CLUSTER, FILTER.replace("SIDECAR_INBOUND", "GATEWAY")).replace("name: sign-in", "name: gateway")
    assert problems(f"{text(CLUSTER, FILTER)}---\n{gateway}") == []


def test_an_unknown_key_of_an_object() -> None:
    (found,) = problems(HEAD.replace("configPatches", "filters") + "  - {filterName: envoy.lua, filterType: HTTP}\n")
    assert found[0] == "unknown-field"


BOTH = """\
- applyTo: CLUSTER
  match: {cluster: {service: @SERVICE@}}  # ours
  patch:
    operation: MERGE
    value:
      connect_timeout: 3s
      # TLS
      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
          sni: reviews
      dns_lookup_family: ALL
"""


def test_what_stands_beside_a_socket_gets_a_patch_of_its_own(tmp_path: Path) -> None:
    written = text(CLUSTER, FILTER, BOTH, SERVICE="reviews")
    path = tmp_path / "f.yaml"
    path.write_text(written)
    report = asyncio.run(examine(Question(configurations=(("f.yaml", written.encode()),), probes=False)))
    (found,) = (finding for finding in report.findings if finding.rule == "patch-not-applied")
    assert "connect_timeout, dns_lookup_family are dropped" in found.cause
    assert found.patch is not None
    run(["patch", "-p0"], cwd=tmp_path, input=found.patch.encode(), check=True, capture_output=True)
    assert "# ours" in path.read_text()
    assert "# TLS" in path.read_text()
    patches = yaml.safe_load(path.read_text())["spec"]["configPatches"]
    assert [*patches[2]["patch"]["value"]] == ["transport_socket"]
    assert patches[3]["match"] == {"cluster": {"service": "reviews"}}
    assert patches[3]["patch"]["value"] == {"connect_timeout": "3s", "dns_lookup_family": "ALL"}
    assert ("patch-nothing", "certain") not in [each[:2] for each in problems(path.read_text())]


def test_that_an_added_cluster_is_never_reached_is_said_first() -> None:
    merge = BOTH.replace("{service: @SERVICE@}", "{name: oauth}")
    found = read([("f.yaml", text(CLUSTER, FILTER, merge).encode())], env={})
    said = [each.message for each in found if isinstance(each, ConfigurationProblem)]
    assert len(said) == 1
    assert "MERGE never sees" in said[0]


BOOTSTRAP = """\
static_resources:
  clusters:
  - name: a
    type: STATIC
    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        '@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        common_tls_context:
          tls_certificate_sds_secret_configs:
          - {name: x, sds_config: {path_config_source: {path: /etc/envoy/sds.yaml}}}
"""


@pytest.mark.parametrize("written", [text(CLUSTER, FILTER), BOOTSTRAP])
def test_files_of_the_container_need_not_be_here(written: str) -> None:
    def nowhere(name: str) -> bytes:
        raise FileNotFoundError(2, "No such file or directory", name)

    found = read([("f.yaml", written.encode())], env={}, open_file=nowhere)
    assert [fact for fact in found if isinstance(fact, ConfigurationProblem)] == []
