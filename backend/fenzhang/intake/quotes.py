"""Dry runs: what a rule makes of an amount, said by the Python specification and by the contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fenzhang.domain.allocation import leaf_amounts
from fenzhang.domain.errors import FenzhangError, GivenCount, GivenOutOfBounds, LegExceedsRemaining
from fenzhang.domain.rules import Leg

if TYPE_CHECKING:
    from fenzhang.chain.views import ChainView


@dataclass(frozen=True, slots=True)
class QuoteAnswer:
    """Amount per leaf in leg order (minor units), or the reason why a split would be rejected."""

    leaves: tuple[int, ...] | None
    error: FenzhangError | None = None

    @property
    def error_leg(self) -> int | None:
        """Index of the first leg that fails; None when none does, or the reason is not a leg's."""
        return getattr(self.error, "leg", None)


def python_answer(legs: Sequence[Leg], amount: int, given: Sequence[int] = ()) -> QuoteAnswer:
    """The specification's answer. Raises InvalidRule for legs that form no tree."""
    try:
        return QuoteAnswer(tuple(leaf_amounts(legs, amount, given)))
    except (GivenCount, GivenOutOfBounds, LegExceedsRemaining) as failure:
        return QuoteAnswer(None, failure)


async def chain_answer(
    view: ChainView, legs: Sequence[Leg], amount: int, given: Sequence[int] = ()
) -> QuoteAnswer:
    """The contract's answer. Raises NodeUnavailable, and ContractError for legs that form no tree."""
    return (await chain_answers(view, [(legs, amount, given)]))[0]


async def chain_answers(
    view: ChainView, cases: Sequence[tuple[Sequence[Leg], int, Sequence[int]]]
) -> list[QuoteAnswer]:
    """The contract's answers to many cases (legs, amount, given amounts). Raises as `chain_answer` does."""
    return [
        QuoteAnswer(quote.leaves) if quote.error is None else QuoteAnswer(None, quote.error)
        for quote in await view.quotes(cases)
    ]
