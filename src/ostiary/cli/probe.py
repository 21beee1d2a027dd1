"""`ostiary check --probe`: try every connection that a configuration would make, and ask the provider who it is."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ostiary.core.oidc import discovery_url
from ostiary.model import limits
from ostiary.model.clusters import Cluster, Endpoint
from ostiary.model.config import Config
from ostiary.model.errors import OstiaryError
from ostiary.model.signin import ProviderConfig, SignIn
from ostiary.model.tls import CertificateValidationContext, UpstreamTlsContext
from ostiary.net.connector import Connector
from ostiary.net.tls import UpstreamTls

if TYPE_CHECKING:
    from ostiary.doctor.finding import Finding


def diagnosed(config: Config, file: str) -> tuple[Finding, ...]:
    """What the doctor finds in the configuration, and at the places that it leads to."""
    from ostiary.doctor.case import Case
    from ostiary.doctor.configuration.native import facts_of
    from ostiary.doctor.diagnose import diagnose
    from ostiary.doctor.probes import probe as look
    from ostiary.doctor.rules import all_rules

    facts = facts_of(config, file)
    found = asyncio.run(look("", Case(facts), lambda _source, _what: None))
    return tuple(diagnose(Case([*facts, *found.facts]), all_rules()))


@dataclass(frozen=True, slots=True)
class Probed:
    """One thing that was tried."""

    what: str
    ok: bool
    message: str


def probe(config: Config) -> list[Probed]:
    """Try everything, one after the other; within the timeouts that the configuration gives."""
    return asyncio.run(_probe(config))


async def _probe(config: Config) -> list[Probed]:
    filters = [link.config for listener in config.listeners for link in listener.http.http_filters]
    providers = {sign_in.provider.issuer: sign_in.provider for sign_in in filters if isinstance(sign_in, SignIn)}
    connector = Connector(linger=0.0)
    try:
        found = [await _endpoint(connector, cluster, each) for cluster in config.clusters for each in cluster.endpoints]
        return found + [await _provider(connector, each) for issuer, each in providers.items() if issuer]
    finally:
        connector.close()


async def _endpoint(connector: Connector, cluster: Cluster, endpoint: Endpoint) -> Probed:
    what = f"cluster {cluster.name}"
    try:
        writer, summary = (await _connect(connector, cluster, endpoint))[1:]
    except (OstiaryError, OSError) as error:
        return Probed(what, False, str(error))
    writer.close()
    return Probed(what, True, summary)


async def _provider(connector: Connector, provider: ProviderConfig) -> Probed:
    """The discovery document must be there and name the issuer that is configured."""
    what = f"provider {provider.issuer}"
    url = discovery_url(provider.issuer)
    try:
        async with asyncio.timeout(provider.timeout):
            status, body = await _get(connector, provider, url)
        issuer = json.loads(body).get("issuer") if status == 200 else None
    except TimeoutError:
        return Probed(what, False, f"no answer from {url} within {provider.timeout:g} s")
    except (OstiaryError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        return Probed(what, False, str(error))
    except (ValueError, AttributeError, RecursionError):
        return Probed(what, False, f"{url} is no discovery document")
    if status != 200:
        return Probed(what, False, f"{url} answered {status}")
    templated = isinstance(issuer, str) and "{tenantid}" in issuer
    if issuer != provider.issuer and not templated:
        return Probed(what, False, f"{url} names the issuer {issuer!r}: set issuer to exactly that, if it is yours")
    return Probed(what, True, "its discovery document names the issuer")


async def _get(connector: Connector, provider: ProviderConfig, url: str) -> tuple[int, bytes]:
    parts = urlsplit(url)
    validation = CertificateValidationContext(trusted_ca=provider.ca)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    cluster = Cluster(
        name="",
        type="LOGICAL_DNS",
        connect_timeout=provider.timeout,
        transport_socket=UpstreamTlsContext(validation_context=validation) if parts.scheme == "https" else None,
        dns_resolvers=provider.dns_resolvers,
    )
    reader, writer, _ = await _connect(connector, cluster, Endpoint(address=parts.hostname or "", port=port))
    try:
        # HTTP/1.0: the answer ends with the connection and is never chunked.
        writer.write(f"GET {parts.path} HTTP/1.0\r\nHost: {parts.netloc}\r\nAccept: application/json\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.read(limits.MAX_PROVIDER_RESPONSE_BYTES)
        while piece := await reader.read(limits.MAX_PROVIDER_RESPONSE_BYTES - len(body)):
            body += piece
    finally:
        writer.close()
    return int(head.split(b" ", 2)[1]), body


async def _connect(
    connector: Connector, cluster: Cluster, endpoint: Endpoint
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, str]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(loop=loop)
    settings = cluster.transport_socket
    transport, protocol, trace = await connector.connect(
        endpoint.address,
        endpoint.port,
        lambda: asyncio.StreamReaderProtocol(reader, loop=loop),
        ssl=UpstreamTls(settings)() if settings is not None else None,
        server_hostname=(settings.sni or endpoint.hostname or endpoint.address) if settings is not None else None,
        dns_lookup_family=cluster.dns_lookup_family or "ALL",
        timeout=cluster.connect_timeout,
        happy_eyeballs=cluster.happy_eyeballs_config,
        dns_servers=cluster.dns_resolvers,
        pipe=endpoint.pipe,
        search=not cluster.no_default_search_domain,
        dns_over_tcp=cluster.use_tcp_for_dns_lookups,
        dns_options=cluster.dns_options,
        local_addresses=cluster.local_addresses,
    )
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop), trace.summary
