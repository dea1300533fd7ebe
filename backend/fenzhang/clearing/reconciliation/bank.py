"""The ledger's payouts against the bank's statements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.clearing.reconciliation import bankside, outcomes
from fenzhang.clearing.reconciliation.comparing import Compared, Context
from fenzhang.clearing.reconciliation.inferring import infer
from fenzhang.clearing.reconciliation.matching import stories
from fenzhang.clearing.reconciliation.model import BreakKind, Sighting
from fenzhang.store.bulk import chunks
from fenzhang.store.reconciliationtables import (
    BankStatement,
    Break,
    Comparison,
    CustodyAccount,
    MatchedBy,
    StatementLineRow,
)
from fenzhang.store.sums import half_sums, whole
from fenzhang.store.tables import Order

_DAY_S: Final = 86_400
NOT_ON_STATEMENTS: Final = "not part of payout statements"
_AT_CLOSE: Final = frozenset({BreakKind.CUSTODY_DIFFERS.value})
"""What only a run at close looks for."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What could not be read of a bank's documents: a name for each, and what is wrong with it."""

    bank: str
    documents: Sequence[tuple[str, str]]


async def compare(context: Context, unreadable: Unreadable | None = None) -> Compared:
    """Match the statements' open lines, or at close look at all of them, and see what does not agree.

    Without `unreadable` nobody read the bank's documents just now, and what is known of them stays.
    """
    compared = Compared(covers=lambda row: _covers(row, context, unreadable))
    async with context.database.read() as session:
        names = await bankside.open_names(session)
    for part in chunks(names, bankside.NAMES):
        await _named(context, part, compared)
    if context.at_close:
        behind, seen = "", set(names)
        while True:
            async with context.database.read() as session:
                some = await bankside.names_behind(session, behind)
            if not some:
                break
            behind = some[-1]
            await _named(context, [each for each in some if each not in seen], compared)
    await _nameless(context, compared)
    async with context.database.read() as session:
        compared.sightings += await _payouts(session, context)
        compared.sightings += await _balances(session)
        if context.at_close:
            compared.sightings += await _custody(session, context)
            compared.sightings += await outcomes.compare(session, _patiently(context))
    if unreadable is not None:
        compared.sightings += [
            _of_bank(BreakKind.DOCUMENT_UNREADABLE, f"{unreadable.bank} {name}", problem=problem)
            for name, problem in unreadable.documents
        ]
    return compared


def _covers(row: Break, context: Context, unreadable: Unreadable | None) -> bool:
    if row.kind == BreakKind.DOCUMENT_UNREADABLE:
        return unreadable is not None and row.subject.startswith(f"{unreadable.bank} ")
    return context.at_close or not (row.kind in _AT_CLOSE or row.subject.startswith(outcomes.SUBJECT))


def _patiently(context: Context) -> int:
    """What the bank said since then may not have come everywhere."""
    return context.now - context.terms.payout_line_days * _DAY_S


async def _named(context: Context, names: Sequence[str], compared: Compared) -> None:
    await context.go_on()
    async with context.database.read() as session:
        lines = await bankside.lines_naming(session, names)
        payouts = await bankside.payouts_named(session, names)
    found = stories(lines, payouts)
    if found.is_news(lines, payouts):
        async with context.writing() as session:
            await bankside.forget_guesses(session, sorted(found.said))
            compared.matched += await bankside.keep(session, lines, found, now=context.now)
    compared.looked_at += len(lines)
    compared.sightings += found.sightings


async def _nameless(context: Context, compared: Compared) -> None:
    async with context.database.read() as session:
        lines = await bankside.nameless(session)
        open_ = await bankside.choices(session, lines)
    found = infer(lines, open_, funding=context.terms.statements_show_captures)
    payouts = {each.end_to_end_id: each for each in (*open_.unexplained, *open_.paid)}
    # Those that were matched before are there for reversals alone.
    lines = [line for line in lines if line.matched_by is None or line.id in found.matches]
    if found.is_news(lines, payouts):
        async with context.writing() as session:
            compared.matched += await bankside.keep(session, lines, found, now=context.now)
    compared.looked_at += len(lines)
    compared.sightings += found.sightings


def _of_bank(
    kind: BreakKind, subject: str, currency: str | None = None, amount: int | None = None, **details: str
) -> Sighting:
    return Sighting(Comparison.BANK, kind.value, subject, currency, amount, details)


async def _payouts(session: AsyncSession, context: Context) -> list[Sighting]:
    """Payouts of which the bank said two things, or said one that its statements do not."""
    kind = BreakKind.PAYOUT_WITHOUT_LINE
    only: Sequence[str] | None = None
    if not context.at_close:  # then those alone that were seen before
        known = select(Break.subject).where(Break.present, Break.kind == kind)
        only = list((await session.execute(known)).scalars())
    found = [
        _of_bank(kind, payout.end_to_end_id, payout.currency, payout.amount, file=payout.message_id)
        for payout in await bankside.overdue(session, _patiently(context), only)
    ]
    return found + [
        _of_bank(
            BreakKind.DISPUTED_PAYOUT,
            payout.end_to_end_id,
            payout.currency,
            payout.amount,
            file=payout.message_id,
        )
        for payout in await bankside.disputed(session)
    ]


async def _balances(session: AsyncSession) -> list[Sighting]:
    """Whether each statement of an account begins where the one before ended."""
    query = select(BankStatement, CustodyAccount).join(
        CustodyAccount, CustodyAccount.id == BankStatement.account_id
    )
    accounts: dict[int, tuple[CustodyAccount, list[BankStatement]]] = {}
    order = (BankStatement.first_day, BankStatement.last_day, BankStatement.id)
    for statement, account in await session.execute(query.order_by(*order)):
        accounts.setdefault(account.id, (account, []))[1].append(statement)
    found: list[Sighting] = []
    for account, statements in accounts.values():
        for before, after in pairwise(_in_order(statements)):
            subject = f"{account.bank} account {account.id} {after.first_day} {after.id}"
            told = {"statement": after.statement_id, "before": before.statement_id}
            same_days = (before.first_day, before.last_day) == (after.first_day, after.last_day)
            if after.first_day <= before.last_day and not same_days:
                found.append(_of_bank(BreakKind.STATEMENT_OVERLAP, subject, account.currency, None, **told))
            elif after.opening != before.closing:
                gap = after.opening - before.closing
                told |= {"opening": str(after.opening), "closing_before": str(before.closing)}
                found.append(_of_bank(BreakKind.BALANCE_GAP, subject, account.currency, gap, **told))
    return found


def _in_order(statements: Sequence[BankStatement]) -> list[BankStatement]:
    """Statements of the same days stand so that each begins where the one before ended, if any does."""
    left, ordered = list(statements), list[BankStatement]()
    while left:
        days = [
            each for each in left if (each.first_day, each.last_day) == (left[0].first_day, left[0].last_day)
        ]
        fitting = [each for each in days if ordered and each.opening == ordered[-1].closing]
        if not fitting:  # the first of its days is one that none of them comes before
            closings = {each.closing for each in days}
            fitting = [each for each in days if each.opening not in closings] or days
        ordered.append(fitting[0])
        left.remove(fitting[0])
    return ordered


async def _custody(session: AsyncSession, context: Context) -> list[Sighting]:
    """Captured money against what came in without a reference, in total."""
    came_in: dict[str, int] = {}
    openings = select(CustodyAccount.id, CustodyAccount.currency, BankStatement.opening).join(
        BankStatement, BankStatement.account_id == CustodyAccount.id
    )
    known: set[int] = set()
    for account_id, currency, opening in await session.execute(
        openings.order_by(BankStatement.first_day, BankStatement.id)
    ):
        if account_id not in known:
            known.add(account_id)
            came_in[currency] = came_in.get(currency, 0) + opening
    funding = (
        select(CustodyAccount.currency, *half_sums(StatementLineRow.amount))
        .join(BankStatement, BankStatement.id == StatementLineRow.statement_id)
        .join(CustodyAccount, CustodyAccount.id == BankStatement.account_id)
        .where(StatementLineRow.shown, StatementLineRow.matched_by == MatchedBy.FUNDING)
        .group_by(CustodyAccount.currency)
    )
    for currency, *halves in await session.execute(funding):
        came_in[currency] = came_in.get(currency, 0) + whole(*halves)
    orders = select(Order.currency, *half_sums(Order.captured)).group_by(Order.currency)
    captured = {currency: whole(*halves) for currency, *halves in await session.execute(orders)}
    explanation = None if context.terms.statements_show_captures else NOT_ON_STATEMENTS
    return [
        Sighting(
            Comparison.BANK,
            BreakKind.CUSTODY_DIFFERS.value,
            "captures",
            currency,
            came_in.get(currency, 0) - captured.get(currency, 0),
            {"captured": str(captured.get(currency, 0)), "came_in": str(came_in.get(currency, 0))},
            explanation=explanation,
        )
        for currency in sorted(came_in.keys() | captured.keys())
        if came_in.get(currency, 0) != captured.get(currency, 0)
    ]
