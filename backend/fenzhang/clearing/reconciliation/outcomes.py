"""Payouts as the chain has them against the files that went to banks: amount, currency and what became of them."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.clearing.reconciliation.model import BreakKind, Sighting
from fenzhang.store.banktables import BankFile, BankPayment
from fenzhang.store.banktables import BankPaymentState as Said
from fenzhang.store.clearingtables import CycleRow, PayoutRow
from fenzhang.store.clearingtables import PayoutRowState as State
from fenzhang.store.cycletables import CyclePlan, PlannedPayout, PlanState
from fenzhang.store.reconciliationtables import Comparison

SUBJECT: Final = "payout "
"""How the subjects of these breaks begin."""
_AGREE: Final = {
    State.IN_TRANSIT: (Said.PREPARED, Said.UNKNOWN, Said.SENT),
    State.PAID: (Said.PAID,),
    State.FAILED: (Said.FAILED, Said.RETURNED),
    State.RETURNED: (Said.RETURNED,),
}
"""What the bank may have said where the chain has a payout in this state. Of one that is REFUSED it never heard.

Where it said that a payout failed, a statement may show later that it was paid and came back: the money is the same.
"""
_ON_ITS_WAY: Final = {
    State.IN_TRANSIT: (Said.PAID, Said.FAILED, Said.RETURNED),
    State.PAID: (Said.RETURNED,),
}
"""What the chain is still to be told."""


async def compare(session: AsyncSession, reported_before: int) -> list[Sighting]:
    """All payouts that are on the chain and in a file. What the bank said since a moment may be on its way."""
    agree = [and_(PayoutRow.state == state, BankPayment.state.in_(said)) for state, said in _AGREE.items()]
    told = [
        and_(PayoutRow.state == state, BankPayment.state.in_(said), BankPayment.changed_at >= reported_before)
        for state, said in _ON_ITS_WAY.items()
    ]
    same = and_(PayoutRow.amount == BankPayment.amount, CycleRow.currency == BankFile.currency)
    query = (
        select(
            BankPayment.end_to_end_id,
            PayoutRow.payout_id,
            PayoutRow.amount,
            PayoutRow.state,
            CycleRow.currency,
            BankPayment.amount.label("said_amount"),
            BankPayment.state.label("said"),
            BankFile.currency.label("said_currency"),
        )
        .join(PlannedPayout, PlannedPayout.payout_id == PayoutRow.payout_id)
        .join(CyclePlan, CyclePlan.id == PlannedPayout.plan_id)
        .join(CycleRow, CycleRow.cycle_id == PayoutRow.cycle_id)
        .join(BankPayment, BankPayment.end_to_end_id == PlannedPayout.end_to_end_id)
        .join(BankFile, BankFile.id == BankPayment.file_id)
        # A void plan and the one in its place may have the same payout.
        .where(CyclePlan.state != PlanState.VOID.value, ~and_(same, or_(*agree, *told)))
        .order_by(BankPayment.end_to_end_id)
    )
    return [_sighting(row) for row in await session.execute(query)]


def _sighting(row: Any) -> Sighting:
    subject = SUBJECT + row.end_to_end_id
    told = {"payout_id": "0x" + row.payout_id.hex(), "chain": row.state, "bank": row.said}
    kind, amount = BreakKind.OUTCOME_DIFFERS, row.amount
    if row.said_currency != row.currency:
        kind = BreakKind.CURRENCY_DIFFERS
        told |= {"chain": row.currency, "bank": row.said_currency}
    elif row.said_amount != row.amount:
        kind, amount = BreakKind.AMOUNT_DIFFERS, row.said_amount - row.amount
        told |= {"chain": str(row.amount), "bank": str(row.said_amount)}
    return Sighting(Comparison.BANK, kind.value, subject, row.currency, amount, told)
