"""`ostiary envoyfilter`."""

from __future__ import annotations

import base64
import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import click

from ostiary.cli.provider_options import Chosen, chosen_provider, provider_options
from ostiary.dialects.envoy_sign_in import (
    TRUSTED_CA,
    SignInChoices,
    client_id_problem,
    encoded_secret,
    filter_config,
    path_problem,
    token_cluster,
)
from ostiary.dialects.istio_text import (
    ProxyKind,
    Workload,
    authorization_policy,
    envoy_filter,
    mount_command,
    request_authentication,
    secret_object,
)
from ostiary.dialects.native_presets import open_to, url_problem
from ostiary.dialects.yaml_text import Tree, dump, plain
from ostiary.model import limits
from ostiary.model.clusters import DnsLookupFamily
from ostiary.model.oauth2 import AuthType, OAuth2Config
from ostiary.model.secret import Secret
from ostiary.model.tls import DataSource

_AUTH = {"post": "URL_ENCODED_BODY", "basic": "BASIC_AUTH"}
_CALLBACK = "/oauth2/callback"
_SIGN_OUT = "/oauth2/sign_out"
_HMAC_BYTES = 32

_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
_WORD = re.compile(r"[A-Za-z0-9](?:[-\w.]{0,61}[A-Za-z0-9])?", re.ASCII)
_KEY = re.compile(rf"(?:[a-z0-9][-a-z0-9.]{{0,252}}/)?{_WORD.pattern}", re.ASCII)
"""Kubernetes' names of objects, values of labels, names of labels."""
_DEPLOYMENT = "DEPLOYMENT"


def selector(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """The labels of an option that may be repeated, `NAME=VALUE` each."""
    found = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not equals or not _KEY.fullmatch(name.strip()) or not _WORD.fullmatch(value.strip()):
            raise click.BadParameter(f"{text!r}: write NAME=VALUE, as in app=httpbin")
        found[name.strip()] = value.strip()
    return found


def label(_context: click.Context, _parameter: click.Parameter, text: str | None) -> str | None:
    """The name of an object, which is a volume's name and part of a shell command too (RFC 1123)."""
    if text is not None and _LABEL.fullmatch(text) is None:
        raise click.BadParameter(f"{text!r}: a name has small letters, digits and -, 63 characters at most")
    return text


def _deployment(_context: click.Context, _parameter: click.Parameter, text: str) -> str:
    if text != _DEPLOYMENT and not all(_LABEL.fullmatch(part) for part in text.split(".")):
        raise click.BadParameter(f"{text!r}: no name of a Deployment")
    return text


def _paths(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    for text in values:
        if problem := path_problem(text, below=True):
            raise click.BadParameter(f"{text!r}: {problem}; write /healthz, or /public/* for all below")
    return values


def _path(_context: click.Context, _parameter: click.Parameter, text: str) -> str:
    if problem := path_problem(text):
        raise click.BadParameter(f"{text!r}: {problem}")
    return text


def _external_url(_context: click.Context, _parameter: click.Parameter, text: str | None) -> str:
    if text is None:
        return ""
    problem = url_problem(text, allow_http=False)
    if problem or text.rstrip("/").count("/") != 2:
        raise click.BadParameter(f"{text!r}: write it as https://app.example.com, without a path")
    return text.rstrip("/")


@click.command()
@provider_options
@click.option("--client-id", required=True, metavar="ID", help="The id under which the provider knows the application.")
@click.option(
    "-n", "--namespace", required=True, metavar="NS", callback=label, help="Of the workload; all objects go there."
)
@click.option(
    "-l",
    "--selector",
    required=True,
    multiple=True,
    metavar="K=V",
    callback=selector,
    help="Label of its pods; repeatable.",
)
@click.option("--name", default="sign-in", show_default=True, metavar="NAME", callback=label, help="Of every object.")
@click.option(
    "--context",
    "kind",
    type=click.Choice(get_args(ProxyKind)),
    default="sidecar",
    show_default=True,
    help="What signs in.",
)
@click.option(
    "--port", type=click.IntRange(1, 65535), help="Only this port of the workload; all HTTP ports by default."
)
@click.option(
    "--external-url", metavar="URL", callback=_external_url, help="What browsers open: https://app.example.com."
)
@click.option("--redirect-uri", metavar="TEXT", help="In full, with Envoy's %REQ(...)%, if the default isn't right.")
@click.option(
    "--callback-path", default=_CALLBACK, show_default=True, callback=_path, help="The path of the redirect URI."
)
@click.option("--signout-path", default=_SIGN_OUT, show_default=True, callback=_path, help="Opening it signs out.")
@click.option("--scope", "scopes", multiple=True, help="Instead of the provider's usual ones; repeatable.")
@click.option("--resource", "resources", multiple=True, metavar="URI", help="What the access token is for (RFC 8707).")
@click.option(
    "--pass-through",
    multiple=True,
    metavar="PATH",
    callback=_paths,
    help="No sign-in for /healthz, or /public/*; repeatable.",
)
@click.option("--pass-through-preflight", "preflight", is_flag=True, help="No sign-in for OPTIONS (CORS).")
@click.option("--redirect-programs", is_flag=True, help="Redirect fetch and XHR too, instead of answering 401.")
@click.option("--no-bearer-token", is_flag=True, help="Don't keep the access token, nor send it to the application.")
@click.option("--no-refresh-token", is_flag=True, help="Sign in anew when the access token ends.")
@click.option(
    "--client-auth", type=click.Choice(tuple(_AUTH)), help="How the client's secret is sent; told by discovery."
)
@click.option("--cookie-domain", default="", metavar="DOMAIN", help="Share the session among its hosts.")
@click.option(
    "--same-site", type=click.Choice(("lax", "none")), default="lax", show_default=True, help="Of the cookies."
)
@click.option("--client-secret-file", type=click.Path(readable=False), metavar="FILE", help="Put this into the Secret.")
@click.option("--hmac-secret-file", type=click.Path(readable=False), metavar="FILE", help="Put this into the Secret.")
@click.option("--generate-hmac", is_flag=True, help="Put a new random HMAC secret into the Secret.")
@click.option(
    "--dns-lookup-family", "family", type=click.Choice(get_args(DnsLookupFamily)), default="ALL", show_default=True,
    help="Of the provider's cluster.",
)  # fmt: skip
@click.option(
    "--connect-timeout",
    type=click.FloatRange(0.1, 60),
    default=limits.CONNECT_TIMEOUT,
    show_default=True,
    metavar="S",
    help="Seconds, of the provider's cluster.",
)
@click.option("--trusted-ca", default=TRUSTED_CA, show_default=True, metavar="FILE", help="In the proxy's container.")
@click.option(
    "--request-authentication",
    "authenticate",
    is_flag=True,
    help="Also verify the token in Istio, and deny without it.",
)
@click.option(
    "--verify",
    type=click.Choice(("id-token", "access-token")),
    default="id-token",
    show_default=True,
    help="Which token.",
)
@click.option("--audience", "audiences", multiple=True, help="Of the verified token; the client id by default.")
@click.option(
    "--deployment",
    default=_DEPLOYMENT,
    callback=_deployment,
    metavar="NAME",
    help="For the command that mounts the Secret.",
)
@click.option("--json", "as_json", is_flag=True, help="One List on stdout, instead of YAML with comments.")
def command(client_id: str, as_json: bool, **options: Any) -> int:
    """Print an EnvoyFilter that signs users in, and what belongs to it.

    The provider is asked for its endpoints. Printed are the Secret, the EnvoyFilter with the provider's cluster (TLS
    verified, lookup family said) and the OAuth2 filter before all others, with --request-authentication what verifies
    the token, and the command that mounts the Secret. All of it has been checked as `ostiary check` does it.

    \b
    Examples:
      ostiary envoyfilter --issuer https://login.example.com --client-id httpbin \\
          --namespace httpbin --selector app=httpbin --external-url https://httpbin.example.com > sign-in.yaml
      ostiary envoyfilter --provider entra:contoso.onmicrosoft.com --client-id 1111... -n httpbin -l app=httpbin \\
          --client-secret-file secret --generate-hmac --request-authentication | kubectl apply -f -
    """
    _check_usage(client_id, options)
    made = _make(chosen_provider(options, client_id), client_id, options)
    for warning in made.warnings:
        print(f"ostiary: warning: {warning}", file=sys.stderr)
    mount = "The Secret reaches the proxy with this (it restarts the pods):"
    if as_json:
        print(
            json.dumps({"apiVersion": "v1", "kind": "List", "items": [plain(each) for each in made.objects]}, indent=2)
        )
        print(f"{mount}\n{made.mount}", file=sys.stderr)
    else:
        print(dump(made.objects), end="")
        print(f"# {mount}\n# {made.mount}")
    return 0


@dataclass(frozen=True, slots=True)
class _Made:
    objects: list[Tree]
    mount: str
    warnings: list[str]


def _check_usage(client_id: str, options: dict[str, Any]) -> None:
    if problem := client_id_problem(client_id):
        raise click.UsageError(f"--client-id: {problem}: percent-encode it")
    if options["generate_hmac"] and options["hmac_secret_file"]:
        raise click.UsageError("--generate-hmac and --hmac-secret-file: keep one of them")
    if options["redirect_uri"] and options["external_url"]:
        raise click.UsageError("--redirect-uri and --external-url: the external URL makes the redirect URI; keep one")
    if options["callback_path"] == options["signout_path"]:
        raise click.UsageError("--callback-path and --signout-path are the same")
    if options["audiences"] and not options["authenticate"]:
        raise click.UsageError("--audience says what --request-authentication verifies: add that")


def _make(chosen: Chosen, client_id: str, options: dict[str, Any]) -> _Made:
    workload = Workload(
        name=options["name"],
        namespace=options["namespace"],
        labels=options["selector"],
        kind=options["kind"],
        port=options["port"] or 0,
    )
    provider = chosen.config
    choices = SignInChoices(
        client_id=client_id,
        metadata=chosen.metadata,
        openid=provider.kind == "oidc",
        scopes=options["scopes"] or provider.scopes,
        authorization_params=provider.authorization_params,
        resources=options["resources"],
        external_url=options["external_url"],
        redirect_uri=options["redirect_uri"] or "",
        callback_path=options["callback_path"],
        signout_path=options["signout_path"],
        pass_through=options["pass_through"],
        preflight=options["preflight"],
        redirect_programs=options["redirect_programs"],
        forward_bearer_token=not options["no_bearer_token"],
        use_refresh_token=not options["no_refresh_token"],
        auth_type=_AUTH.get(options["client_auth"] or ""),  # type: ignore[arg-type] # the table's values are
        cookie_domain=options["cookie_domain"],
        same_site=options["same_site"].upper(),
        token_secret=workload.secret("token"),
        hmac_secret=workload.secret("hmac"),
        cluster_name=f"{workload.name}-token-endpoint",
        dns_lookup_family=options["family"],
        connect_timeout=options["connect_timeout"],
        trusted_ca=DataSource(filename=options["trusted_ca"]),
    )
    if choices.openid and "openid" not in choices.scopes:
        raise click.UsageError("--scope: openid is missing: without it the provider sends no ID token")
    from ostiary.dialects.envoy_written import check_filter  # loads Envoy's schema

    config, cluster = filter_config(choices), token_cluster(choices)
    check_filter(config, (cluster,))
    client_secret, hmac = _file(options["client_secret_file"]), _file(options["hmac_secret_file"])
    if options["generate_hmac"]:
        hmac = Secret(base64.b64encode(os.urandom(_HMAC_BYTES)))
    token = _encoded(client_secret, config.auth_type) if client_secret is not None else None
    objects: list[Tree] = [secret_object(workload, token, hmac), envoy_filter(workload, config, (cluster,))]
    if options["authenticate"]:
        objects += _verification(workload, chosen, config, options)
    return _Made(
        objects,
        mount_command(workload, options["deployment"]),
        _warnings(chosen, choices, config, hmac, authenticated=options["authenticate"]),
    )


def _verification(workload: Workload, chosen: Chosen, config: OAuth2Config, options: dict[str, Any]) -> list[Tree]:
    metadata = chosen.metadata
    if chosen.config.kind != "oidc" or not metadata.jwks_uri:
        raise click.UsageError("--request-authentication: needs a provider with keys (--issuer, or --jwks-uri as well)")
    if "{" in metadata.issuer:
        raise click.UsageError(
            "--request-authentication: every directory has an issuer of its own here: name one tenant"
        )
    by_id_token = options["verify"] == "id-token"
    if not by_id_token and not config.forward_bearer_token:
        raise click.UsageError("--verify access-token: --no-bearer-token keeps it from being seen")
    audiences = options["audiences"] or ((config.credentials.client_id,) if by_id_token else ())
    return [
        request_authentication(
            workload,
            issuer=metadata.issuer,
            jwks_uri=metadata.jwks_uri,
            audiences=audiences,
            cookie=config.credentials.cookie_names.id_token if by_id_token else "",
        ),
        authorization_policy(
            workload,
            paths=options["pass_through"],
            preflight=options["preflight"],
            claims=chosen.preset.required_claims if by_id_token else {},
        ),
    ]


def _file(name: str | None) -> Secret | None:
    """A secret's file without the line break at its end, which Envoy would take for a part of it."""
    if not name:
        return None
    try:
        content = Path(name).read_bytes()[: limits.MAX_CONFIG_BYTES]
        secret = Secret(content.removesuffix(b"\n").removesuffix(b"\r"))
        secret.text()
    except OSError as error:
        raise click.UsageError(f"{name}: can't read it: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise click.UsageError(f"{name}: not text: write it as base64") from None
    if not secret:
        raise click.UsageError(f"{name}: empty")
    return secret


def _encoded(secret: Secret, auth: AuthType) -> Secret:
    try:
        return Secret(encoded_secret(secret.text(), auth))
    except ValueError as error:
        raise click.UsageError(f"--client-secret-file: {error}") from None


def _warnings(
    chosen: Chosen,
    choices: SignInChoices,
    config: OAuth2Config,
    hmac: Secret | None,
    *,
    authenticated: bool,
) -> list[str]:
    found = []
    if hmac is not None and len(hmac.reveal()) < _HMAC_BYTES:
        found.append(f"the HMAC secret has less than {_HMAC_BYTES} bytes, and seals every session: use --generate-hmac")
    everyone = chosen.preset.open_to or ("" if chosen.preset.name else open_to(chosen.config.issuer))
    if everyone and not (chosen.preset.required_claims and authenticated):
        found.append(f"{everyone} can sign in: say who may enter with an AuthorizationPolicy")
    elif chosen.preset.required_claims and not authenticated:
        found.append("Envoy verifies no claim, so that other domains can sign in: add --request-authentication")
    if not choices.external_url and not choices.redirect_uri:
        found.append("the redirect URI takes the host that the request names: better say it with --external-url")
    if chosen.metadata.end_session_endpoint and not config.end_session_endpoint:
        found.append("signing out will not end the provider's session: its end_session_endpoint has a query")
    return found
