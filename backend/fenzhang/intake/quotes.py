"""Dry runs: what a rule makes of an amount, said by the Python specification and by the contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fenzhang.chain.views import ChainView
from fenzhang.domain.allocation import leaf_amounts
from fenzhang.domain.errors import LegExceedsRemaining
from fenzhang.domain.rules import Leg


@dataclass(frozen=True, slots=True)
class QuoteAnswer:
    """Amount per leaf in leg order (minor units), or the first leg that fails."""

    leaves: tuple[int, ...] | None
    error_leg: int | None


def python_answer(legs: Sequence[Leg], amount: int) -> QuoteAnswer:
    """The specification's answer. Raises InvalidRule for legs that form no tree."""
    try:
        return QuoteAnswer(tuple(leaf_amounts(legs, amount)), None)
    except LegExceedsRemaining as failure:
        return QuoteAnswer(None, failure.leg)


async def chain_answer(view: ChainView, legs: Sequence[Leg], amount: int) -> QuoteAnswer:
    """The contract's answer. Raises NodeUnavailable, and ContractError for legs that form no tree."""
    quote = await view.quote(legs, amount)
    if quote.error_leg is not None:
        return QuoteAnswer(None, quote.error_leg)
    return QuoteAnswer(tuple(quote.leaves), None)
