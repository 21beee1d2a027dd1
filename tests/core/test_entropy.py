"""Randomness in bulk."""

from __future__ import annotations

import os

from ostiary.core.entropy import BufferedEntropy


def test_what_is_asked_for_is_given_and_never_twice() -> None:
    asked: list[int] = []

    def source(count: int) -> bytes:
        asked.append(count)
        return os.urandom(count)

    buffered = BufferedEntropy(source)
    found = [buffered(16) for _ in range(1000)]
    assert all(len(each) == 16 for each in found)
    assert len(set(found)) == 1000
    assert len(asked) == 4  # 256 ids a piece


def test_any_number_of_bytes_can_be_asked_for() -> None:
    buffered = BufferedEntropy(os.urandom)
    assert [len(buffered(count)) for count in (0, 5000, 4096, 1, 4095, 4096)] == [0, 5000, 4096, 1, 4095, 4096]
