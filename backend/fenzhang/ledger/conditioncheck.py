"""Conditions as the mirror keeps them against those of the contracts."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.chain.views import ChainView
from fenzhang.domain.conditions import Condition
from fenzhang.domain.identifiers import hex_id
from fenzhang.domain.money import MAX_AMOUNT
from fenzhang.domain.records import NOTHING
from fenzhang.ledger.differences import Check, Difference
from fenzhang.store import tables
from fenzhang.store.conditions import Key, condition_of

_NO_ROW = "no row"


async def compare_conditions(
    session: AsyncSession, view: ChainView, named: Collection[Key], block_number: int, *, past: bool
) -> list[Difference]:
    """Every condition of the database, and those that orders name (`named`), against the chain at the view's block.

    Of the past the rows tell only what never changes. Raises NodeUnavailable, RpcError.
    """
    query = select(tables.Condition).where(tables.Condition.block_number <= block_number)
    rows = {(row.platform_id, row.condition_id): row for row in (await session.execute(query)).scalars()}
    keys = sorted({*rows, *named})
    said = {key: _NO_ROW if (row := rows.get(key)) is None else _said_of(row, past=past) for key in keys}
    chain = await _said_by(view, keys, past=past)
    differing = [key for key in keys if said[key] != chain[key]]
    # While a reorganisation is followed, rows may be ahead of the checkpoint.
    newest = {} if past else await _said_by(view.at("latest"), differing, past=past)
    return [
        Difference(Check.CONDITION, chain[key], said[key], subject=hex_id(key[1]))
        for key in differing
        if newest.get(key) != said[key]
    ]


async def _said_by(view: ChainView, keys: Sequence[Key], *, past: bool) -> dict[Key, str]:
    found = await view.conditions_of(keys)
    return {
        key: _said(each, past=past, reached=each.is_reached) if each.is_opened else _NO_ROW
        for key, each in zip(keys, found, strict=True)
    }


def _said_of(row: tables.Condition, *, past: bool) -> str:
    return _said(condition_of(row), past=past, reached=row.reached)


def _said(condition: Condition, *, past: bool, reached: bool) -> str:
    # Later deadlines are stored as the last one that SQL can hold.
    terms = f"{condition.needed} orders by {min(condition.deadline, MAX_AMOUNT)}"
    if condition.confirmer != NOTHING:
        terms += f", confirmed by {hex_id(condition.confirmer)}"
    if past:
        return terms
    standing = f"{condition.count} joined" + (", confirmed" if condition.confirmed else "")
    return f"{terms}: {standing}" + (", reached" if reached else "")
