from __future__ import annotations

from typing import Any

import pytest

from ostiary.dialects.schema_rules import violations


@pytest.mark.parametrize(
    ("rules", "good", "bad"),
    [
        ({"gt": 0}, 1, 0), ({"gte": 1}, 1, 0), ({"lt": 5}, 4, 5), ({"lte": 5}, 5, 6),
        ({"gte": 0.0, "lte": 1.0}, 0.5, 1.5), ({"gte": 0.0}, 0.0, float("nan")),
        ({"const": True}, True, False),
        ({"min_len": 1}, "a", ""), ({"max_len": 2}, "ab", "abc"), ({"max_bytes": 2}, "é", "éa"),
        ({"in": ["a", "b"]}, "b", "c"), ({"prefix": "%"}, "%A", "A"), ({"suffix": "%"}, "A%", "A"),
        ({"pattern": "^$|^/[a-z]*$"}, "/a", "a"),
        ({"well_known_regex": "HTTP_HEADER_NAME"}, ":path", "a b"),
        ({"well_known_regex": "HTTP_HEADER_NAME", "strict": False}, "a b", "a\nb"),
        ({"well_known_regex": "HTTP_HEADER_VALUE"}, "a\tb", "a\x01"),
        ({"well_known_regex": "HTTP_HEADER_VALUE", "strict": False}, "a\x01", "a\x00"),
        ({"well_known_regex": "HTTP_HEADER_NAME", "ignore_empty": True}, "", "a b"),
        ({"min_len": 2}, b"ab", b"a"), ({"min_items": 1}, [1], []), ({"max_items": 1}, [1], [1, 2]),
        ({"unique": True}, ["a", "b"], ["a", "a"]), ({"min_pairs": 1}, {"a": 1}, {}),
    ],
)  # fmt: skip
def test_each_rule_admits_and_refuses(rules: dict[str, Any], good: object, bad: object) -> None:
    assert violations(rules, good) == []
    assert len(violations(rules, bad)) == 1


def test_the_sentences() -> None:
    assert violations({"gte": 1, "lte": 5}, 9) == ["must be at most 5"]
    assert violations({"min_items": 2}, [1]) == ["must have at least 2 items"]
    assert violations({"max_bytes": 1}, "ab") == ["must have at most 1 byte"]
    assert violations({"min_len": 1, "pattern": "a"}, "") == ["must not be empty"]
