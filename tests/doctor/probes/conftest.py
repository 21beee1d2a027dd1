"""Probes in networks of their own: the lab's."""

from __future__ import annotations

from lab.conftest import lab

__all__ = ["lab"]
