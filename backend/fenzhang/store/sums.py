"""Sums of amounts, which can leave the 64 bits that one amount fits: SQLite's sum() refuses those."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, func, literal_column
from sqlalchemy.orm import InstrumentedAttribute

_LOW_BITS = 32


def half_sums(amount: InstrumentedAttribute[int]) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    """Two columns to select, from which `whole` makes the sum of `amount`."""
    high = amount.op(">>")(literal_column(str(_LOW_BITS)))
    low = amount.op("&")(literal_column(str((1 << _LOW_BITS) - 1)))
    return func.sum(high), func.sum(low)


def whole(high: Any, low: Any) -> int:
    """The sum. PostgreSQL sums bigints to numeric, which arrives as Decimal."""
    return (int(high) << _LOW_BITS) + int(low)
