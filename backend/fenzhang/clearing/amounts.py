"""Amounts as banks write them: decimal digits by the currency's ISO 4217 exponent. No floats anywhere."""

from __future__ import annotations

import re
from typing import Final

from fenzhang.domain.errors import InvalidAmount
from fenzhang.domain.money import EXPONENTS, check_currency

_DECIMAL: Final = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,5}))?")


def parse_amount(field: str, text: str, currency: str) -> int:
    """Minor units of an amount without sign: `1234.56` CNY is 123456.

    Digits behind the currency's smallest unit must be zeros. Raises InvalidAmount naming `field`, UnknownCurrency.
    """
    exponent = EXPONENTS[check_currency("currency", currency)]
    read = _DECIMAL.fullmatch(text)
    if read is None:
        raise InvalidAmount(field, "not a decimal number of at most 18 digits and 5 behind the point")
    fraction = (read[2] or "").ljust(exponent, "0")
    if fraction[exponent:].strip("0"):
        raise InvalidAmount(field, f"finer than the smallest unit of {currency}")
    amount = int(read[1] + fraction[:exponent])
    if amount >= 10**18:
        raise InvalidAmount(field, "more than 18 digits")
    return amount


def parse_signed(field: str, text: str, currency: str) -> int:
    """The same with a minus in front of amounts below zero."""
    amount = parse_amount(field, text.removeprefix("-"), currency)
    return -amount if text.startswith("-") else amount
