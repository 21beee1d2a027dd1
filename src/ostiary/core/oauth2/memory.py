"""What filters know that no configuration says: the provider as it was found, and what flows have come to.

It outlives the filter: after a reload nothing is discovered again that holds still, whoever was sent to the provider
comes back to somebody who knows the way, and a refresh token that rotates is not used a second time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

from ostiary.core.decision import Entropy
from ostiary.core.oauth2.exchange import RefreshOutcome, SignInOutcome
from ostiary.core.oauth2.outcomes import FlowOutcomes
from ostiary.core.oidc import Provider
from ostiary.model.signin import ProviderConfig


@final
class Memory:
    """Of one provider, in one worker."""

    provider: Provider
    refreshes: FlowOutcomes[RefreshOutcome]
    callbacks: FlowOutcomes[SignInOutcome]

    def __init__(self, config: ProviderConfig, entropy: Entropy, before: Iterable[Memory] = ()) -> None:
        """`before`: what is remembered already. Outcomes go with the client, whatever else is said of the provider."""
        same = [m for m in before if _client(m.provider.config) == _client(config)]
        self.provider = next((m.provider for m in same if m.provider.config == config), None) or Provider(config)
        self.refreshes = same[0].refreshes if same else FlowOutcomes(RefreshOutcome, "refresh", entropy)
        self.callbacks = same[0].callbacks if same else FlowOutcomes(SignInOutcome, "callback", entropy)


def _client(config: ProviderConfig) -> tuple[str, str]:
    return config.issuer, config.client_id
