from __future__ import annotations

from pathlib import Path

import pytest

from envoy_example import SNI, error, good, spoilt
from ostiary.dialects.envoy import load
from ostiary.model.matchers import StringMatcher
from ostiary.model.secret import Secret
from ostiary.model.tls import (
    CertificateValidationContext,
    DataSource,
    DownstreamTlsContext,
    SanMatcher,
    TlsCertificate,
    UpstreamTlsContext,
)

TYPE = "'@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"
CHAIN = "    - filters:"
SECRETS = "  secrets:\n"


def upstream(common: str, *replacements: tuple[str, str]) -> UpstreamTlsContext:
    config = good((SNI, f"{SNI}        common_tls_context: {{{common}}}\n"), *replacements)
    cluster = config.cluster("idp")
    assert cluster is not None
    assert cluster.transport_socket is not None
    return cluster.transport_socket


def downstream(rest: str) -> tuple[str, str]:
    return (
        CHAIN,
        f"    - transport_socket: {{name: t, typed_config: {{{TYPE}.DownstreamTlsContext{rest}}}}}\n      filters:",
    )


def test_without_a_validation_context_the_system_verifies_and_that_is_listed() -> None:
    config = good()
    assert any("the system's roots verify the peer" in line for line in config.differences)
    assert any("the certificate must be for the SNI or host name" in line for line in config.differences)


def test_upstream() -> None:
    found = upstream(
        "alpn_protocols: [h2, http/1.1], tls_params: {tls_minimum_protocol_version: TLSv1_2, "
        "cipher_suites: ['[ECDHE-RSA-AES128-GCM-SHA256|AES128-SHA]']}, validation_context: "
        "{trusted_ca: {filename: /ca.pem}, match_typed_subject_alt_names: [{san_type: DNS, matcher: {suffix: .a}}]}, "
        "tls_certificates: [{certificate_chain: {filename: /c.pem}, private_key: {inline_string: KEY}}]"
    )
    assert found == UpstreamTlsContext(
        sni="idp.test",
        alpn_protocols=("http/1.1",),
        tls_minimum_protocol_version="TLSv1_2",
        cipher_suites=("ECDHE-RSA-AES128-GCM-SHA256", "AES128-SHA"),
        validation_context=CertificateValidationContext(
            trusted_ca=DataSource(filename="/ca.pem"),
            match_typed_subject_alt_names=(SanMatcher(san_type="DNS", matcher=StringMatcher("suffix", ".a")),),
        ),
        tls_certificates=(
            TlsCertificate(
                certificate_chain=DataSource(filename="/c.pem"), private_key=DataSource(inline=Secret("KEY"))
            ),
        ),
    )


def test_verification_switched_off_is_kept() -> None:
    found = upstream("validation_context: {trust_chain_verification: ACCEPT_UNTRUSTED}")
    assert found.validation_context.accept_untrusted is True


def test_secrets_by_name() -> None:
    secret = f"{SECRETS}  - {{name: ca, validation_context: {{trusted_ca: {{filename: /ca.pem}}}}}}\n"
    found = upstream("validation_context_sds_secret_config: {name: ca}", (SECRETS, secret))
    assert found.validation_context.trusted_ca == DataSource(filename="/ca.pem")


def test_a_combined_context_takes_the_trusted_ca_of_its_secret() -> None:
    secret = f"{SECRETS}  - {{name: ca, validation_context: {{trusted_ca: {{filename: /ca.pem}}}}}}\n"
    names = "match_typed_subject_alt_names: [{san_type: DNS, matcher: {exact: a}}]"
    found = upstream(
        f"combined_validation_context: {{default_validation_context: {{{names}}}, "
        "validation_context_sds_secret_config: {name: ca}}",
        (SECRETS, secret),
    ).validation_context
    assert found.trusted_ca == DataSource(filename="/ca.pem")
    assert found.match_typed_subject_alt_names == (SanMatcher(san_type="DNS", matcher=StringMatcher("exact", "a")),)


def test_certificates_from_an_sds_file(tmp_path: Path) -> None:
    file = tmp_path / "sds.yaml"
    file.write_text(
        f"resources:\n- {TYPE}.Secret\n  name: server\n  tls_certificate:\n"
        "    certificate_chain: {filename: /c.pem}\n    private_key: {filename: /k.pem}\n"
    )
    source = f"{{path_config_source: {{path: {file}}}, resource_api_version: V3}}"
    common = f", common_tls_context: {{tls_certificate_sds_secret_configs: [{{name: server, sds_config: {source}}}]}}"
    text = spoilt(downstream(common)).encode()

    def read(path: str) -> bytes:
        return b"PEM" if path.endswith(".pem") else Path(path).read_bytes()

    config, found = load([("f", text)], read=read)
    assert config is not None, found
    assert config.listeners[0].tls == DownstreamTlsContext(
        tls_certificates=(
            TlsCertificate(certificate_chain=DataSource(filename="/c.pem"), private_key=DataSource(filename="/k.pem")),
        )
    )
    file.write_text(file.read_text().replace("private_key: {filename: /k.pem}", "pkcs12: {filename: /k.p12}"))
    config, found = load([("f", text)], read=read)
    assert config is None
    assert {item.file for item in found} == {str(file)}


def test_files_that_are_not_there_are_told_where_they_are_named() -> None:
    def read(path: str) -> bytes:
        raise FileNotFoundError(2, "No such file or directory")

    names = "certificate_chain: {filename: /c.pem}, private_key: {filename: /k.pem}, password: {filename: /p}"
    common = f"tls_certificates: [{{{names}}}], validation_context: {{trusted_ca: {{filename: /ca.pem}}}}"
    text = spoilt((SNI, f"{SNI}        common_tls_context: {{{common}}}\n")).encode()
    config, found = load([("f", text)], read=read)
    assert config is None
    assert [item.message.partition(":")[0] for item in found] == [
        f"can't read {path}" for path in ("/c.pem", "/k.pem", "/p", "/ca.pem")
    ]
    assert all(item.line > 1 and item.path.endswith(".filename") and item.mend for item in found)
    assert load([("f", text)])[0] is not None


@pytest.mark.parametrize(
    ("replacement", "message"),
    [
        (downstream(""), "a listener with TLS needs a certificate"),
        ((SNI, f"{SNI}        common_tls_context: {{alpn_protocols: [h2]}}\n"), "add http/1.1"),
        ((SNI, f"{SNI}        allow_renegotiation: true\n"), "allow_renegotiation: valid in Envoy"),
        ((SNI, f"{SNI}        common_tls_context: {{tls_params: {{cipher_suites: [FOO]}}}}\n"), "no such cipher suite"),
        ((SNI, f"{SNI}        common_tls_context: {{validation_context_sds_secret_config: {{name: x}}}}\n"),
         "no validation_context is called 'x'"),
        (("UpstreamTlsContext", "QuicUpstreamTransport"), "no such type"),
    ],
)  # fmt: skip
def test_what_is_refused(replacement: tuple[str, str], message: str) -> None:
    assert message in error(replacement)
