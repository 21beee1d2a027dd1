"""Answers to DNS queries that a client must not believe."""

from __future__ import annotations

import dns.message
import dns.rrset

POISON = "192.0.2.66"
"""Where a client that believes one would go."""


def right_in_all(query: dns.message.Message) -> bytes:
    """Nothing is wrong with it but where it comes from."""
    answer = dns.message.make_response(query)
    question = query.question[0]
    if question.rdtype == dns.rdatatype.A:
        answer.answer.append(dns.rrset.from_text(question.name, 30, "IN", "A", POISON))
    return answer.to_wire()


def wrong_id(query: dns.message.Message) -> bytes:
    """An attacker who doesn't see the query has to guess its id."""
    wire = bytearray(right_in_all(query))
    wire[1] ^= 1
    return bytes(wire)


def wrong_question(query: dns.message.Message) -> bytes:
    """The right id, and an answer to something else."""
    other = dns.message.make_query("other.test.", query.question[0].rdtype, id=query.id)
    return right_in_all(other)
