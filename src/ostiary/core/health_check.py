"""Answers health checks itself: Envoy's `envoy.filters.http.health_check` without the pass-through mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from msgspec.structs import replace

from ostiary.core.decision import FOREVER, Allow, Decision, Request, Respond
from ostiary.core.matching import all_of
from ostiary.model.config import HealthCheck

_NOT_A_CHECK: Final = Allow(via="health_check")
_NEVER_A_CHECK: Final = Allow(valid_until=FOREVER, via="health_check")


@final
class HealthCheckFilter:
    """200 without a body for requests whose headers match, 503 while `failed` says so. Raises ValueError for a bad
    matcher."""

    def __init__(self, config: HealthCheck, failed: Callable[[], bool] = lambda: False) -> None:
        self._failed = failed
        headers = (("x-envoy-upstream-healthchecked-cluster", config.cluster),)
        self._healthy = Respond(
            status=200, headers=headers, details="health_check_ok", local_reply=True, health_check=True
        )
        self._unhealthy = replace(self._healthy, status=503, details="health_check_failed")
        self._matches = all_of(config.headers)
        self._reads = frozenset(matcher.name.lower() for matcher in config.headers)
        self._paths = frozenset(
            matcher.string_match.value
            for matcher in config.headers
            if matcher.name == ":path"
            and not matcher.invert_match
            and matcher.string_match is not None
            and matcher.string_match.kind == "exact"
            and not matcher.string_match.ignore_case
        )

    def decide(self, request: Request, now: float) -> Decision:  # noqa: ARG002
        """Respond to a health check, allow anything else."""
        if self._matches(request):
            return self._unhealthy if self._failed() else self._healthy
        return _NEVER_A_CHECK if self._paths else _NOT_A_CHECK

    def is_ordinary(self, path: str) -> bool:
        """False where the path is one that is checked; without an exact path to go by, always False."""
        return bool(self._paths) and not any(target.partition("?")[0] == path for target in self._paths)

    def reads(self) -> frozenset[str]:
        """Whatever its matchers look at."""
        return self._reads

    def request_headers_to_strip(self) -> frozenset[str]:
        """None."""
        return frozenset()
