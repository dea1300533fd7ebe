"""Errors as types: stable codes, values by name, equal when they say the same."""

from __future__ import annotations

import re

import pytest

from fenzhang.domain import errors
from fenzhang.domain.errors import (
    REJECTIONS,
    FenzhangError,
    InsufficientHeld,
    InvalidAmount,
    LegExceedsRemaining,
    NothingHeld,
    Rejection,
    UnknownOrder,
    ZeroAmount,
)


def test_every_rejection_has_a_code_of_its_own_that_follows_its_name() -> None:
    codes = [cls.code for cls in REJECTIONS.values()]
    assert len(set(codes)) == len(codes)
    for name, cls in REJECTIONS.items():
        snake = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()
        assert cls.code == snake
        assert name == f"SplitLedger_{cls.__name__}"


def test_no_two_errors_share_a_code() -> None:
    classes = [
        found
        for found in vars(errors).values()
        if isinstance(found, type) and issubclass(found, FenzhangError)
    ]
    assert len({found.code for found in classes}) == len(classes)


def test_a_rejection_has_its_values_by_name_and_shows_ids_as_hex() -> None:
    rejection = InsufficientHeld(b"\xab" * 32, 10, 4)
    assert rejection.values == {"order_id": b"\xab" * 32, "amount": 10, "held": 4}
    assert f"order_id 0x{'ab' * 32}, amount 10, held 4" in str(rejection)
    assert rejection.message == str(rejection)


def test_rejections_are_equal_when_they_say_the_same() -> None:
    order = b"\x01" * 32
    assert UnknownOrder(order) == UnknownOrder(order)
    assert UnknownOrder(order) != UnknownOrder(bytes(32))
    assert UnknownOrder(order) != NothingHeld(order)
    assert UnknownOrder(order) != "UnknownOrder"
    assert len({UnknownOrder(order), UnknownOrder(order), NothingHeld(order), ZeroAmount()}) == 3


def test_a_rejection_takes_exactly_its_fields() -> None:
    with pytest.raises(TypeError):
        UnknownOrder()
    with pytest.raises(TypeError):
        ZeroAmount(1)


def test_the_failing_leg_is_an_attribute() -> None:
    assert LegExceedsRemaining(3, 10, 9).leg == 3


def test_a_rejection_is_an_error_that_can_be_raised() -> None:
    with pytest.raises(Rejection) as caught:
        raise ZeroAmount
    assert str(caught.value) == "The amount is zero"


def test_malformed_input_names_its_field() -> None:
    error = InvalidAmount("amount", "an amount is positive", got=0)
    assert (error.field, error.values) == ("amount", {"field": "amount", "got": 0})
