"""Hypothesis strategies for what goes on chain."""

from __future__ import annotations

from typing import TypeVar

from hypothesis import strategies as st

from fenzhang.domain.allocation import Allocation
from fenzhang.domain.records import (
    Attestation,
    Authorization,
    Capture,
    Instruction,
    InstructionKind,
    OrderWitness,
    PastRecord,
    RecordKind,
)
from fenzhang.domain.rules import Leg, LegKind, RuleTerms
from fenzhang.domain.schedules import Entry

T = TypeVar("T")

words = st.binary(min_size=32, max_size=32)
addresses = st.binary(min_size=20, max_size=20)
amounts = st.integers(0, 2**96 - 1)
uint64 = st.integers(0, 2**64 - 1)
uint256 = st.integers(0, 2**256 - 1)
currencies = st.text(st.characters(min_codepoint=65, max_codepoint=90), min_size=3, max_size=3)
roles = st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyz0123456789_-"), min_size=1, max_size=32)
signatures = st.binary(max_size=100)


def tuples(values: st.SearchStrategy[T], most: int = 4) -> st.SearchStrategy[tuple[T, ...]]:
    return st.lists(values, max_size=most).map(tuple)


captures = st.builds(
    Capture,
    words,
    words,
    words,
    words,
    st.integers(0, 2**32 - 1),
    currencies,
    amounts,
    tuples(words),
    uint64,
    uint64,
)
instructions = st.builds(
    Instruction,
    st.sampled_from(InstructionKind),
    words,
    words,
    words,
    amounts,
    tuples(words),
    tuples(amounts),
)
attestations = st.builds(Attestation, addresses, uint256, uint64, tuples(captures), signatures)
authorizations = st.builds(Authorization, words, uint256, uint64, tuples(instructions), signatures)
allocations = st.builds(Allocation, words, amounts)
past_records = st.builds(PastRecord, st.sampled_from(RecordKind), words, amounts, words, tuples(allocations))
witnesses = st.builds(OrderWitness, captures, words, tuples(past_records))
terms = st.builds(RuleTerms, st.integers(0, 2**16 - 1), may_owe=st.booleans(), park=st.booleans())
legs = st.builds(
    Leg,
    st.integers(-1, 31),
    st.sampled_from(LegKind),
    amounts,
    amounts,
    amounts,
    st.none() | words.filter(any),
    st.none() | roles,
)
entries = st.builds(Entry, words, words, st.just("") | currencies, amounts, amounts, uint64, uint64)
