"""What varies in a statistic's name: found whole, the longest name first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.stat_tags import TagExtractor

NAMES = st.text("ab.", max_size=6)


def test_names_with_dots_stay_whole() -> None:
    extractor = TagExtractor(["app", "app.v2", "http_//idp.test_80"], ["door"], ["127.0.0.1_80"])
    cluster, prefix = "envoy.cluster_name", "envoy.http_conn_manager_prefix"
    for name, found in (
        ("cluster.app.upstream_rq_200", ("cluster.upstream_rq", (("envoy.response_code", "200"), (cluster, "app")))),
        ("cluster.app.v2.membership_total", ("cluster.membership_total", ((cluster, "app.v2"),))),
        (
            "cluster.http_//idp.test_80.upstream_cx_total",
            ("cluster.upstream_cx_total", ((cluster, "http_//idp.test_80"),)),
        ),
        (
            "listener.127.0.0.1_80.http.door.downstream_rq_2xx",
            (
                "listener.http.downstream_rq_xx",
                (("envoy.response_code_class", "2"), (prefix, "door"), ("envoy.listener_address", "127.0.0.1_80")),
            ),
        ),
        ("cluster.unknown.upstream_cx_total", ("cluster.unknown.upstream_cx_total", ())),
        (
            "listener.127.0.0.1_80.ssl.versions.TLSv1.3",
            ("listener.ssl.versions", (("envoy.ssl_version", "TLSv1.3"), ("envoy.listener_address", "127.0.0.1_80"))),
        ),
        ("cluster.app.ssl.ciphers.A-B", ("cluster.ssl.ciphers", (("cipher_suite", "A-B"), (cluster, "app")))),
        ("server.live", ("server.live", ())),
    ):
        assert extractor.extract(name) == found


@given(st.sets(NAMES, max_size=5), NAMES)
def test_of_several_names_that_fit_it_is_the_longest(clusters: set[str], rest: str) -> None:
    name = f"cluster.{rest}"
    fits = [each for each in clusters if name.startswith(f"cluster.{each}.")]
    found, tags = TagExtractor(clusters, ()).extract(name)
    if not fits:
        assert (found, tags) == (name, ())
    else:
        longest = max(fits, key=len)
        assert (found, tags) == (f"cluster.{rest[len(longest) + 1 :]}", (("envoy.cluster_name", longest),))
