"""Fixtures of the network's tests."""

from __future__ import annotations

from net.loops import run

__all__ = ["run"]
