"""Which dialect a file is written in, told from its content alone.

Only what one dialect has and no other counts as a sign; a file without any sign, or with signs of two, is refused with
what was seen, never guessed: a configuration read in the wrong dialect would fail with errors that mislead.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping as MappingType
from typing import Final, Literal

from ostiary.dialects.native_schema import KEYS as NATIVE_KEYS
from ostiary.dialects.yaml_nodes import Mapping, Node, Scalar, Sequence, kind, parse_all
from ostiary.model.errors import ConfigError, Diagnostic

Dialect = Literal["native", "envoy", "istio", "oauth2-proxy"]

_BOOTSTRAP: Final = """
    admin application_log_config bootstrap_extensions certificate_provider_instances cluster_manager config_sources
    default_config_source default_regex_engine default_socket_interface deferred_stat_options dns_resolution_config
    dynamic_resources enable_dispatcher_stats enable_worker_cpu_affinity fatal_actions flags_path
    grpc_async_client_manager_config hds_config header_prefix inline_headers layered_runtime listener_manager
    memory_allocator_manager node node_context_params overload_manager perf_tracing_file_path static_resources
    stats_config stats_eviction_interval stats_flush_interval stats_flush_on_admin stats_server_version_override
    stats_sinks tracing typed_dns_resolver_config use_tcp_for_dns_lookups watchdog watchdogs
    xds_config_tracker_extension xds_delegate_extension
"""
BOOTSTRAP_KEYS: Final = frozenset(
    key for name in _BOOTSTRAP.split() for key in (name, name[0] + name.title().replace("_", "")[1:])
)
"""The fields of envoy.config.bootstrap.v3.Bootstrap, as they are written in YAML and in JSON: here because every start
would wait for the schema to be read."""
_ALPHA: Final = frozenset(
    {"upstreamConfig", "injectRequestHeaders", "injectResponseHeaders", "server", "metricsServer", "providers"}
)
"""Top-level keys of oauth2-proxy's structured configuration."""
_MENTIONED: Final = re.compile(rb"oauth2[-_]proxy", re.IGNORECASE)
_TOML_LINE: Final = re.compile(r"[ \t]*(?:[A-Za-z0-9_-]+[ \t]*=|\[[A-Za-z0-9_.-]+\][ \t]*(?:#.*)?$)")
_KNOWN: Final = "ostiary's own, Envoy's bootstrap, Istio's EnvoyFilter, oauth2-proxy's"


def detect(text: bytes, file: str) -> Dialect:
    """The dialect of `text`. `file` is its name in diagnostics.

    Raises ConfigError, saying what was seen, if that can't be told, or if the text is neither YAML, JSON nor TOML.
    """
    if _MENTIONED.search(text) is not None and _is_oauth2_proxys_text(text):
        return "oauth2-proxy"
    if _looks_like_toml(text):
        return _detect_toml(text, file)
    documents = parse_all(text, file)
    if not documents:
        raise _refuse(file, None, "the file is empty", f"known dialects: {_KNOWN}")
    if any(isinstance(document, Mapping) and _is_object(document) for document in documents):
        return _detect_objects(documents)
    if len(documents) > 1:
        raise _refuse(file, documents[1], "several documents that are no Kubernetes objects", "split the file")
    document = documents[0]
    if not isinstance(document, Mapping):
        raise _refuse(file, document, f"the file holds {kind(document)}, not a configuration", f"known: {_KNOWN}")
    return _detect_mapping(document)


def _is_oauth2_proxys_text(text: bytes) -> bool:
    from ostiary.dialects import oauth2_proxy  # only where it may be that

    return oauth2_proxy.is_text_of_it(text)


def _is_oauth2_proxys_tree(documents: list[Node]) -> bool:
    from ostiary.dialects import oauth2_proxy

    return oauth2_proxy.is_tree_of_it(documents)


def _looks_like_toml(text: bytes) -> bool:
    """True if the first line that says something assigns with `=` or opens a table."""
    for line in text.decode("utf-8-sig", errors="replace").splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            return _TOML_LINE.match(line) is not None
    return False


def _detect_toml(text: bytes, file: str) -> Dialect:
    import tomllib

    from ostiary.dialects.oauth2_proxy_options import BY_KEY as OAUTH2_PROXY_KEYS
    from ostiary.dialects.oauth2_proxy_toml import statements

    written = text.decode("utf-8-sig", errors="replace")
    if any(each.key.lower() in OAUTH2_PROXY_KEYS for each in statements(written)):
        return "oauth2-proxy"  # whether it is TOML to its end or not
    try:
        keys = set(tomllib.loads(written))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise _refuse(file, None, f"not TOML: {error}") from None
    seen = ", ".join(sorted(keys)[:8])
    raise _refuse(file, None, f"TOML without any key of oauth2-proxy (it has: {seen})", f"known dialects: {_KNOWN}")


def _is_object(document: Mapping) -> bool:
    return "apiVersion" in document and "kind" in document


def _detect_objects(documents: list[Node]) -> Dialect:
    seen = []
    for document in documents:
        objects: list[Node] = [document]
        if isinstance(document, Mapping) and isinstance(items := document.get("items"), Sequence):
            objects = list(items)
        for item in objects:
            version, name = (_text(item, "apiVersion"), _text(item, "kind"))
            if name == "EnvoyFilter" and version.startswith("networking.istio.io/"):
                return "istio"
            seen.append(f"{version} {name}".strip() or "a document without apiVersion and kind")
    if _is_oauth2_proxys_tree(documents):
        return "oauth2-proxy"
    text = f"Kubernetes objects without an EnvoyFilter of networking.istio.io (seen: {', '.join(seen[:8])})"
    raise _refuse(documents[0].file, documents[0], text, f"known dialects: {_KNOWN}")


def _detect_mapping(document: Mapping) -> Dialect:
    keys = [key.text for key, _ in document]
    votes = _votes(keys)
    voted = [name for name, signs in votes.items() if signs]
    if not voted and _is_oauth2_proxys_tree([document]):
        return "oauth2-proxy"
    if len(voted) == 1:
        return voted[0]
    where = document.entries[0][0] if document.entries else document
    seen = ", ".join(keys[:12]) or "nothing"
    if "configs" in document:
        raise _refuse(document.file, where, "an admin config_dump, not a configuration", "`ostiary doctor` reads those")
    if "resources" in document:
        mend = "name it in a path_config_source of the bootstrap"
        raise _refuse(document.file, where, "a file of discovery resources (secrets, ...), not a bootstrap", mend)
    if voted:
        found = "; ".join(f"{name} ({', '.join(votes[name])})" for name in voted)
        raise _refuse(document.file, where, f"keys of several dialects: {found}", "choose with --dialect")
    unknown = [key for key in keys if key not in NATIVE_KEYS[""]]
    if any(difflib.get_close_matches(key[:64], NATIVE_KEYS[""], 1, 0.8) for key in unknown):
        return "native"  # which says of each key how it is spelt
    text = f"no key tells the dialect (the file has: {seen})"
    raise _refuse(document.file, where, text, "choose with --dialect native|envoy|istio|oauth2-proxy")


def _votes(keys: list[str]) -> MappingType[Dialect, list[str]]:
    """The keys that only one dialect has."""
    own: dict[Dialect, frozenset[str]] = {
        "envoy": BOOTSTRAP_KEYS,
        "native": frozenset(NATIVE_KEYS[""]),
        "oauth2-proxy": _ALPHA,
    }
    return {
        name: [key for key in keys if key in known and not any(key in other for n, other in own.items() if n != name)]
        for name, known in own.items()
    }


def _text(node: Node, key: str) -> str:
    found = node.get(key) if isinstance(node, Mapping) else None
    return found.text if isinstance(found, Scalar) else ""


def _refuse(file: str, node: Node | None, message: str, mend: str = "") -> ConfigError:
    line, column = (node.line, node.column) if node is not None else (1, 1)
    return ConfigError([Diagnostic(file=file, line=line, column=column, path="", message=message, mend=mend)])
