"""What a configuration asks for that is not installed with Ostiary itself."""

from __future__ import annotations

from importlib.util import find_spec

from ostiary.model.config import Config
from ostiary.model.errors import Diagnostic


def missing_extras(config: Config, file: str) -> list[Diagnostic]:
    """A diagnostic for each extra that `config`, read from `file`, needs and that can't be imported."""
    exports = bool(config.metrics) or any(listener.http.tracing is not None for listener in config.listeners)
    if not exports or _is_there("opentelemetry.proto"):
        return []
    message = "traces and metrics can't be exported: opentelemetry-proto is not installed"
    mend = "pip install 'ostiary[otel]'"
    return [Diagnostic(file=file, line=0, column=0, path="", message=message, mend=mend)]


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package above it
        return False
