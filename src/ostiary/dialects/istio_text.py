"""Kubernetes objects that make Istio's proxies sign users in: `EnvoyFilter`, `Secret`, and what verifies tokens.

Facts of Istio that decide how they look:

- The filter goes in with INSERT_FIRST. INSERT_BEFORE `envoy.filters.http.jwt_authn` does nothing, without a word, where
  no RequestAuthentication brought that filter along, and the application is open to everybody.
- A cluster is added with a context of its own, and MERGE never reaches it: what it needs is written into it at once.
- istiod sets the lookup family, the CA and the name to verify on its own clusters, never on one that was added.
- A workload's `EnvoyFilter` may do nothing for other reasons (labels, port, an older proxy): the AuthorizationPolicy
  denies what has no verified token, so that nothing is open then. It is a DENY: it holds beside every other policy.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from ostiary.dialects.envoy_text_cluster import cluster as cluster_tree
from ostiary.dialects.envoy_text_oauth2 import oauth2_filter
from ostiary.dialects.envoy_text_values import PLACEHOLDER, Secrets
from ostiary.dialects.yaml_text import Block, Noted, dump
from ostiary.model.clusters import Cluster, DnsLookupFamily
from ostiary.model.oauth2 import OAuth2Config, SdsSecret
from ostiary.model.secret import Secret

ProxyKind = Literal["sidecar", "gateway"]
_Tree = dict[str, Any]
_FILTER: Final = "envoy.filters.http.oauth2"
_MANAGER: Final = "envoy.filters.network.http_connection_manager"
_SECRET_TYPE: Final = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
_FILES: Final = {"token": "token-secret.yaml", "hmac": "hmac-secret.yaml"}
_FAMILIES: Final[Mapping[DnsLookupFamily, str]] = {
    "ALL": "Both families, raced: right wherever the pod has one of them. Without this line Envoy takes IPv6 alone\n"
    "where DNS has some, and a pod without IPv6 can't connect (Network is unreachable).",
    "V4_ONLY": "IPv4 alone: right where the pods' network has no IPv6 and will not get it.",
    "V6_ONLY": "IPv6 alone: right where the pods' network has no IPv4.",
    "V4_PREFERRED": "IPv6 is only used where DNS has no IPv4 address at all, even if IPv4 can't be reached.",
    "AUTO": "IPv6 alone where DNS has some, even if the pod has no IPv6: ALL is right wherever it is.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Where the objects go, and what they hold for."""

    name: str
    """Of every object, and of the directory that the proxy sees the secrets in."""
    namespace: str
    labels: Mapping[str, str]
    kind: ProxyKind = "sidecar"
    port: int = 0
    """The one port that is meant; 0: all that speak HTTP."""

    @property
    def directory(self) -> str:
        """Where the proxy finds the secrets."""
        return f"/etc/istio/{self.name}"

    def secret(self, name: str) -> SdsSecret:
        """`token` or `hmac`, as a file that is read again when Kubernetes changes the Secret."""
        return SdsSecret(name=name, path=f"{self.directory}/{_FILES[name]}", watched_directory=self.directory)

    def metadata(self) -> _Tree:
        """ObjectMeta of every object."""
        return {"name": self.name, "namespace": self.namespace}


def envoy_filter(
    workload: Workload, config: OAuth2Config, clusters: tuple[Cluster, ...], secrets: Secrets | None = None
) -> _Tree:
    """networking.istio.io/v1alpha3 EnvoyFilter: the clusters, and the OAuth2 filter before all others."""
    secrets = secrets or Secrets()
    sidecar = workload.kind == "sidecar"
    listener: _Tree = {"filterChain": {"filter": {"name": _MANAGER}}}
    if workload.port:
        listener = {"portNumber": workload.port} | listener
    added = [
        {
            "applyTo": "CLUSTER",
            "match": {"context": "SIDECAR_OUTBOUND" if sidecar else "GATEWAY"},
            "patch": {"operation": "ADD", "value": _noted_cluster(cluster_tree(each, secrets), each)},
        }
        for each in clusters
    ]
    chain = {
        "applyTo": "HTTP_FILTER",
        "match": {"context": "SIDECAR_INBOUND" if sidecar else "GATEWAY", "listener": listener},
        "patch": {
            "operation": Noted(
                "INSERT_FIRST",
                "Before jwt_authn, so that it sees the token. Not INSERT_BEFORE it: without a RequestAuthentication\n"
                "there is no jwt_authn, the patch would do nothing, and the application would be open to everybody.",
            ),
            "value": {"name": _FILTER, "typed_config": _noted_filter(oauth2_filter(config, secrets))},
        },
    }
    return {
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        "metadata": workload.metadata(),
        "spec": {
            "workloadSelector": {"labels": dict(workload.labels)},
            "configPatches": [*added, chain],
        },
    }


def _noted_cluster(tree: _Tree, model: Cluster) -> _Tree:
    tree = dict(tree)
    if model.dns_lookup_family is not None:
        tree["dns_lookup_family"] = Noted(tree["dns_lookup_family"], _FAMILIES[model.dns_lookup_family])
    if model.transport_socket is not None:
        tree["transport_socket"] = Noted(
            tree["transport_socket"],
            "CA and name are written out: without them an added cluster believes every certificate.",
        )
    return tree


_FILTER_NOTES: Final = {
    "redirect_uri": "Register exactly this at the provider.",
    "retry_policy": "Envoy 1.39 tries again after any 5xx, whatever retry_on says.",
    "end_session_endpoint": "Signing out ends the session at the provider, too.",
    "pass_through_matcher": "No sign-in for these; paths are compared as they came, so nothing encoded gets by.",
    "deny_redirect_matcher": "Programs get 401: they can't follow a redirect to a sign-in page.",
    "auth_scopes": "Envoy's own default is `user`, without an ID token.",
    "cookie_configs": "Strict cookies would not come back with the redirect from the provider.",
    "default_expires_in": "Where the provider doesn't say; Envoy would refuse the sign-in.",
}


def _noted_filter(tree: _Tree) -> _Tree:
    config = tree["config"]
    noted = {key: Noted(value, _FILTER_NOTES[key]) if key in _FILTER_NOTES else value for key, value in config.items()}
    return tree | {"config": noted}


def secret_object(workload: Workload, token: Secret | None, hmac: Secret | None) -> Noted:
    """The v1 Secret that is mounted: two files in SDS form. None is a placeholder.

    An HMAC secret that everybody knows would let everybody in, so its placeholder is the empty text, with which Envoy
    answers 503.
    """
    token_text = token.text() if token is not None else PLACEHOLDER
    hmac_text = hmac.text() if hmac is not None else ""
    note = (
        "" if hmac is not None else f"{PLACEHOLDER}: openssl rand -base64 32. Empty, Envoy answers 503 to everything."
    )
    document = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": workload.metadata(),
        "type": "Opaque",
        "stringData": {
            _FILES["token"]: Block(dump([_sds("token", token_text, "")])),
            _FILES["hmac"]: Block(dump([_sds("hmac", hmac_text, note)])),
        },
    }
    missing = [what for what, value in (("client secret", token), ("HMAC secret", hmac)) if value is None]
    todo = f" Replace {PLACEHOLDER}: the {' and the '.join(missing)}." if missing else ""
    coded = " The client secret is encoded as far as Envoy doesn't do that." if token is not None else ""
    return Noted(document, f"Read by the proxy from {workload.directory}, again whenever it changes.{coded}{todo}")


def _sds(name: str, value: str, note: str) -> _Tree:
    inner: Any = Noted(value, note) if note else value
    return {
        "resources": [{"@type": _SECRET_TYPE, "name": name, "generic_secret": {"secret": {"inline_string": inner}}}]
    }


def request_authentication(
    workload: Workload, *, issuer: str, jwks_uri: str, audiences: tuple[str, ...], cookie: str
) -> _Tree:
    """security.istio.io/v1 RequestAuthentication; `cookie` holds the token, empty: the Authorization header does."""
    rule: _Tree = {"issuer": issuer, "jwksUri": Noted(jwks_uri, "Fetched by istiod, from its own pod.")}
    if audiences:
        rule["audiences"] = list(audiences)
    if cookie:
        rule["fromCookies"] = Noted(
            [cookie], "The ID token, which the OAuth2 filter hands on in plain text; access tokens need not be JWTs."
        )
    rule["forwardOriginalToken"] = True
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "RequestAuthentication",
        "metadata": workload.metadata(),
        "spec": {"selector": {"matchLabels": dict(workload.labels)}, "jwtRules": [rule]},
    }


def authorization_policy(
    workload: Workload, *, paths: tuple[str, ...], preflight: bool, claims: Mapping[str, tuple[str, ...]]
) -> Noted:
    """security.istio.io/v1 AuthorizationPolicy: nothing without a verified token that has `claims`.

    `paths` and preflights, where they need no sign-in, need no token either.
    """
    operation: _Tree = {}
    if paths:
        operation["notPaths"] = list(paths)
    if preflight:
        operation["notMethods"] = ["OPTIONS"]
    if workload.port:
        operation["ports"] = [str(workload.port)]
    conditions: list[_Tree] = [{"from": [{"source": {"notRequestPrincipals": ["*"]}}]}]
    for claim, values in claims.items():
        conditions.append({"when": [{"key": f"request.auth.claims[{claim}]", "notValues": list(values)}]})
    where = {"to": [{"operation": operation}]} if operation else {}
    rules = [condition | where for condition in conditions]
    document = {
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": workload.metadata(),
        "spec": {"selector": {"matchLabels": dict(workload.labels)}, "action": "DENY", "rules": rules},
    }
    return Noted(
        document,
        "Denies what has no verified token, so that nothing is open should the EnvoyFilter reach no proxy.\n"
        "Other services of the mesh need a token, too; ports that don't speak HTTP are closed (--port names one).",
    )


def mount_patch(workload: Workload) -> _Tree:
    """What a Deployment needs so that its proxy sees the Secret: annotations for the injector, or the volume itself."""
    name, directory = workload.name, workload.directory
    secret = {"secret": {"secretName": name}}
    if workload.kind == "sidecar":
        mount = {name: {"mountPath": directory, "readOnly": True}}
        annotations = {
            "sidecar.istio.io/userVolume": json.dumps({name: secret}),
            "sidecar.istio.io/userVolumeMount": json.dumps(mount),
        }
        return {"spec": {"template": {"metadata": {"annotations": annotations}}}}
    mounts = [{"name": name, "mountPath": directory, "readOnly": True}]
    container = {"name": "istio-proxy", "volumeMounts": mounts}
    return {"spec": {"template": {"spec": {"volumes": [{"name": name, **secret}], "containers": [container]}}}}


def mount_command(workload: Workload, deployment: str) -> str:
    """The command that applies `mount_patch`."""
    patch = json.dumps(mount_patch(workload))
    return f"kubectl -n {workload.namespace} patch deployment {deployment} --patch '{patch}'"
