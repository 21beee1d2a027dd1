"""What is said of a new configuration, and how it gets to the workers."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from msgspec.structs import replace

from app.harness import proxy
from envoy_example import good
from ostiary.app.changes import changes, needs_restart
from ostiary.app.handover import pack, unpack
from ostiary.app.reload import Watch
from ostiary.dialects import native
from ostiary.model.config import Address, Config
from ostiary.model.process import Process
from ostiary.model.secret import Secret
from ostiary.model.tls import DataSource, DownstreamTlsContext, TlsCertificate

NATIVE = b"""
upstream: http://127.0.0.1:8080
provider: {issuer: https://login.example.com, client_id: app, client_secret: hidden-client-secret}
secret: 0123456789abcdef0123456789abcdef
access: [{paths: /admin, groups: [a, b], claims: {x.y: [1]}}, {emails: a@b.example}]
"""


def of_native() -> Config:
    config, _ = native.load([("ostiary.yaml", NATIVE)], flags={}, env={})
    assert config is not None
    return config


@pytest.mark.parametrize("config", [of_native(), good(), proxy(80)], ids=["native", "envoy", "model"])
def test_a_configuration_comes_over_whole_with_its_secrets(config: Config) -> None:
    process = Process(workers=3, component_log_level={"dns": "debug"})
    assert unpack(pack(config, process, [("a", 2)], 1)) == (config, process, [("a", 2)], 1)


def test_a_secret_gets_nowhere_else_by_accident() -> None:
    with pytest.raises(TypeError, match="can't be pickled"):
        pickle.dumps(of_native())


def test_changes_are_named_without_showing_a_secret() -> None:
    before = proxy(80)
    certificate = DataSource(filename="/etc/tls.crt")
    key = DataSource(inline=Secret("hidden"))
    tls = DownstreamTlsContext(tls_certificates=(TlsCertificate(certificate_chain=certificate, private_key=key),))
    listener = replace(before.listeners[0], tls=tls)
    other = replace(before.clusters[0], name="other")
    after = replace(before, listeners=(listener,), clusters=(other,))
    said = "listener main changed; cluster other added; cluster app removed; secrets /etc/tls.crt, listeners.main.tls"
    assert changes(before, after) == f"{said}.tls_certificates.private_key added"
    assert changes(before, before) == "nothing changed"
    assert "hidden" not in changes(of_native(), before) + changes(before, of_native())


def test_what_needs_a_restart() -> None:
    before = proxy(80)
    listener = before.listeners[0]
    after = replace(before, admin=Address(host="::1", port=1), listeners=(replace(listener, reuse_port=True),))
    [said] = needs_restart(before, after)
    assert said.startswith("how 127.0.0.1:0 is bound has changed too; that needs a restart: ")
    assert needs_restart(before, replace(before, admin=Address(host="::1", port=1))) == []


def test_a_file_has_changed_when_it_stays_so(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("1")
    watch = Watch([str(file)])
    assert not watch.changed()
    file.write_text("22")
    assert not watch.changed(), "it may be written still"
    file.write_text("333")
    assert not watch.changed()
    assert watch.changed()
    assert not watch.changed(), "once"
    file.unlink()
    assert not watch.changed() and not watch.changed(), "gone, perhaps to come back"
    file.write_text("4444")
    assert not watch.changed()
    watch.note()
    assert not watch.changed(), "read for another reason meanwhile"
