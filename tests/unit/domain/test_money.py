"""Amounts and currencies."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fenzhang.domain.errors import InvalidAmount, UnknownCurrency
from fenzhang.domain.money import (
    CURRENCIES,
    EXPONENTS,
    MAX_AMOUNT,
    check_amount,
    check_currency,
    format_amount,
)


def test_the_largest_amount_is_a_signed_64_bit_integer() -> None:
    assert MAX_AMOUNT == 2**63 - 1


@pytest.mark.parametrize("amount", [1, 2, MAX_AMOUNT])
def test_amounts_within_the_limits_pass(amount: int) -> None:
    assert check_amount("amount", amount) == amount


@pytest.mark.parametrize(
    "value",
    [
        0,
        -1,
        MAX_AMOUNT + 1,
        2**96,
        True,
        False,
        1.0,
        0.1,
        float("nan"),
        "1",
        "",
        b"1",
        None,
        Decimal(1),
        [1],
        {},
    ],
)
def test_anything_else_is_no_amount_and_the_field_is_named(value: object) -> None:
    with pytest.raises(InvalidAmount) as caught:
        check_amount("orders[3].amount", value)
    assert caught.value.code == "invalid_amount"
    assert caught.value.field == "orders[3].amount"
    assert str(caught.value).startswith("orders[3].amount: ")


@pytest.mark.parametrize(
    ("currency", "exponent"),
    [
        ("CNY", 2),
        ("USD", 2),
        ("EUR", 2),
        ("JPY", 0),
        ("KRW", 0),
        ("ISK", 0),
        ("KWD", 3),
        ("TND", 3),
        ("CLF", 4),
    ],
)
def test_exponents_are_those_of_iso_4217(currency: str, exponent: int) -> None:
    assert EXPONENTS[currency] == exponent


def test_every_code_has_three_capital_letters_and_stands_once() -> None:
    assert len(CURRENCIES) == len(set(CURRENCIES)) == len(EXPONENTS) > 160
    assert all(len(code) == 3 and code.isascii() and code.isalpha() and code.isupper() for code in CURRENCIES)


@pytest.mark.parametrize(
    "value",
    ["", "cny", "RMB", "XXX", "XAU", "XTS", "DEM", "HRK", "CNYY", "CN", "156", 156, None, b"CNY", "ＣＮＹ"],
)
def test_anything_else_is_no_currency(value: object) -> None:
    with pytest.raises(UnknownCurrency) as caught:
        check_currency("currency", value)
    assert caught.value.field == "currency"


@pytest.mark.parametrize(
    ("amount", "currency", "shown"),
    [
        (123456, "CNY", "1234.56"),
        (5, "CNY", "0.05"),
        (0, "CNY", "0.00"),
        (-5, "CNY", "-0.05"),
        (-123456, "USD", "-1234.56"),
        (1234, "JPY", "1234"),
        (1234, "KWD", "1.234"),
        (12345, "CLF", "1.2345"),
        (MAX_AMOUNT, "CNY", "92233720368547758.07"),
    ],
)
def test_amounts_as_people_write_them(amount: int, currency: str, shown: str) -> None:
    assert format_amount(amount, currency) == shown


@given(st.integers(-MAX_AMOUNT, MAX_AMOUNT), st.sampled_from(CURRENCIES))
def test_what_is_written_is_worth_the_amount(amount: int, currency: str) -> None:
    assert Decimal(format_amount(amount, currency)).scaleb(EXPONENTS[currency]) == amount


def test_an_amount_of_no_currency_cannot_be_written() -> None:
    with pytest.raises(UnknownCurrency):
        format_amount(1, "XXX")
