"""The four codes of an order in one word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fenzhang.domain.errors import InvalidInput
from fenzhang.domain.facts import CODE_PATTERN, FACTS, Facts
from fenzhang.domain.records import NOTHING

codes = st.one_of(st.just(""), st.from_regex(CODE_PATTERN.removesuffix("$") + r"\Z"))


@given(st.builds(Facts, codes, codes, codes, codes))
def test_what_was_packed_is_unpacked(facts: Facts) -> None:
    word = facts.pack()
    assert len(word) == 32
    assert Facts.unpack(word) == facts


def test_codes_are_ascii_left_aligned_the_weightiest_first() -> None:
    assert Facts("618", "tea", "gold", "app").pack() == b"".join(
        code.ljust(8, b"\0") for code in (b"618", b"tea", b"gold", b"app")
    )
    assert Facts().pack() == NOTHING


def test_facts_tell_what_they_state() -> None:
    assert Facts(category="tea", channel="app").stated() == {"category": "tea", "channel": "app"}
    assert Facts().stated() == {}


@pytest.mark.parametrize("code", ["ninechars", "with sp", "ä", "a.b", "a\n", "\0"])
@pytest.mark.parametrize("name", FACTS)
def test_a_code_that_is_none_is_refused_by_name(name: str, code: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Facts(**{name: code}).pack()
    assert caught.value.field == f"facts.{name}"


@given(st.binary(min_size=32, max_size=32))
def test_any_word_can_be_shown(word: bytes) -> None:
    shown = Facts.unpack(word)
    assert all(isinstance(getattr(shown, name), str) for name in FACTS)
