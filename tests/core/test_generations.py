"""The bounded memory."""

from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.generations import Generations


def test_what_was_put_is_found_until_two_generations_have_passed() -> None:
    memory: Generations[int, str] = Generations(2, 1000)
    memory.put(1, "one", 1)
    memory.put(2, "two", 1)
    memory.put(3, "three", 1)
    assert memory.young == {3: "three"}
    assert memory.older(1) == "one"
    memory.put(4, "four", 1)
    memory.put(5, "five", 1)
    assert memory.older(1) is None
    memory.clear()
    assert len(memory) == 0


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 40))))
def test_it_never_holds_more_than_two_generations(puts: list[tuple[int, int]]) -> None:
    memory: Generations[int, int] = Generations(5, 100)
    for key, size in puts:
        memory.put(key, size, size)
        assert len(memory) <= 10
        assert sum(memory.young.values()) <= 100 + 40
