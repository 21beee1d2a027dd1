"""Rules of this family are being written."""

from __future__ import annotations

from typing import Final

from ostiary.doctor.rule import Rule

RULES: Final[tuple[Rule, ...]] = ()
