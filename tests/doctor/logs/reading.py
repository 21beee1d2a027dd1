"""What the tests of the log reader share: a log as text, and facts as short lines."""

from __future__ import annotations

from dataclasses import fields
from io import BytesIO
from pathlib import Path
from typing import Any

import yaml

from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.logs import Reading, read

LEFT_OUT = ("origin", "established", "detail", "description", "message", "probe", "body", "problem", "reason", "mend")
_CAPTURED = Path(__file__).with_name("captured.yaml")


def captured() -> dict[str, Any]:
    """What a real Envoy printed: `cases` (id -> format -> lines) and `rejected` (id -> lines)."""
    found: dict[str, Any] = yaml.safe_load(_CAPTURED.read_text())
    return found


def reading(text: str | bytes, source: str = "sidecar.log") -> Reading:
    """A log read."""
    return read(BytesIO(text.encode() if isinstance(text, str) else text), source)


def facts(text: str | bytes) -> list[Fact]:
    """Its facts."""
    return reading(text).facts


def short(fact: Fact) -> str:
    """A fact as its name and its values, without texts and defaults: `SignInFailed csrf-mismatch 401 envoy`."""
    values = [getattr(fact, each.name) for each in fields(fact) if each.name not in LEFT_OUT]
    values += ["established"] if getattr(fact, "established", False) else []
    shown = ["+".join(map(str, value)) if isinstance(value, tuple) else str(value) for value in values]
    return " ".join([type(fact).__name__, *(value for value in shown if value not in ("", "None"))])


def told(text: str | bytes) -> set[str]:
    """What a log says, each once."""
    return {short(fact) for fact in facts(text)}
