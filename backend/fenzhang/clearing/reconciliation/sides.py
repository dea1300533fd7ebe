"""What each side says in total, by currency: platforms' orders, ledger and chain, and the bank's statements."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.chain.views import ChainView
from fenzhang.ledger.balances import by_kind, trial_balance
from fenzhang.store.reconciliationtables import (
    BankStatement,
    CustodyAccount,
    MatchedBy,
    StatementLineRow,
    StatementMatch,
)
from fenzhang.store.sums import half_sums, whole
from fenzhang.store.tables import Order


@dataclass(slots=True)
class Sides:
    """Of one currency, minor units by name. Empty where a side says nothing of it."""

    orders: dict[str, int] = field(default_factory=dict)
    ledger: dict[str, int] = field(default_factory=dict)
    chain: dict[str, int] = field(default_factory=dict)
    bank: dict[str, int] = field(default_factory=dict)


async def sides(session: AsyncSession, view: ChainView | None) -> dict[str, Sides]:
    """By currency. Without a `view` the chain is not asked. Raises NodeUnavailable and RpcError."""
    found: defaultdict[str, Sides] = defaultdict(Sides)
    orders = select(Order.currency, *half_sums(Order.captured), *half_sums(Order.held))
    for currency, *halves in await session.execute(orders.group_by(Order.currency)):
        found[currency].orders = {"captured": whole(*halves[:2]), "held": whole(*halves[2:])}
    for sums in by_kind(await trial_balance(session)):
        found[sums.currency].ledger[sums.kind.value] = sums.balance
    await _bank(session, found)
    if view is not None:
        for currency, each in found.items():
            totals = await view.totals(currency)
            each.chain = {
                "captured": totals.captured,
                "held": totals.held,
                "refunded": totals.refunded,
            }
    return dict(sorted(found.items()))


async def _bank(session: AsyncSession, found: defaultdict[str, Sides]) -> None:
    accounts = select(CustodyAccount.id, CustodyAccount.currency, BankStatement.closing).join(
        BankStatement, BankStatement.account_id == CustodyAccount.id
    )
    closing: dict[int, tuple[str, int]] = {}
    order = (BankStatement.last_day, BankStatement.first_day, BankStatement.id)
    for account_id, currency, balance in await session.execute(accounts.order_by(*order)):
        closing[account_id] = (currency, balance)
    for currency, balance in closing.values():
        bank = found[currency].bank
        bank["closing"] = bank.get("closing", 0) + balance
    lines = (
        select(
            CustodyAccount.currency,
            StatementLineRow.matched_by,
            func.count(),
            *half_sums(StatementLineRow.amount),
        )
        .join(BankStatement, BankStatement.id == StatementLineRow.statement_id)
        .join(CustodyAccount, CustodyAccount.id == BankStatement.account_id)
        .where(StatementLineRow.shown)
        .group_by(CustodyAccount.currency, StatementLineRow.matched_by)
    )
    for currency, matched_by, count, *halves in await session.execute(lines):
        bank = found[currency].bank
        kind = "not_matched" if matched_by is None else "matched"
        bank[f"lines_{kind}"] = bank.get(f"lines_{kind}", 0) + count
        if matched_by == MatchedBy.FUNDING:
            bank["came_in"] = whole(*halves)
    paid = (
        select(CustodyAccount.currency, *half_sums(StatementMatch.amount))
        .join(StatementLineRow, StatementLineRow.id == StatementMatch.line_id)
        .join(BankStatement, BankStatement.id == StatementLineRow.statement_id)
        .join(CustodyAccount, CustodyAccount.id == BankStatement.account_id)
        .group_by(CustodyAccount.currency)
    )
    for currency, *halves in await session.execute(paid):
        found[currency].bank["paid"] = -whole(*halves)
