from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.dialects.envoy_secret import parse_sds
from ostiary.model.errors import ConfigError
from ostiary.model.secret import Secret

TYPE = "'@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
GENERIC = "generic_secret: {secret: {inline_string: value}}"
RESOURCES = f"resources:\n- {TYPE}\n  name: hmac\n  generic_secret: {{secret: {{inline_string: value}}}}\n"


@pytest.mark.parametrize(
    "text",
    [
        RESOURCES,
        f"version_info: '1'\n{RESOURCES}",
        RESOURCES.replace("inline_string: value", "inline_bytes: dmFsdWU="),
        RESOURCES.replace("inline_string: value", "filename: /run/secret"),
        f"{TYPE}\nname: hmac\ngeneric_secret: {{secret: {{inline_string: value}}}}\n",
        "name: hmac\ngenericSecret: {secret: {inlineString: value}}\n",
        "generic_secret: {secret: {inline_string: value}}\n",
        '{"resources": [{"name": "x"}, {"name": "hmac", "generic_secret": {"secret": {"inline_string": "value"}}}]}',
    ],
)
def test_the_forms_in_which_a_secret_is_delivered(text: str) -> None:
    assert parse_sds(text.encode(), "sds.yaml", "hmac", lambda path: b"value") == Secret("value")


def test_a_trailing_line_break_belongs_to_the_secret() -> None:
    text = RESOURCES.replace("inline_string: value", 'inline_string: "value\\n"')
    assert parse_sds(text.encode(), "sds.yaml", "hmac") == Secret("value\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("resources: []\n", "no secret called 'hmac' (it has: none)"),
        (RESOURCES.replace("name: hmac", "name: token"), "no secret called 'hmac' (it has: token)"),
        (RESOURCES.replace("tls.v3.Secret", "tls.v3.TlsCertificate"), "sds.yaml:2:12: error: resources[0].@type: "),
        (
            RESOURCES.replace(GENERIC, "validation_context: {}"),
            "no generic_secret",
        ),
        (RESOURCES.replace("inline_string: value", ""), "one of environment_variable, filename, inline_bytes"),
        (RESOURCES.replace("inline_string: value", "environment_variable: X"), "put the value into a file"),
        (RESOURCES.replace("inline_string", "inline_sting"), "did you mean 'inline_string'?"),
        (RESOURCES.replace("resources", "resource"), "Secret has no field 'resource'"),
        (RESOURCES + "more: 1\n", "DiscoveryResponse has no field 'more'"),
        (RESOURCES.replace("inline_string: value", "filename: /nope"), "can't read /nope: gone"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    def read(path: str) -> bytes:
        raise OSError(2, "gone")

    with pytest.raises(ConfigError) as caught:
        parse_sds(text.encode(), "sds.yaml", "hmac", read)
    assert message in str(caught.value)


@given(st.binary(max_size=60) | st.text("resources:- {}\nname", max_size=60).map(str.encode))
def test_no_bytes_raise_anything_but_a_config_error(text: bytes) -> None:
    with pytest.raises(ConfigError):
        parse_sds(text, "f", "hmac")
