"""The database itself refuses to change what was posted, whoever asks."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import JSON, LargeBinary, String, delete, insert, text, update
from sqlalchemy.exc import IntegrityError

from fenzhang.domain.records import RecordKind
from fenzhang.ledger.reconcile import reconcile
from fenzhang.store import tables
from fenzhang.store.bulk import table_of
from fenzhang.store.tables import Account, Allocation, Base, JournalLink, Posting, Record
from pipeline.harness import Pipeline
from support.databases import drop_triggers

PROTECTED = (Posting, JournalLink, Account, Allocation, Record)


@pytest.fixture
async def traded(pipeline: Pipeline) -> Pipeline:
    """An order that was split, asked too much of, and released."""
    world = pipeline.world
    capture = world.capture(1_000)
    await pipeline.accept(
        capture,
        world.split(capture.order_id, 600),
        world.split(capture.order_id, 5_000),
        world.release(capture.order_id),
    )
    await pipeline.settle_all()
    return pipeline


async def _refused(pipeline: Pipeline, statement: Any) -> str:
    with pytest.raises(IntegrityError) as refused:
        async with pipeline.database.write() as session:
            await session.execute(statement)
    return str(refused.value.orig)


def _other(entity: type[Base], column: str, row: Any) -> Any:
    """Another value than the row has."""
    kind = table_of(entity).c[column].type
    if isinstance(kind, JSON):
        return {"code": "another"}
    if isinstance(kind, LargeBinary):
        return b"\1" * 32
    return "XXX" if isinstance(kind, String) else (getattr(row, column) or 0) + 1


@pytest.mark.parametrize("entity", PROTECTED)
async def test_no_column_of_a_row_changes(traded: Pipeline, entity: type[Base]) -> None:
    row, *_ = await traded.rows(entity)
    key = [column == getattr(row, column.name) for column in table_of(entity).primary_key]
    for column in table_of(entity).c:
        if column.name == "canonical":
            continue
        value = _other(entity, column.name, row)
        message = await _refused(traded, update(table_of(entity)).where(*key).values({column.name: value}))
        assert "never" in message, column.name
    assert await reconcile(traded.database, traded.node, traded.world.system.deployment) == []


@pytest.mark.parametrize("entity", PROTECTED)
async def test_no_row_is_deleted(traded: Pipeline, entity: type[Base]) -> None:
    before = len(await traded.rows(entity))
    assert "never" in await _refused(traded, delete(table_of(entity)))
    if not traded.database.is_sqlite:
        assert "never" in await _refused(traded, text(f"TRUNCATE {table_of(entity).name} CASCADE"))
    assert len(await traded.rows(entity)) == before > 0


async def test_a_record_loses_its_place_on_the_chain_and_never_gets_it_back(traded: Pipeline) -> None:
    split, *_ = await traded.rows(Record, Record.kind == int(RecordKind.SPLIT))
    records = table_of(Record)
    this = records.c.id == split.id
    assert "canonical" in await _refused(traded, update(records).where(this).values(canonical=True))
    assert "canonical" in await _refused(
        traded, update(records).where(this).values(canonical=False, amount=split.amount + 1)
    )
    async with traded.database.write() as session:
        await session.execute(update(records).where(this).values(canonical=False))
    assert "canonical" in await _refused(traded, update(records).where(this).values(canonical=True))


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_sqlites_ways_around_are_closed(traded: Pipeline) -> None:
    posting, *_ = await traded.rows(Posting)
    values = {column.name: getattr(posting, column.name) for column in table_of(Posting).c}
    replaced = insert(table_of(Posting)).prefix_with("OR REPLACE").values(values | {"amount": 1})
    assert "never" in await _refused(traded, replaced)
    assert "never" in await _refused(traded, text("UPDATE OR REPLACE postings SET id = id + 1"))
    for statement in ("UPDATE postings SET rowid = rowid + 9", "UPDATE records SET rowid = rowid + 9"):
        assert "never" in await _refused(traded, text(statement))


async def test_who_drops_the_triggers_is_found_by_reconciliation(traded: Pipeline) -> None:
    await drop_triggers(traded.database)
    async with traded.database.write() as session:
        await session.execute(
            update(tables.Posting).where(tables.Posting.id == 1).values(amount=tables.Posting.amount + 1)
        )
    assert await reconcile(traded.database, traded.node, traded.world.system.deployment)
