"""References and on-chain ids."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fenzhang.domain import identifiers
from fenzhang.domain.errors import InvalidInput, InvalidReference
from fenzhang.domain.identifiers import (
    REFERENCE_PATTERN,
    check_reference,
    hex_id,
    new_participant_id,
    parse_id,
)

references = st.from_regex(re.compile(REFERENCE_PATTERN.removesuffix("$") + r"\Z", re.ASCII))
DERIVED = [
    identifiers.order_id,
    identifiers.rule_id,
    identifiers.split_id,
    identifiers.release_id,
    identifiers.return_id,
]


@given(references)
def test_references_of_the_stated_form_pass(reference: str) -> None:
    assert check_reference("out_order_no", reference) == reference


@pytest.mark.parametrize(
    "reference",
    ["", "a" * 65, "a b", "a\n", "\na", "-a", ".a", "ä", "订单", "a/b", "a\x00", "a'b", "<a>", "a\u2028"],
)
def test_other_references_are_refused_by_name(reference: str) -> None:
    with pytest.raises(InvalidReference) as caught:
        check_reference("out_order_no", reference)
    assert caught.value.field == "out_order_no"


@given(st.binary(min_size=32, max_size=32), references)
def test_ids_of_different_things_differ(platform: bytes, reference: str) -> None:
    ids = {derive(platform, reference) for derive in DERIVED}
    assert len(ids) == len(DERIVED)
    assert all(len(found) == 32 and found.endswith(bytes(16)) for found in ids)
    other = bytes([platform[0] ^ 1]) + platform[1:]
    assert ids.isdisjoint(derive(other, reference) for derive in DERIVED)
    assert ids == {derive(platform, reference) for derive in DERIVED}


def test_participant_ids_are_random() -> None:
    assert len({new_participant_id() for _ in range(100)}) == 100


@given(st.binary(min_size=32, max_size=32))
def test_ids_survive_being_written(value: bytes) -> None:
    assert parse_id("id", hex_id(value)) == value


@pytest.mark.parametrize(
    "text",
    ["", "0x", "0x12", "ab" * 32, "0x" + "zz" * 32, "0x" + "ab" * 33, "0x0x" + "ab" * 31, "0X" + "ab" * 32],
)
def test_what_is_no_id_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_id("order_id", text)
    assert caught.value.field == "order_id"
