"""The lab: one process for the whole run, a fresh network for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab import namespaces
from lab.world import Lab


@pytest.fixture(scope="session")
def lab(network_namespaces: None) -> Iterator[Lab]:
    """Where worlds are built."""
    reason = namespaces.missing()
    if reason:
        pytest.skip(reason)
    found = Lab()
    yield found
    found.close()
