"""What a provider says of itself, for commands that write configurations: fetched as the doorkeeper fetches it."""

from __future__ import annotations

import time

from ostiary.core.decision import FetchFailed
from ostiary.core.oidc import Provider, ProviderMetadata
from ostiary.model.signin import ProviderConfig
from ostiary.model.tls import CertificateValidationContext, UpstreamTlsContext
from ostiary.net.lone_client import lone_client


async def discover(config: ProviderConfig) -> ProviderMetadata:
    """The provider's endpoints; nothing is asked if all of them are written.

    Raises SignInError: what went wrong, down to the DNS answer.
    """
    tls = UpstreamTlsContext(validation_context=CertificateValidationContext(trusted_ca=config.ca))
    wanted = Provider(config).fetch_metadata(time.time())
    async with lone_client(tls, dns_resolvers=config.dns_resolvers) as client:
        try:
            fetch = next(wanted)
            while True:
                try:
                    answer = await client.fetch(fetch)
                except FetchFailed as error:
                    fetch = wanted.throw(error)
                else:
                    fetch = wanted.send(answer)
        except StopIteration as stop:
            metadata: ProviderMetadata = stop.value[0]
            return metadata
        finally:
            wanted.close()
