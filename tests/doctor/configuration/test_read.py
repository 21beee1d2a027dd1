"""Configurations of every dialect say what rules need, each thing with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ostiary.doctor.case import Case
from ostiary.doctor.configuration.read import read
from ostiary.doctor.diagnose import diagnose
from ostiary.doctor.facts.configuration import ClusterSeen, ConfigurationProblem, FilterChainSeen, OAuth2Seen
from ostiary.doctor.finding import Where
from ostiary.doctor.rules import all_rules

INCIDENT = """\
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: sign-in, namespace: httpbin}
spec:
  configPatches:
  - applyTo: CLUSTER
    match: {cluster: {service: oauth}}
    patch:
      operation: ADD
      value:
        name: oauth
        connect_timeout: 10s
        lb_policy: ROUND_ROBIN
        load_assignment:
          cluster_name: oauth
          endpoints:
          - lb_endpoints:
            - endpoint: {address: {socket_address: {address: login.microsoftonline.com, port_value: 443}}}
        transport_socket:
          name: envoy.transport_sockets.tls
          typed_config:
            '@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
            sni: login.microsoftonline.com
        type: LOGICAL_DNS
"""
PLACE = Where(file="f.yaml", line=11, path="spec.configPatches[0].patch.value")


def case(text: str | bytes, name: str = "f.yaml") -> Case:
    return Case(read([(name, text.encode() if isinstance(text, str) else text)], env={}))


def only_cluster(changes: dict[str, Any]) -> ClusterSeen:
    cluster = {"name": "idp", "type": "LOGICAL_DNS", **changes}
    (found,) = case(yaml.safe_dump({"static_resources": {"clusters": [cluster]}})).all(ClusterSeen)
    return found


def test_the_incident_s_cluster() -> None:
    (found,) = case(INCIDENT).all(ClusterSeen)
    assert (found.name, found.hosts, found.port, found.type) == ("oauth", ("login.microsoftonline.com",), 443,
                                                                 "LOGICAL_DNS")  # fmt: skip
    assert (found.lookup_family, found.family_written, found.connect_timeout) == ("AUTO", False, 10.0)
    assert (found.tls, found.sni, found.has_ca, found.checks_name) == (True, "login.microsoftonline.com", False, False)
    assert (found.where, found.document, found.for_provider) == (PLACE, 0, True)
    assert "dns_lookup_family not written" in found.origin.quote


def test_the_second_document_of_a_file() -> None:
    (found,) = case(f"kind: ConfigMap\napiVersion: v1\n---\n{INCIDENT}").all(ClusterSeen)
    assert found.document == 1


def test_a_fragment_that_somebody_pasted() -> None:
    text = yaml.safe_dump({"clusters": [{"name": "idp", "type": "STRICT_DNS", "dnsLookupFamily": "V4_ONLY"}]})
    (found,) = case(text).all(ClusterSeen)
    assert (found.type, found.lookup_family, found.family_written) == ("STRICT_DNS", "V4_ONLY", True)


def test_a_dump(tmp_path: Path) -> None:
    dump = {"configs": [{"dynamic_active_clusters": [{"cluster": {"name": "idp", "type": "LOGICAL_DNS",
                                                                  "connect_timeout": "2s"}}]}]}  # fmt: skip
    (found,) = case(yaml.safe_dump(dump), "dump.json").all(ClusterSeen)
    assert (found.name, found.connect_timeout) == ("idp", 2.0)


def test_the_dns_cluster_of_newer_envoys() -> None:
    typed = {"@type": "type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster",
             "all_addresses_in_single_endpoint": True}  # fmt: skip
    found = only_cluster({"cluster_type": {"name": "envoy.clusters.dns", "typed_config": typed}, "type": None})
    assert (found.type, found.lookup_family) == ("LOGICAL_DNS", "AUTO")
    assert found.lookup_where is not None
    assert found.lookup_where.path == "static_resources.clusters[0].cluster_type.typed_config"


@pytest.mark.parametrize(
    ("context", "has_ca", "checks_name"),
    [
        ({}, False, False),
        ({"validation_context": {"trusted_ca": {}}}, True, False),
        ({"validation_context": {"trusted_ca": {}, "match_typed_subject_alt_names": [{}]}}, True, True),
        ({"validation_context_sds_secret_config": {"name": "ca"}}, True, True),
        ({"combined_validation_context": {"default_validation_context": {"match_typed_subject_alt_names": [{}]},
                                          "validation_context_sds_secret_config": {"name": "ca"}}}, True, True),
    ],
)  # fmt: skip
def test_what_tls_checks(context: dict[str, Any], has_ca: bool, checks_name: bool) -> None:
    socket = {"name": "envoy.transport_sockets.tls", "typed_config": {"common_tls_context": context}}
    found = only_cluster({"transport_socket": socket})
    assert (found.tls, found.has_ca, found.checks_name) == (True, has_ca, checks_name)


def manager(*filters: dict[str, Any]) -> str:
    return yaml.safe_dump({"http_filters": list(filters), "stat_prefix": "ingress"})


OAUTH2 = "type.googleapis.com/envoy.extensions.filters.http.oauth2.v3.OAuth2"


def test_a_filter_its_cluster_and_the_order() -> None:
    config = {"token_endpoint": {"uri": "https://idp/token", "cluster": "idp"}, "auth_scopes": ["openid"],
              "redirect_uri": "http://app/cb"}  # fmt: skip
    oauth2_filter = {"name": "envoy.filters.http.oauth2", "typed_config": {"@type": OAUTH2, "config": config}}
    text = manager({"name": "envoy.filters.http.jwt_authn"}, oauth2_filter)
    clusters = yaml.safe_dump({"clusters": [{"name": name, "type": "STATIC"} for name in ("idp", "app")]})
    found = case(f"{text}{clusters}")
    (oauth2,) = found.all(OAuth2Seen)
    assert (oauth2.token_cluster, oauth2.scopes, oauth2.redirect_uri) == ("idp", ("openid",), "http://app/cb")
    assert oauth2.where is not None
    assert oauth2.where.path == "http_filters[1].typed_config.config"
    assert [(c.name, c.for_provider) for c in found.all(ClusterSeen)] == [("idp", True), ("app", False)]
    (chain,) = found.all(FilterChainSeen)
    assert chain.filters == ("envoy.filters.http.jwt_authn", "envoy.filters.http.oauth2")


def test_a_filter_without_config() -> None:
    (found,) = case(manager({"name": "o", "typed_config": {"@type": OAUTH2}})).all(OAuth2Seen)
    assert not found.has_config


@pytest.mark.parametrize(
    ("text", "kind", "subject"),
    [
        ("static_resources: {clusters: [{name: a, type: STATIC, dns_family: V4}]}", "unknown-field", "dns_family"),
        ("static_resources: {clusters: [{name: a, type: STATIC, connect_timeout: 5}]}", "invalid",
         "static_resources.clusters[0].connect_timeout"),
        ("static_resources: {clusters: [{name: a, transport_socket: {name: t, typed_config: {sni: a}}}]}",
         "type-missing", "static_resources.clusters[0].transport_socket.typed_config"),
        ("static_resources: {clusters: [", "invalid", None),
        ("upstream: http://127.0.0.1:1\nprovider: {isuer: https://i, client_id: a}\n", "unknown-field", None),
    ],
)  # fmt: skip
def test_what_is_refused_is_a_fact_with_its_place(text: str, kind: str, subject: str | None) -> None:
    found = [f for f in case(text).all(ConfigurationProblem) if f.kind == kind]
    assert found, case(text).all(ConfigurationProblem)
    assert found[0].where is not None and found[0].where.line >= 1
    assert subject is None or found[0].subject == subject


LISTENER = """\
static_resources:
  listeners:
  - name: l
    address: {socket_address: {address: 0.0.0.0, port_value: 443%s}}
    %s: [%s{name: t, typed_config: {'@type': type.googleapis.com/%s, stat_prefix: x}}%s]
  clusters:
  - name: idp
    type: LOGICAL_DNS
    load_assignment: {cluster_name: idp, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: a.example, port_value: 443}}}}]}]}
"""  # noqa: E501


CHAIN = ("filter_chains", "{filters: [")
NETWORK = "envoy.extensions.filters.network"


@pytest.mark.parametrize("text", [
    (LISTENER % ("", *CHAIN, f"{NETWORK}.tcp_proxy.v3.TcpProxy", "]}")).replace("x}", "x, cluster: idp}"),
    LISTENER % ("", *CHAIN, f"{NETWORK}.kafka_broker.v3.KafkaBroker", "]}"),
    LISTENER % ("", *CHAIN, "acme.filters.Own", "]}"),
    LISTENER % (", protocol: UDP", "listener_filters", "", "acme.filters.Own", ""),
    "resources:\n- '@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret\n  name: token\n",
    "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {name: a}\nspec: {}\n",
], ids=["a TLS passthrough", "a contrib build", "a vendor's", "UDP", "a secret's file", "another object"])  # fmt: skip
def test_what_is_right_elsewhere_is_no_finding(text: str) -> None:
    assert [f.title for f in diagnose(case(text), all_rules()) if f.severity != "info"] == []


def test_a_list_of_clusters_as_istioctl_prints_it() -> None:
    (found,) = case('[{"name": "outbound|443||idp", "type": "STRICT_DNS", "dnsLookupFamily": "V4_ONLY"}]').all(
        ClusterSeen
    )
    assert (found.name, found.lookup_family) == ("outbound|443||idp", "V4_ONLY")


def test_a_cluster_of_a_discovery_file() -> None:
    cluster = "'@type': type.googleapis.com/envoy.config.cluster.v3.Cluster\n  name: idp\n  type: LOGICAL_DNS\n"
    (found,) = case(f"resources:\n- {cluster}").all(ClusterSeen)
    assert (found.name, found.where) == ("idp", Where(file="f.yaml", line=2, path="resources[0]"))


def test_what_only_ostiary_lacks_is_no_problem() -> None:
    text = "static_resources: {clusters: [{name: a, type: STATIC, lb_subset_config: {}}]}\nstats_sinks: []\n"
    assert [f.message for f in case(text).all(ConfigurationProblem)] == []


def test_the_native_dialect() -> None:
    text = "upstream: http://127.0.0.1:8080\nprovider: {issuer: 'https://login.example.com', client_id: app}\n"
    found = case(text, "ostiary.yaml")
    provider, upstream = found.all(ClusterSeen)
    assert (provider.hosts, provider.port, provider.lookup_family, provider.tls) == (("login.example.com",), 443,
                                                                                     "ALL", True)  # fmt: skip
    assert not upstream.for_provider
    (sign_in,) = found.all(OAuth2Seen)
    assert sign_in.issuer == "https://login.example.com"


@pytest.mark.parametrize("text", ["", "\x00\xff", "a: [", "[]", "just text", "{" * 500, "a: &a [*a]"])
def test_nothing_a_file_can_hold_is_an_exception(text: str) -> None:
    assert case(text.encode("latin-1"), "strange").all(ClusterSeen) == []
