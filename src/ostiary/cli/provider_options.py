"""Which provider a command is about: its issuer, a name that Ostiary knows, or endpoints written out."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import click
from msgspec.structs import replace

from ostiary.cli.progress import Progress
from ostiary.core.oidc import ProviderMetadata
from ostiary.dialects.native_presets import Preset, read_provider, url_problem
from ostiary.dialects.native_reader import Report, Section
from ostiary.dialects.native_schema import PRESETS
from ostiary.dialects.native_values import Value
from ostiary.model.errors import ConfigError, Diagnostic
from ostiary.model.signin import ProviderConfig
from ostiary.model.tls import DataSource

_Command = TypeVar("_Command", bound=Callable[..., Any])
_ENDPOINTS: Final = ("authorization_endpoint", "token_endpoint", "end_session_endpoint", "jwks_uri")
_ARGUMENTS: Final = {
    "entra": "TENANT", "google": "[DOMAIN]", "keycloak": "URL/realms/REALM", "github": "[URL]", "gitlab": "[URL]",
    "okta": "DOMAIN", "auth0": "DOMAIN", "cognito": "USER_POOL",
}  # fmt: skip


def provider_options(command: _Command) -> _Command:
    """`--issuer`, `--provider` and the endpoints."""
    names = ", ".join(f"{name}:{argument}" for name, argument in _ARGUMENTS.items())
    options = [
        click.option("--issuer", metavar="URL", help="The provider; its endpoints are discovered."),
        click.option("--provider", metavar="NAME:ARG", help=f"A provider by name: {names}.", shell_complete=_complete),
        click.option("--authorization-endpoint", metavar="URL", help="With --token-endpoint: nothing is discovered."),
        click.option("--token-endpoint", metavar="URL", help="Where codes become tokens."),
        click.option("--end-session-endpoint", metavar="URL", help="Where the provider's own session ends."),
        click.option("--jwks-uri", metavar="URL", help="The provider's keys, for --request-authentication."),
        click.option(
            "--ca", type=click.Path(readable=False), metavar="FILE", help="CA of the provider, for discovery from here."
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _complete(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    return [f"{name}:" for name in PRESETS if name.startswith(incomplete)]


@dataclass(frozen=True, slots=True)
class Chosen:
    """A provider, and what is known of it."""

    config: ProviderConfig
    metadata: ProviderMetadata
    preset: Preset = field(default_factory=Preset)


def chosen_provider(options: dict[str, Any], client_id: str) -> Chosen:
    """Take these options out of a command's, and find out what they stand for.

    Raises ConfigError for what can't be a provider, SignInError if discovery fails.
    """
    issuer, name, ca = options.pop("issuer"), options.pop("provider"), options.pop("ca")
    endpoints = {key: options.pop(key) or "" for key in _ENDPOINTS}
    written = bool(endpoints["authorization_endpoint"] and endpoints["token_endpoint"])
    if written and not name:
        return _written(issuer or "", client_id, endpoints)
    if issuer and name:
        raise click.UsageError("--issuer and --provider: keep the one that signs users in")
    if not issuer and not name:
        raise click.UsageError(
            "name the provider: --issuer URL, --provider NAME:ARG, or --authorization-endpoint and --token-endpoint"
        )
    section = _preset(name) if name else {"issuer": Value(issuer, "--issuer")}
    given = {key: Value(url, _flag(key)) for key, url in endpoints.items() if url}
    document = {**section, **given, "client_id": Value(client_id, "--client-id")}
    report = Report()
    root = Section(Value({"provider": Value(document, "command line")}, "command line"), "", "", report)
    config, preset = read_provider(root)
    if report.failed():
        raise ConfigError([_without_http(each) for each in report.diagnostics if each.severity == "error"])
    config = replace(config, ca=DataSource(filename=ca) if ca else None)
    from ostiary.core.oauth2.failures import SignInError

    try:
        return Chosen(config, asyncio.run(ask(config)), preset)
    except SignInError as error:
        mend = f"`ostiary doctor {config.issuer}` says why; --authorization-endpoint and --token-endpoint ask nothing"
        raise SignInError(error.code, f"{error.reason} ({mend})") from error


async def ask(config: ProviderConfig) -> ProviderMetadata:
    """Discover the endpoints, saying on a terminal what is waited for. Raises SignInError."""
    from ostiary.app.discovery import discover  # sockets, only for who needs them

    async with Progress(lambda: f"asking {config.issuer} for its endpoints"):
        return await discover(config)


def _without_http(found: Diagnostic) -> Diagnostic:
    """A command has no `allow_http`."""
    return dataclasses.replace(found, mend="use https://") if "allow_http" in found.mend else found


def _flag(key: str) -> str:
    return f"--{key.replace('_', '-')}"


def _written(issuer: str, client_id: str, endpoints: dict[str, str]) -> Chosen:
    """Everything that is needed is written. Without an issuer it is plain OAuth 2.0."""
    for key, url in (("issuer", issuer), *endpoints.items()):
        if url and (problem := url_problem(url.partition("?")[0], allow_http=False)):
            raise click.UsageError(f"{_flag(key)}: {problem[0]} ({problem[1]})")
    config = ProviderConfig(client_id=client_id, issuer=issuer)
    if not issuer:
        config = replace(config, kind="oauth2", scopes=())
    metadata = ProviderMetadata(
        issuer=issuer,
        authorization_endpoint=endpoints["authorization_endpoint"],
        token_endpoint=endpoints["token_endpoint"],
        end_session_endpoint=endpoints["end_session_endpoint"],
        jwks_uri=endpoints["jwks_uri"],
    )
    return Chosen(config, metadata)


def _preset(text: str) -> dict[str, Value]:
    """`NAME:ARG` as the native dialect has it."""
    name, _, argument = text.partition(":")
    if name not in PRESETS:
        known = ", ".join(PRESETS)
        raise click.UsageError(f"--provider {name}: not known by name; one of {known}, any other by --issuer URL")
    if not argument and not _ARGUMENTS[name].startswith("["):
        raise click.UsageError(f"--provider {name}: write {name}:{_ARGUMENTS[name]}")
    keys: dict[str, str]
    if name == "keycloak":
        url, _, realm = argument.partition("/realms/")
        keys = {"url": url, "realm": realm.strip("/")}
    elif name == "cognito":
        keys = {"region": argument.partition("_")[0], "user_pool": argument}
    else:
        key = {"entra": "tenant", "google": "hosted_domain", "github": "url", "gitlab": "url"}.get(name, "domain")
        keys = {key: argument} if argument else {}
    where = "--provider"
    return {name: Value({key: Value(value, where) for key, value in keys.items()}, where)}
