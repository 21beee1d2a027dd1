from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
import trustme

import ostiary
from net.dns_server import DnsServer, Reply, dual
from net.loops import Run
from net.peers_on_loopback import Peers
from ostiary.net import stream
from ostiary.net.connector import Connector
from ostiary.net.resolv_conf import SystemFiles
from ostiary.net.resolver import Resolver


def test_connect_gives_a_stream_and_its_trace(run: Run) -> None:
    async def main() -> None:
        async with Peers("greets", "greets") as peers:
            async with await ostiary.connect(f"127.0.0.1:{peers.port}") as connection:
                assert await connection.reader.readexactly(2) == b"v4"
                assert connection.trace.ok
                assert connection.trace.tls is None
            async with await ostiary.connect(f"http://[::1]:{peers.port}/path") as connection:
                assert await connection.reader.readexactly(2) == b"v6"

    run(main())


def test_https_means_verified_tls(run: Run) -> None:
    ca = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(server)
    trusting = ssl.create_default_context()
    ca.configure_trust(trusting)

    async def main() -> None:
        async with Peers("greets", "greets", tls={"v6": server, "v4": server}) as peers:
            with pytest.raises(ostiary.ConnectError, match="certificate is not trusted"):
                await ostiary.connect(f"https://127.0.0.1:{peers.port}")
            async with await ostiary.connect(f"https://127.0.0.1:{peers.port}", ssl=trusting) as connection:
                assert await connection.reader.readexactly(2) == b"v4"
                assert connection.trace.tls is not None
                assert connection.trace.tls.sni is None, "an address is verified, but never sent as a name"

    run(main())


def test_a_failure_is_an_oserror_with_its_trace(run: Run) -> None:
    async def main() -> None:
        async with Peers("refuses", "refuses") as peers:
            with pytest.raises(OSError, match="nothing listens on that port") as caught:
                await ostiary.connect(f"localhost:{peers.port}", timeout=2)
            assert isinstance(caught.value, ostiary.ConnectError)
            assert [a.outcome for a in caught.value.trace.attempts] == ["failed"] * len(caught.value.trace.attempts)

    run(main())


def test_a_black_hole_ends_in_time(run: Run) -> None:
    async def main() -> None:
        async with Peers("black_hole", "black_hole") as peers:
            with pytest.raises(TimeoutError, match="did not answer"):
                await ostiary.connect(f"127.0.0.1:{peers.port}", timeout=0.1)

    run(main())


def test_a_target_that_can_not_be_read_is_refused(run: Run) -> None:
    with pytest.raises(ValueError, match="no port"):
        run(ostiary.connect("nowhere"))


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, ostiary; print(sorted({'asyncio', 'ssl', 'dns', 'cryptography'} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_what_the_package_offers_is_there() -> None:
    for name in ostiary.__all__:
        assert getattr(ostiary, name) is not None
    assert set(ostiary.__all__) <= set(dir(ostiary))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ostiary.nothing
    assert asyncio.iscoroutinefunction(ostiary.connect)


def test_a_url_of_https_asks_for_https_records_and_comes_from_the_given_address(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("dual.test").configure_cert(server)
    trusting = ssl.create_default_context()
    ca.configure_trust(trusting)

    async def main() -> None:
        async with Peers("greets", "greets", tls={"v6": server, "v4": server}) as peers:
            records = {**dual(), ("dual.test.", "HTTPS"): Reply((f"1 . port={peers.port}",))}
            async with DnsServer(records) as dns:
                monkeypatch.setattr("ostiary.net.resolv_conf.DNS_PORT", dns.port)
                (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\n")
                files = SystemFiles(tmp_path / "resolv.conf", tmp_path / "hosts")
                stream._connectors[asyncio.get_running_loop()] = Connector(Resolver(files), linger=0.0)
                async with await ostiary.connect("https://dual.test", ssl=trusting, local_addr="127.0.0.9") as found:
                    assert await found.reader.readexactly(2) == b"v4"
                    assert found.trace.dns[0].type == "HTTPS"
                    assert peers.sources == ["127.0.0.9"]
                dns.asked.clear()
                with pytest.raises(ostiary.ConnectError):
                    await ostiary.connect("https://dual.test:1", ssl=trusting, https_records=False)
                assert {kind for _, kind in dns.asked} <= {"A", "AAAA"}
                with pytest.raises(ValueError, match="nonsense"):
                    await ostiary.connect("https://dual.test", local_addr="nonsense")

    run(main())
