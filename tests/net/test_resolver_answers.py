"""What a resolver makes of answers: negative ones, HTTPS records, servers without EDNS, expired ones."""

from __future__ import annotations

import dns.message
import dns.rrset
import pytest

from net.dns_server import DnsServer, Reply, dual
from net.loops import Run
from net.resolver_world import answer_of
from ostiary.net.dns_exchange import Answer
from ostiary.net.resolver import Resolver


def _negative(rcode: str, soa: int | None) -> dict[tuple[str, str], Reply]:
    return {("x.test.", "A"): Reply(rcode=rcode, soa=soa), ("x.test.", "HTTPS"): Reply(soa=soa)}


@pytest.mark.parametrize("rcode", ["NOERROR", "NXDOMAIN"])
@pytest.mark.parametrize(("soa", "asked"), [(60, 1), (0, 2), (None, 1)])
def test_an_answer_without_records_holds_as_long_as_its_soa_says_or_for_a_moment(
    run: Run, rcode: str, soa: int | None, asked: int
) -> None:
    async def main() -> None:
        async with DnsServer(_negative(rcode, soa)) as server:
            resolver = Resolver()
            for _ in range(2):
                await answer_of(resolver.lookup("x.test.", "A", servers=[server.address]))
            assert len(server.asked) == asked

    run(main())


def test_that_there_is_no_https_record_is_believed_longer(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ostiary.model.limits.DNS_NEGATIVE_TTL_MAX", 0)

    async def main() -> None:
        async with DnsServer(_negative("NOERROR", 60)) as server:
            resolver = Resolver()
            for record_type in ("A", "HTTPS", "A", "HTTPS"):
                await answer_of(resolver.lookup("x.test.", record_type, servers=[server.address]))  # type: ignore[arg-type]
            assert [t for _, t in server.asked] == ["A", "HTTPS", "A"]

    run(main())


def test_https_records_as_they_come(run: Run) -> None:
    texts = (
        "1 . alpn=h2,h3 ipv4hint=192.0.2.1 ipv6hint=2001:db8::1",
        "2 svc.test. no-default-alpn alpn=h2 port=8443 ech=AAb+DQACAAA=",
        "0 Alias.Test.",
        "3 . mandatory=key667 key667=x",
        "4 . mandatory=ech ech=AAb+DQACAAA=",
    )

    async def main() -> None:
        async with DnsServer({("x.test.", "HTTPS"): Reply(texts)}) as server:
            lookup = Resolver().lookup("x.test", "HTTPS", servers=[server.address], search=False)
            found = {record.priority: record for record in (await answer_of(lookup)).services}
            assert found[1].hints == ("2001:db8::1", "192.0.2.1")
            assert (found[1].target, found[1].protocols) == ("", {"h2", "h3", "http/1.1"})
            assert (found[2].target, found[2].port, found[2].protocols, found[2].ech) == (
                "svc.test.", 8443, {"h2"}, True,
            )  # fmt: skip
            assert found[0].target == "alias.test."
            assert [found[n].mandatory_known for n in (1, 2, 3, 4)] == [True, True, False, False]
            assert "1 . alpn=h2,h3 ipv4hint=192.0.2.1 ipv6hint=2001:db8::1" in lookup.queries[0].answers

    run(main())


def test_an_https_record_that_is_broken_is_a_failed_lookup(run: Run) -> None:
    def broken(query: dns.message.Message) -> bytes:
        response = dns.message.make_response(query)
        name = query.question[0].name.to_text()
        response.answer.append(dns.rrset.from_text(name, 30, "IN", "HTTPS", "1 . port=8443"))
        return response.to_wire().replace(b"\x00\x03\x00\x02", b"\x00\x03\x00\x01")

    async def main() -> None:
        async with DnsServer({("x.test.", "HTTPS"): Reply(forge=broken)}) as server:
            lookup = Resolver().lookup("x.test", "HTTPS", servers=[server.address], search=False)
            assert (await answer_of(lookup)).outcome == "failed"
            assert "malformed" in lookup.queries[0].message

    run(main())


def test_d10_a_server_that_does_not_know_edns_is_asked_again_without(run: Run) -> None:
    async def main() -> None:
        async with DnsServer(dual(v4=Reply(("127.0.0.1",), knows_edns=False))) as server:
            lookup = Resolver().lookup("dual.test", "A", servers=[server.address], search=False)
            assert (await answer_of(lookup)).addresses == ("127.0.0.1",)
            assert len(server.asked) == 2

    run(main())


def test_d15_a_cname_without_an_address_is_an_empty_answer(run: Run) -> None:
    async def main() -> None:
        async with DnsServer({("x.test.", "A"): Reply(cname="y.test.")}) as server:
            lookup = Resolver().lookup("x.test", "A", servers=[server.address], search=False)
            assert (await answer_of(lookup)).outcome == "empty"

    run(main())


def test_d24_an_ipv4_address_in_an_ipv6_record_is_one_of_ipv4(run: Run) -> None:
    async def main() -> None:
        async with DnsServer(dual(v6=Reply(("::ffff:127.0.0.1", "::1")))) as server:
            lookup = Resolver().lookup("dual.test", "AAAA", servers=[server.address], search=False)
            assert set((await answer_of(lookup)).addresses) == {"127.0.0.1", "::1"}

    run(main())


def test_d27_a_slow_server_is_bridged_by_what_has_expired_and_its_answer_follows(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ostiary.model.limits.DNS_STALE_AFTER", 0.01)

    async def main() -> None:
        async with DnsServer(dual(v4=Reply(("127.0.0.1",), ttl=0))) as server:
            resolver = Resolver()
            await answer_of(resolver.lookup("dual.test", "A", servers=[server.address]))
            server.records[("dual.test.", "A")] = Reply(("127.0.0.2",), delay=0.1)
            lookup = resolver.lookup("dual.test", "A", servers=[server.address])
            assert await answer_of(lookup) == Answer("answered", ("127.0.0.1",), stale=True)
            assert await answer_of(lookup, fresh=True) == Answer("answered", ("127.0.0.2",))

    run(main())
