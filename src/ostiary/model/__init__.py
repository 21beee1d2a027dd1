"""Frozen values that everyone may import: no logic, no I/O."""
