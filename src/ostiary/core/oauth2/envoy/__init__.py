"""Envoy's OAuth2 filter: what a fleet of Envoys and Ostiaries has in common."""

from ostiary.core.oauth2.envoy.context import SecretSource
from ostiary.core.oauth2.envoy.filter import EnvoyOAuth2Filter, NoConfigFilter

__all__ = ["EnvoyOAuth2Filter", "NoConfigFilter", "SecretSource"]
