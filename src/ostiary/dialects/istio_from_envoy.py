"""The sign-in of a configuration as Istio's objects: an `EnvoyFilter` and its `Secret`.

Listeners, routes and the clusters of applications are Istio's own affair there: they are not carried, and not missed.
"""

from __future__ import annotations

from msgspec.structs import replace

from ostiary.dialects.envoy_text import oauth2_configs
from ostiary.dialects.envoy_text_values import PLACEHOLDER, Secrets
from ostiary.dialects.istio_text import Workload, envoy_filter, secret_object
from ostiary.dialects.lost import lost
from ostiary.dialects.yaml_text import Tree
from ostiary.model.config import Config, Cors, Router
from ostiary.model.errors import Diagnostic
from ostiary.model.oauth2 import EnvoyOAuth2, OAuth2Config, RuntimeFlags, SdsSecret
from ostiary.model.routes import HeaderMutations
from ostiary.model.secret import Secret


def istio_objects(config: Config, workload: Workload, secrets: Secrets) -> tuple[list[Tree], list[Diagnostic]]:
    """The objects, and what is lost. No object if nobody is signed in there."""
    found: list[Diagnostic] = []
    filters = [
        (f"static_resources.listeners[{number}].filter_chains[0].filters[0].typed_config.http_filters[{index}]", link)
        for number, listener in enumerate(config.listeners)
        for index, link in enumerate(listener.http.http_filters)
    ]
    chosen: OAuth2Config | None = None
    place = ""
    for path, link in filters:
        own = link.config.config if isinstance(link.config, EnvoyOAuth2) else None
        if own is not None and chosen is None:
            chosen, place = own, f"{path}.typed_config.config.credentials"
            if isinstance(link.config, EnvoyOAuth2) and link.config.runtime != RuntimeFlags():
                mend = "set them in the proxy's runtime (ProxyConfig runtimeValues)"
                found.append(lost("layered_runtime", "runtime flags are the proxy's", mend))
        elif own != chosen and not _istios(link.config, config):
            found.append(lost(path, f"the filter '{link.name}' ({type(link.config).__name__})", "write a patch for it"))
    for number, listener in enumerate(config.listeners):
        if listener.http.route_config.mutations != HeaderMutations():
            text = "headers that routes add or remove, such as identity headers that clients send"
            found.append(lost(f"static_resources.listeners[{number}]", text, "write them into a VirtualService"))
    if any(each != chosen for each in oauth2_configs(config)):
        found.append(lost("static_resources.listeners", "sign-in settings of single hosts or routes"))
    if chosen is None:
        found.append(lost("static_resources.listeners", "nobody is signed in here"))
        return [], found
    credentials = chosen.credentials
    token = _value(credentials.token_secret, "the client's secret", f"{place}.token_secret", secrets, found)
    hmac = _value(credentials.hmac_secret, "the HMAC secret", f"{place}.hmac_secret", secrets, found)
    names = {"hmac_secret": workload.secret("hmac"), "token_secret": workload.secret("token")}
    written = replace(chosen, credentials=replace(credentials, **names))
    endpoint = chosen.token_endpoint
    cluster = config.cluster(endpoint.cluster) if endpoint is not None else None
    if cluster is None:
        found.append(lost("static_resources.clusters", "the token endpoint's cluster is not there"))
    clusters = (cluster,) if cluster is not None else ()
    return [secret_object(workload, token, hmac), envoy_filter(workload, written, clusters, secrets)], found


def _istios(filter_config: object, config: Config) -> bool:
    """A filter that is in Istio's chain without a patch."""
    return isinstance(filter_config, Router) or (config.dialect == "istio" and filter_config == Cors())


def _value(secret: SdsSecret | None, what: str, path: str, secrets: Secrets, found: list[Diagnostic]) -> Secret | None:
    """A secret that stands in the source, if it may be shown; everything else has to be put into the Secret by hand."""
    value = secret.value if secret is not None else None
    if value is not None and value.inline is not None:
        if secrets.show:
            return value.inline
        secrets.hidden[what] = value.inline
    elif secret is not None and not (value is not None and value.filename == PLACEHOLDER):
        file = value.filename if value is not None else secret.path
        found.append(lost(path, f"{what} is in {file}", "put it into the Secret"))
    return None
