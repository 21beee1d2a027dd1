"""Which pod is meant, as people write it."""

from __future__ import annotations

import pytest

from ostiary.net.admin_client import Pod


@pytest.mark.parametrize(("text", "namespace", "name"), [
    ("shop/httpbin-1", "shop", "httpbin-1"),
    ("httpbin-1", "", "httpbin-1"),
    ("shop/deploy/httpbin", "shop", "deploy/httpbin"),
    ("deploy/httpbin", "", "deploy/httpbin"),
    ("statefulset.apps/keycloak", "", "statefulset.apps/keycloak"),
    ("pod/httpbin-1", "", "pod/httpbin-1"),
    ("deploy/pod/httpbin-1", "deploy", "pod/httpbin-1"),
])  # fmt: skip
def test_a_pod(text: str, namespace: str, name: str) -> None:
    pod = Pod.parse(text)
    assert (pod.namespace, pod.name) == (namespace, name)
    assert pod.kubectl("exec")[-3:] == [name, "-c", "istio-proxy"]


@pytest.mark.parametrize("text", ["", "/", "a/", "/a", "-n/a", "a/-x", "--all"])
def test_no_pod(text: str) -> None:
    with pytest.raises(ValueError, match="names no pod"):
        Pod.parse(text)
