from __future__ import annotations

import pytest

from ostiary.dialects.schema import DEPRECATED, DISALLOWED, MessageType, camel_case, nearest, schema

OAUTH2 = "envoy.extensions.filters.http.oauth2.v3.OAuth2Config"
CLUSTER = "envoy.config.cluster.v3.Cluster"


def message(name: str) -> MessageType:
    found = schema().message(name)
    assert found is not None
    return found


def test_the_schema_is_that_of_the_pinned_version() -> None:
    names = {field.name for field in message(OAUTH2).fields.values()}
    assert len(names) == 33
    assert {"post_logout_redirect_uri", "private_key_jwt_config"} <= names


def test_fields_are_known_by_both_spellings() -> None:
    fields = message(CLUSTER).fields
    assert fields["dnsLookupFamily"] is fields["dns_lookup_family"]
    assert fields["dns_lookup_family"].type == "enum"
    assert schema().enum(fields["dns_lookup_family"].reference)["ALL"] == 4


def test_rules_maps_oneofs_and_marks() -> None:
    cluster = message(CLUSTER).fields
    assert cluster["connect_timeout"].rules == {"gt": 0.0}
    options = cluster["typed_extension_protocol_options"]
    assert (options.cardinality, options.key, options.reference) == ("map", "string", "google.protobuf.Any")
    assert cluster["type"].oneof == cluster["cluster_type"].oneof == "cluster_discovery_type"
    assert cluster["dns_refresh_rate"].deprecated == DEPRECATED != DISALLOWED
    assert message("envoy.config.core.v3.Address").required_oneofs == ("address",)
    assert message("envoy.extensions.transport_sockets.tls.v3.GenericSecret").fields["secret"].sensitive


def test_what_is_not_there() -> None:
    assert schema().message("envoy.Nothing") is None
    with pytest.raises(KeyError):
        schema().enum("envoy.Nothing")


def test_the_nearest_names() -> None:
    assert message(CLUSTER).nearest("dns_lookup_famly") == "dns_lookup_family"
    assert message(CLUSTER).nearest("zzz") is None
    wanted = "envoy.extensions.filters.http.oauth2.v3.OAuth2"
    assert schema().nearest_message("envoy.extensions.filters.http.oauth2.v3alpha.OAuth2") == wanted
    assert nearest("RONDOM", ["RANDOM", "ROUND_ROBIN"]) == "RANDOM"


def test_every_rule_in_the_schema_is_one_that_is_checked() -> None:
    known = {
        "const", "defined_only", "gt", "gte", "lt", "lte", "ignore_empty", "in", "not_in", "items", "keys", "values",
        "max_bytes", "max_items", "max_len", "min_items", "min_len", "min_pairs", "pattern", "prefix", "suffix",
        "required", "skip", "strict", "unique", "well_known_regex",
    }  # fmt: skip
    used: set[str] = set()
    for name in schema().names():
        for field in message(name).fields.values():
            used |= set(field.rules)
            for inner in ("items", "keys", "values"):
                used |= set(field.rules.get(inner, ()))
    assert used == known


def test_camel_case_is_protobufs() -> None:
    assert [camel_case(name) for name in ("a_b", "http2_protocol_options", "a__b", "x_1y")] == [
        "aB", "http2ProtocolOptions", "aB", "x1y",
    ]  # fmt: skip
