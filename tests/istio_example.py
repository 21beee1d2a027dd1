"""The EnvoyFilter that tests spoil: a cluster and a sign-in filter, as people write them."""

from __future__ import annotations

CLUSTER = """\
  - applyTo: CLUSTER
    match: {cluster: {service: oauth}}
    patch:
      operation: ADD
      value:
        name: oauth
        type: LOGICAL_DNS
        connect_timeout: 10s
        load_assignment:
          cluster_name: oauth
          endpoints:
          - lb_endpoints:
            - endpoint: {address: {socket_address: {address: login.example, port_value: 443}}}
"""
FILTER = """\
  - applyTo: HTTP_FILTER
    match:
      context: SIDECAR_INBOUND
      listener:
        filterChain: {filter: {name: envoy.filters.network.http_connection_manager, subFilter: {name: ANCHOR}}}
    patch:
      operation: INSERT_BEFORE
      value:
        name: envoy.filters.http.oauth2
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.http.oauth2.v3.OAuth2
          config:
            token_endpoint: {cluster: oauth, uri: 'https://login.example/token', timeout: 3s}
            authorization_endpoint: https://login.example/authorize
            redirect_uri: 'https://%REQ(:authority)%/callback'
            redirect_path_matcher: {path: {exact: /callback}}
            signout_path: {path: {exact: /signout}}
            auth_scopes: [openid]
            credentials:
              client_id: httpbin
              token_secret: {name: token, sds_config: {path_config_source: {path: /etc/oauth/token.yaml}}}
              hmac_secret: {name: hmac, sds_config: {path_config_source: {path: /etc/oauth/hmac.yaml}}}
"""
HEAD = """\
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: oauth2, namespace: httpbin}
spec:
  workloadSelector: {labels: {app: httpbin}}
  configPatches:
"""
ROUTER = "envoy.filters.http.router"
JWT = "envoy.filters.http.jwt_authn"
GOOD = HEAD + CLUSTER + FILTER.replace("ANCHOR", ROUTER)
AUTHENTICATION = "---\napiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {name: jwt}\nspec: {}\n"
