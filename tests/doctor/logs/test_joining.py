"""Which failure belongs to whom: the provider's call among the application's, other threads', and other pods'."""

from __future__ import annotations

from doctor.logs.reading import told

DISPATCH = "Dispatching OAuth request for access token."
XDS = "cluster 'xds-grpc' match for URL '/envoy.service.discovery.v3.AggregatedDiscoveryService/Delta'"
REFUSED = "delayed connect error: Connection refused"
RESET = f"upstream reset: reset reason: remote connection failure, transport failure reason: {REFUSED}"


def istio(logger: str, message: str, *, at: str, thread: int = 23, c: str = "", s: str = "") -> str:
    """A line in Istio's format; `c` and `s` are the ids of its connection and stream."""
    tags = ",".join(f'"{name}":"{value}"' for name, value in (("ConnectionId", c), ("StreamId", s)) if value)
    said = f"[Tags: {tags}] {message}" if tags else message
    return f"2024-10-04T13:37:{at}Z\tdebug\tenvoy {logger} a/b.cc:1\t{said}\tthread={thread}\n"


def token_call(thread: int, first: int, *, at: str, cluster: str = "oauth", address: str = "10.1.2.3:443") -> str:
    """A request's token call, up to its connection `first + 1`."""
    user, stream = str(first), str(first * 1000)
    return (
        istio("oauth2", DISPATCH, at=at, thread=thread, c=user, s="1")
        + istio("router", f"cluster '{cluster}' match for URL '/token'", at=at, thread=thread, c="0", s=stream)
        + istio("connection", f"connecting to {address}", at=at, thread=thread, c=str(first + 1))
    )


def application_call(thread: int, first: int, *, at: str, address: str = "127.0.0.1:8080") -> str:
    """A request to the application, up to its connection `first + 1`."""
    return istio(
        "router", "cluster 'inbound|8080||' match for URL '/x'", at=at, thread=thread, c=str(first),
        s=str(first * 1000),
    ) + istio("connection", f"connecting to {address}", at=at, thread=thread, c=str(first + 1))  # fmt: skip


def refused(thread: int, connection: int, *, at: str) -> str:
    """A connection's end."""
    return istio("connection", REFUSED, at=at, thread=thread, c=str(connection))


def test_the_application_that_refuses_is_not_the_provider() -> None:
    log = (
        token_call(23, 100, at="05.000100")
        + application_call(23, 200, at="05.000200")
        + refused(23, 201, at="05.000900")
        + istio("connection", "connected", at="05.001000", c="101")
    )
    assert told(log) == {"Attempted 10.1.2.3 443 v4 connected tcp oauth"}


def test_the_provider_that_refuses_among_calls_of_the_application() -> None:
    log = (
        application_call(23, 200, at="05.000050")
        + token_call(23, 100, at="05.000100")
        + application_call(23, 300, at="05.000200")
        + istio("connection", "connected", at="05.000300", c="201")
        + refused(23, 101, at="05.000900")
        + istio("connection", "connected", at="05.001000", c="301")
    )
    assert told(log) == {"Attempted 10.1.2.3 443 v4 failed tcp ECONNREFUSED oauth"}


def test_threads_do_not_share_their_calls() -> None:
    log = (
        istio(
            "oauth2",
            DISPATCH,
            at="05.000100",
            thread=23,
            c="1",
            s="1",
        )
        + istio("router", "cluster 'jwks' match for URL '/keys'", at="05.000110", thread=24, c="0", s="9")
        + istio("router", "cluster 'oauth' match for URL '/token'", at="05.000120", thread=23, c="0", s="8")
        + istio("connection", "connecting to 10.9.9.9:443", at="05.000130", thread=24, c="5")
        + istio("connection", "connecting to 10.1.2.3:443", at="05.000140", thread=23, c="6")
        + refused(24, 5, at="05.000900")
        + refused(23, 6, at="05.000910")
    )
    assert told(log) == {
        "Attempted 10.9.9.9 443 v4 failed tcp ECONNREFUSED jwks",
        "Attempted 10.1.2.3 443 v4 failed tcp ECONNREFUSED oauth",
    }


def test_pods_do_not_share_their_ids() -> None:
    def of(pod: str, text: str) -> list[str]:
        return [f"[pod/{pod}/istio-proxy] {line}\n" for line in text.splitlines()]

    one = of("a-1", token_call(23, 100, at="05.000100", address="10.1.2.3:443") + refused(23, 101, at="05.100000"))
    two = of("b-2", token_call(23, 100, at="05.000100", cluster="auth0", address="[2001:db8::1]:443"))
    two += of("b-2", istio("connection", "immediate connect error: Network is unreachable", at="05.000200", c="101"))
    mixed = "".join(line for pair in zip(one, two, strict=True) for line in pair)
    assert told(mixed) == {
        "Attempted 10.1.2.3 443 v4 failed tcp ECONNREFUSED oauth",
        "Attempted 2001:db8::1 443 v6 failed route ENETUNREACH auth0",
    }


def test_a_connection_that_ends_far_behind_its_call_is_still_its_own() -> None:
    between = "".join(application_call(23, 1000 + 2 * number, at="06.000000") for number in range(3000))
    assert len(between) > 500_000
    log = token_call(23, 100, at="05.000100") + between + istio("pool", "connect timeout", at="15.000100", c="101")
    assert told(log) == {"Attempted 10.1.2.3 443 v4 timeout tcp oauth"}


def test_tls_that_never_ends_is_a_handshake_that_is_silent() -> None:
    log = (
        token_call(23, 100, at="05.000100")
        + istio("connection", "connected", at="05.010000", c="101")
        + istio("pool", "connect timeout", at="15.000100", c="101")
    )
    assert told(log) == {
        "Attempted 10.1.2.3 443 v4 connected tcp oauth",
        "HandshakeFailed oauth silent envoy",
    }


def test_the_control_plane_is_no_provider() -> None:
    log = (
        istio("router", XDS, at="05.000100", c="0", s="7")
        + istio("connection", "connecting to 10.96.0.9:15012", at="05.000200", c="8")
        + refused(23, 8, at="05.000900")
        + istio("router", RESET, at="05.001000", c="0", s="7")
    )
    assert told(log) == set()


def test_a_race_is_the_call_s_and_its_later_attempts_too() -> None:
    log = (
        istio("oauth2", DISPATCH, at="05.000100", c="1", s="1")
        + istio("router", "cluster 'oauth' match for URL '/token'", at="05.000110", c="0", s="8")
        + istio("multi_connection", "[C47] connections=2", at="05.000120")
        + istio("happy_eyeballs", "C[47] address=[2001:db8::1]:443", at="05.000130")
        + istio("connection", "connecting to [2001:db8::1]:443", at="05.000140", c="48")
        + application_call(23, 200, at="05.100000")
        + istio("happy_eyeballs", "C[47] address=10.1.2.3:443", at="05.300000")
        + istio("connection", "connecting to 10.1.2.3:443", at="05.300100", c="49")
        + refused(23, 49, at="05.310000")
        + istio("pool", "connect timeout", at="15.000100", c="47")
    )
    assert told(log) == {
        "Attempted 10.1.2.3 443 v4 failed tcp ECONNREFUSED oauth",
        "Attempted 2001:db8::1 443 v6 timeout tcp oauth",
    }


def test_without_the_router_s_lines_an_error_may_be_the_provider_s() -> None:
    log = istio("connection", "connecting to 10.1.2.3:443", at="05.000140", c="48")
    assert told(log + refused(23, 48, at="05.000900")) == {"Attempted 10.1.2.3 443 v4 failed tcp ECONNREFUSED"}


def test_names_of_others_do_not_matter_once_the_token_call_had_an_address() -> None:
    name = 'dns resolution for other.test failed with c-ares status 0x0004: "Domain name not found"'
    alone = istio("dns", name, at="05.000050", thread=15)
    assert told(alone) == {"ResolutionFailed other.test not-found envoy"}
    assert told(alone + token_call(23, 100, at="05.000100") + refused(23, 101, at="05.2")) == {
        "Attempted 10.1.2.3 443 v4 failed tcp ECONNREFUSED oauth"
    }
