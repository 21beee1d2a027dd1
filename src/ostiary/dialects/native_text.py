"""A native configuration out of the model, as short as it can be: what the reader would assume is left out.

The model can say more than the native dialect, above all where it was read from Envoy's. What has no key here is told
as lost, never left out without a word.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from ostiary.dialects.envoy_text_values import Secrets, differing, duration, given, some
from ostiary.dialects.lost import lost
from ostiary.dialects.native_listeners import DEFAULT_LISTEN, ESCAPED_SLASHES, TLS_VERSIONS
from ostiary.dialects.native_presets import read_provider
from ostiary.dialects.native_reader import Report, Section
from ostiary.dialects.native_text_provider import preset_section
from ostiary.dialects.native_text_routes import routes
from ostiary.dialects.native_text_telemetry import telemetry
from ostiary.dialects.native_values import Value
from ostiary.dialects.yaml_text import Noted
from ostiary.model import limits
from ostiary.model.access_log import DEFAULT_FORMAT, AccessLog
from ostiary.model.clusters import CircuitBreakers
from ostiary.model.config import Address, Config, Cors, HttpConnectionManager, Listener, Router
from ostiary.model.errors import Diagnostic
from ostiary.model.process import Process
from ostiary.model.signin import AccessRule, ProviderConfig, SessionConfig, SignIn
from ostiary.model.tls import DataSource, DownstreamTlsContext

Tree = dict[str, Any]
_SLASHES: Final = {action: word for word, action in ESCAPED_SLASHES.items()}
_VERSIONS: Final = {version: word for word, version in TLS_VERSIONS.items()}
_ENDPOINTS: Final = (
    "authorization_endpoint", "token_endpoint", "userinfo_endpoint", "end_session_endpoint", "revocation_endpoint",
    "jwks_uri",
)  # fmt: skip


class NativeText:
    """One configuration on its way out. `lost` is what has no place in it."""

    def __init__(self, config: Config, secrets: Secrets, where: str = "", process: Process | None = None) -> None:
        """`where`: the path of the listeners in the source, for what is lost. `process`: of a native source."""
        self.config = config
        self.process = process_keys(process) if process is not None else {}
        self.secrets = secrets
        self.where = where
        self.lost: list[Diagnostic] = []

    def document(self) -> Tree:
        """The whole document."""
        if not self.config.listeners:
            self.lost.append(lost(self.where, "no listener: nothing would be served"))
            return {}
        first = self.config.listeners[0]
        http = first.http
        sign_ins = [link.config for link in http.http_filters if isinstance(link.config, SignIn)]
        if not sign_ins:
            self.lost.append(lost(self._at(0), "nobody is signed in here, which is all that this dialect is for"))
        listens = [self._listen(index, each, first) for index, each in enumerate(self.config.listeners)]
        addresses = [each for each in listens if each]
        return given(
            listen=addresses[0] if len(addresses) == 1 else addresses,
            tls=self._tls(first.tls) if first.tls is not None else None,
            admin=str(self.config.admin) if self.config.admin is not None else None,
            **self._http(http),
            **routes(http.route_config, self.config.clusters, self._at(0), self.lost),
            **(self._sign_in(sign_ins[0]) if sign_ins else {}),
            telemetry=telemetry(self.config, self._at(0), self.secrets, self.lost),
            log=some({key[4:]: value for key, value in self.process.items() if key.startswith("log.")}),
            **{key: value for key, value in self.process.items() if "." not in key},
        )

    def _at(self, index: int) -> str:
        return f"{self.where}[{index}]" if self.where else "listen"

    def _listen(self, index: int, listener: Listener, first: Listener) -> str:
        if listener.http != first.http or listener.tls != first.tls:
            text = f"'{listener.name}' serves something else than '{first.name}'"
            self.lost.append(lost(self._at(index), text, "run it with a file of its own"))
            return ""
        if listener.address.mode is not None:
            self.lost.append(lost(f"{self._at(index)}.address", "the socket's mode"))
        return _address(listener.address)

    def _tls(self, tls: DownstreamTlsContext) -> Tree:
        certificate, version = tls.tls_certificates[0], tls.tls_minimum_protocol_version
        usual = DownstreamTlsContext(
            tls_certificates=tls.tls_certificates[:1],
            alpn_protocols=tls.alpn_protocols,
            tls_minimum_protocol_version=version if version in _VERSIONS else "TLS_AUTO",
        )
        for field in changed(tls, usual):
            self.lost.append(lost(f"{self._at(0)}.filter_chains[0].transport_socket", f"{field} of the listener"))
        return given(
            certificate_file=self._file(certificate.certificate_chain, "the listener's certificate"),
            key_file=self._file(certificate.private_key, "the listener's private key"),
            key_password_file=self._file(certificate.password, "the private key's password"),
            minimum_version=_VERSIONS[version] if version in _VERSIONS and version != "TLSv1_2" else None,
        )

    def _file(self, source: DataSource | None, what: str) -> str | None:
        """A file's name; what stands in the configuration itself has none."""
        if source is None:
            return None
        if source.filename is None:
            self.secrets.hidden[f"{what} (put it into a file)"] = source.inline
        return source.filename or "REPLACE_ME"

    def _http(self, http: HttpConnectionManager) -> Tree:
        """What happens to every request before the routes; bounds and times as far as there are keys for them."""
        bounds = given(
            request_headers_kb=_other(http.max_request_headers_kb, limits.MAX_REQUEST_HEADERS_BYTES // 1024),
            headers_count=_other(http.max_headers_count, limits.MAX_HEADERS_COUNT),
            requests_per_connection=http.max_requests_per_connection,
            upstream_connections=self._connections(),
        )
        times = given(
            request_headers=_seconds(http.request_headers_timeout, limits.REQUEST_HEADERS_TIMEOUT),
            drain=self.process.get("timeouts.drain"),
            request=_seconds(http.request_timeout, 0.0),
            idle=_seconds(http.idle_timeout, limits.IDLE_TIMEOUT),
            stream_idle=_seconds(http.stream_idle_timeout, limits.STREAM_IDLE_TIMEOUT),
        )
        if http.profile == "envoy":
            self._envoys_own(http)
        hops = http.xff_num_trusted_hops + (0 if http.use_remote_address else 1)
        return given(
            trusted_hops=Noted(hops, "Whoever connects is believed in X-Forwarded-For and -Proto, as before.")
            if hops and not http.use_remote_address
            else some(hops),
            escaped_slashes=self._slashes(http),
            limits=some(bounds),
            timeouts=some(times),
            access_log=self._access_log(http.access_log),
        )

    def _slashes(self, http: HttpConnectionManager) -> str | None:
        """`reject` where a path decides something, else `keep`, is what the reader would assume."""
        assumed = "reject" if http.merge_slashes else "keep"  # which it merges there, too
        word = _SLASHES[http.path_with_escaped_slashes_action]
        return None if word == assumed and http.profile == "ostiary" else word

    def _envoys_own(self, http: HttpConnectionManager) -> None:
        """Settings that a native listener has differently, and no key for."""
        base = f"{self._at(0)}.filter_chains[0].filters[0].typed_config"
        usual = HttpConnectionManager(stat_prefix="", route_config=http.route_config, http_filters=())
        told = (
            "skip_xff_append", "via", "scheme_to_overwrite", "always_set_request_id_in_response",
            "preserve_external_request_id", "strip_matching_host_port", "strip_any_host_port",
            "strip_trailing_host_dot", "max_connection_duration", "max_stream_duration", "underscores_in_headers",
            "delayed_close_timeout", "generate_request_id",
        )  # fmt: skip
        for field in changed(http, usual):
            if field in told:
                self.lost.append(lost(f"{base}.{field}", f"{field}: there is no key for it"))
        for kind, enabled in http.upgrade_types.items():
            if kind != "websocket" and enabled:
                self.lost.append(lost(f"{base}.upgrade_configs", f"upgrades to {kind}"))
        for index, link in enumerate(http.http_filters):
            if not isinstance(link.config, Router | SignIn | Cors):  # what Cors does stands on hosts and routes
                text = f"the filter '{link.name}' ({type(link.config).__name__})"
                self.lost.append(lost(f"{base}.http_filters[{index}]", text))

    def _connections(self) -> int | None:
        most = {each.circuit_breakers.max_connections for each in self.config.clusters}
        return _other(max(most), CircuitBreakers().max_connections) if len(most) == 1 else None

    def _access_log(self, logs: tuple[AccessLog, ...]) -> Any:
        if not logs:
            return "off"
        if len(logs) > 1:
            self.lost.append(lost(f"{self._at(0)}.filter_chains[0].filters[0].typed_config.access_log", "a second log"))
        log = logs[0]
        only = log.filter
        if only is not None and (only.duration_at_least_ms is not None or only.header is not None):
            path = f"{self._at(0)}.filter_chains[0].filters[0].typed_config.access_log[0].filter"
            self.lost.append(lost(path, "a filter on durations or headers"))
        to = log.path if log.sink == "file" else log.sink
        more = given(
            format=log.text_format.rstrip("\n") if log.text_format not in (None, DEFAULT_FORMAT) else None,
            json=log.json_format,
            omit_empty_values=some(log.omit_empty_values),
            status_at_least=only.status_code_at_least if only is not None else None,
            without_health_checks=some(only is not None and only.not_health_check),
        )
        return {"to": to} | more if more else _other(to, "stdout")

    def _sign_in(self, sign_in: SignIn) -> Tree:
        public, access = _rules(sign_in.rules)
        passing = given(
            groups=_other(sign_in.pass_groups, True),
            access_token=some(sign_in.pass_access_token),
            authorization=some(sign_in.pass_authorization),
            claims=some(dict(sign_in.claim_headers)),
        )
        return given(
            external_url=some(sign_in.external_url),
            prefix=_other(sign_in.prefix, "/.ostiary"),
            provider=self._provider(sign_in.provider),
            **self._secrets(sign_in.session),
            session=some(_session(sign_in.session)),
            public=public or None,
            access=access,
            **{"pass": passing} if passing else {},
            sign_out_redirect=_other(sign_in.sign_out_redirect, "/"),
            redirect_hosts=some(list(sign_in.allowed_redirect_hosts)),
        )

    def _secrets(self, session: SessionConfig) -> Tree:
        if not session.lasting:
            return {}
        files = [each.filename for each in session.secrets if each.filename is not None]
        inline = [each.inline for each in session.secrets if each.inline is not None]
        if files:
            return {"secret_file": files[0] if len(files) == 1 else files}
        if inline and self.secrets.show:
            return {"secret": inline[0].reveal().decode("utf-8", "backslashreplace")}
        self.secrets.hidden["the session secret"] = inline[0] if inline else None
        return {"secret_file": "REPLACE_ME"}

    def _provider(self, provider: ProviderConfig) -> Tree:
        """The preset or issuer, and whatever differs from what that stands for."""
        section = preset_section(provider)
        report = Report()
        values = {"client_id": provider.client_id, **section}
        root = Section(_value({"provider": values}), "", "", report)
        usual, _ = read_provider(root)
        tree: Tree = dict(section)
        tree["client_id"] = provider.client_id
        tree |= self._client(provider)
        if provider.client_auth_method not in ("auto", "client_assertion"):
            tree["client_auth_method"] = provider.client_auth_method
        for name in ("scopes", "id_token_algorithms"):
            if getattr(provider, name) != getattr(usual, name):
                tree[name] = list(getattr(provider, name))
        for name in (*_ENDPOINTS, "user_claim", "email_claim", "groups_claim", "require_verified_email"):
            if name not in tree and getattr(provider, name) != getattr(usual, name):
                tree[name] = getattr(provider, name)
        for name in ("authorization_params", "token_params"):
            more = {k: v for k, v in getattr(provider, name).items() if getattr(usual, name).get(k) != v}
            tree |= {name: more} if more else {}
        tree |= given(
            ca_file=self._file(provider.ca, "the provider's CA"),
            timeout=_seconds(provider.timeout, limits.PROVIDER_TIMEOUT),
            dns_resolvers=[f"[{h}]:{p}" if ":" in h else f"{h}:{p}" for h, p in provider.dns_resolvers] or None,
        )
        urls = [provider.issuer, *(getattr(provider, name) for name in _ENDPOINTS)]
        return tree | ({"allow_http": True} if any(_is_http_elsewhere(url) for url in urls) else {})

    def _client(self, provider: ProviderConfig) -> Tree:
        certificate = provider.client_certificate
        tree = {"client_certificate_file": self._file(certificate, "the client's certificate")} if certificate else {}
        secret = provider.client_secret
        if secret is None:
            return tree
        if secret.inline is not None and self.secrets.show:
            return tree | {"client_secret": secret.inline.text()}
        if secret.filename is None:
            self.secrets.hidden["the client's secret"] = secret.inline
        key = "client_assertion_file" if provider.client_auth_method == "client_assertion" else "client_secret_file"
        return tree | {key: secret.filename or "REPLACE_ME"}


def process_keys(process: Process) -> Tree:
    """Dotted key -> what it says of the process, where that is not the usual."""
    fields = {
        "workers": "workers", "flight_users": "flight_users", "watch": "watch", "log.level": "log_level",
        "log.components": "component_log_level", "log.format": "log_format", "timeouts.drain": "drain_timeout",
    }  # fmt: skip
    usual = Process()
    found = {
        key: getattr(process, name) for key, name in fields.items() if getattr(process, name) != getattr(usual, name)
    }
    return found | given(
        workers="auto" if found.get("workers") == 0 else found.get("workers"),
        **{"timeouts.drain": duration(process.drain_timeout) if "timeouts.drain" in found else None},
    )


def changed(value: msgspec.Struct, usual: msgspec.Struct) -> Iterable[str]:
    """The names of the fields that differ."""
    names = (each.name for each in msgspec.structs.fields(type(value)))
    return [name for name in names if getattr(value, name) != getattr(usual, name)]


def _value(tree: Any) -> Value:
    if isinstance(tree, dict):
        return Value({key: _value(item) for key, item in tree.items()}, "")
    return Value(str(tree).lower() if isinstance(tree, bool) else tree, "")


def _is_http_elsewhere(url: str) -> bool:
    from ostiary.dialects.native_presets import url_problem

    problem = url_problem(url, allow_http=False) if url.startswith("http://") else None
    return problem is not None and problem[0].startswith("plain http://")


def _address(address: Address) -> str:
    return str(address) or DEFAULT_LISTEN


def _other(value: Any, usual: Any) -> Any:
    return None if value == usual else value


def _seconds(value: float, usual: float) -> str | None:
    """A duration as the dialect has it; 0 is `off`."""
    return None if value == usual else duration(value) if value else "off"


def _session(session: SessionConfig) -> Tree:
    found = differing(session, ("cookie_name", "cookie_domain", "same_site", "keep_access_token", "keep_id_token"))
    usual = SessionConfig(secrets=())
    lifetimes = {"lifetime": "absolute_lifetime", "idle_lifetime": "idle_lifetime", "refresh_margin": "refresh_margin"}
    for key, field in lifetimes.items():
        if (written := _seconds(getattr(session, field), getattr(usual, field))) is not None:
            found[key] = written
    return found


def _rules(rules: tuple[AccessRule, ...]) -> tuple[list[str], Any]:
    """`public`, where the first rule is that and no more, and `access`."""
    public: list[str] = []
    first = rules[0] if rules else None
    if first is not None and first == AccessRule(paths=first.paths, public=True) and first.paths:
        public, rules = list(first.paths), rules[1:]
    if rules == (AccessRule(),):
        return public, "anyone"
    return public, [_rule(rule) for rule in rules]


def _rule(rule: AccessRule) -> Tree:
    lists = ("hosts", "paths", "methods", "emails", "domains", "groups")
    tree: Tree = {name: list(getattr(rule, name)) for name in lists if getattr(rule, name)}
    if rule.claims:
        tree["claims"] = {name: list(values) for name, values in rule.claims.items()}
    return tree | ({"public": True} if rule.public else {}) | ({"deny": True} if rule.deny else {})
