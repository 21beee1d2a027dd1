"""From a filter's configuration to the filter that a route's requests meet.

A route may replace the configuration of a filter or switch it off. Routes that don't share one object, so that what it
remembers (opened sessions, the provider's keys) is shared. What flows came to is shared by all filters. A profile's
code is imported only where it is used: starting is what a rolling restart waits for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, final

from ostiary.app.files import Files
from ostiary.app.metrics import Stats
from ostiary.core.cors import CorsFilter
from ostiary.core.decision import Filter
from ostiary.core.health_check import HealthCheckFilter
from ostiary.core.routing import MatchedRoute
from ostiary.model.config import Cors, HealthCheck, HttpFilter
from ostiary.model.errors import OstiaryError
from ostiary.model.oauth2 import EnvoyOAuth2, OAuth2Config, RuntimeFlags, SdsSecret
from ostiary.model.routes import CorsPolicy
from ostiary.model.secret import Secret
from ostiary.model.signin import SignIn
from ostiary.net.log import log

if TYPE_CHECKING:
    from ostiary.app.lasting import Lasting
    from ostiary.core.oauth2.filter import SignInFilter
    from ostiary.core.oauth2.session import KeyRing

_LOG: Final = log("secret")


@final
class EnvoySecrets:
    """The two secrets of an OAuth2 filter, as their files are now. An empty or missing one is not delivered."""

    def __init__(self, config: OAuth2Config, files: Files) -> None:
        credentials = config.credentials
        self._token = _sds(credentials.token_secret, files) if credentials.token_secret else None
        self._hmac = _sds(credentials.hmac_secret, files)

    def token_secret(self) -> bytes | None:
        """The client secret, or the private key with PRIVATE_KEY_JWT."""
        return self._token() if self._token is not None else None

    def hmac_secret(self) -> bytes | None:
        """The key of everything that is signed or encrypted."""
        return self._hmac()


def _sds(secret: SdsSecret, files: Files) -> Callable[[], bytes | None]:
    if secret.path is None:
        assert secret.value is not None
        return files.source(secret.value)
    from ostiary.dialects.envoy_secret import parse_sds

    path, name = secret.path, secret.name
    watched = files.watch(path, lambda text, read: parse_sds(text, path, name, read).reveal())
    return lambda: watched.value


@final
class Filters:
    """Makes the filters of one listener."""

    def __init__(
        self,
        stats: Stats,
        stat_prefix: str,
        files: Files,
        known_cluster: Callable[[str], bool],
        lasting: Lasting,
        before: Sequence[SignInFilter] = (),
    ) -> None:
        """`before` are the filters of the configuration before."""
        self._lasting = lasting
        self._stats = stats
        self._http = f"http.{stat_prefix}."
        self._files = files
        self._known_cluster = known_cluster
        self._before = before
        self._made: dict[int, Filter] = {}
        self.sign_ins: list[SignInFilter] = []

    def __call__(self, link: HttpFilter, route: MatchedRoute) -> Filter | None:
        """The filter for a route; None where it does nothing. Raises ValueError for what can't work."""
        own = route.filter_config(link.name)
        if route.is_disabled(link.name) or (link.disabled and own is None):
            return None
        config = link.config
        if isinstance(config, Cors):
            policies = [each for each in route.filter_configs(link.name) if isinstance(each, CorsPolicy)]
            return CorsFilter(policies) if policies else None
        if isinstance(config, HealthCheck):
            return self._once(config, lambda: HealthCheckFilter(config, lambda: self._lasting.shared.health_failed))
        if isinstance(config, SignIn):
            return self._once(config, lambda: self._sign_in(config))
        if isinstance(config, EnvoyOAuth2):
            if isinstance(own, OAuth2Config):
                return self._once(own, lambda: self._envoy(own, config.runtime, ""))
            oauth2 = config.config
            if oauth2 is None:
                from ostiary.core.oauth2.envoy.filter import NoConfigFilter

                return NoConfigFilter()
            return self._once(oauth2, lambda: self._envoy(oauth2, config.runtime, self._http))
        return None

    def _once(self, config: object, make: Callable[[], Filter]) -> Filter:
        found = self._made.get(id(config))
        if found is None:
            found = self._made[id(config)] = make()
        return found

    def _envoy(self, config: OAuth2Config, runtime: RuntimeFlags, scope: str) -> Filter:
        from ostiary.core.oauth2.envoy.filter import EnvoyOAuth2Filter

        prefix = config.stat_prefix
        if prefix and not prefix.endswith("."):
            prefix += "."
        return EnvoyOAuth2Filter(
            config,
            runtime=runtime,
            secrets=EnvoySecrets(config, self._files),
            entropy=os.urandom,
            counter=lambda name: self._stats.counter(scope + prefix + name),
            known_cluster=self._known_cluster,
            outcomes=self._lasting.envoy_outcomes(),
        )

    def _sign_in(self, config: SignIn) -> Filter:
        from ostiary.core.oauth2.filter import SignInFilter

        sources = [each for each in (config.provider.client_secret, config.provider.client_certificate) if each]
        secrets = [self._files.source(each, strip=True) for each in sources]
        ring = self._key_ring(config)
        made = SignInFilter(
            config,
            client_secret=lambda: Secret(b"\n".join(read() for read in secrets)) if secrets else None,
            keys=ring,
            entropy=os.urandom,
            counter=self._stats.scope(f"{self._http}oauth2"),
            render=_render,
            look_again=self._files.look,
            is_draining=self._lasting.is_draining,
            before=[each.memory for each in self._before],
        )
        self.sign_ins.append(made)
        return made

    def _key_ring(self, config: SignIn) -> Callable[[], KeyRing]:
        from ostiary.core.oauth2.session import KeyRing, audience_of

        audience = audience_of(config.provider)
        sources = [self._files.source(each, strip=True) for each in config.session.secrets]
        ring = KeyRing([Secret(source()) for source in sources], audience)

        def renew() -> None:
            nonlocal ring
            try:
                ring = KeyRing([Secret(source()) for source in sources], audience)
            except OstiaryError as error:
                _LOG.warning("a new session secret can't be used, the old ones stay in use: %s", error)

        self._files.on_change.append(renew)
        return lambda: ring


def _render(page: str, context: Mapping[str, object]) -> bytes:
    from ostiary.pages import render  # templates are slow to import, and most processes show no page for hours

    return render(page, context)
