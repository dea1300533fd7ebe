"""The journal of a small trade, what is stored of its hash chain, and what is found when somebody changes it."""

from __future__ import annotations

from typing import Any

from fenzhang.domain.journal import Link
from fenzhang.ledger.differences import Check
from fenzhang.ledger.linkcheck import Examined, examine_journal
from fenzhang.ledger.links import stored_links
from fenzhang.ledger.reconcile import reconcile
from fenzhang.store.session import Database
from fenzhang.store.tables import JournalLink
from pipeline.harness import Pipeline
from support.databases import drop_triggers


async def play(pipeline: Pipeline) -> None:
    """Two orders with captures, splits, a return and a release, over several blocks."""
    world = pipeline.world
    for currency in ("CNY", "USD"):
        capture = world.capture(1_000, currency=currency)
        split = world.split(capture.order_id, 600)
        for step in (
            [capture],
            [split, world.split(capture.order_id, 5_000)],
            [world.give_back(capture.order_id, split.id, 100), world.release(capture.order_id)],
        ):
            await pipeline.accept(*step)
            await pipeline.settle_all()


async def links_in(database: Database) -> list[Link]:
    """All links."""
    async with database.read() as session:
        rows = await session.execute(stored_links().order_by(JournalLink.number))
        return [Link(*row) for row in rows]


async def examine(pipeline: Pipeline) -> Examined:
    """What an examination says."""
    async with pipeline.database.read() as session:
        return await examine_journal(session)


async def fault_in(pipeline: Pipeline) -> tuple[str, str, str]:
    """What is found, which reconciliation finds as well."""
    fault = (await examine(pipeline)).fault
    assert fault is not None
    differences = await reconcile(pipeline.database, pipeline.node, pipeline.world.system.deployment)
    [same] = [each for each in differences if each.check is Check.JOURNAL]
    assert (same.subject, same.chain, same.ledger) == (fault.subject, fault.expected, fault.found)
    return fault.subject, fault.expected, fault.found


async def change(pipeline: Pipeline, *statements: Any) -> None:
    """Change what was posted, as the triggers would not let anybody."""
    await drop_triggers(pipeline.database)
    async with pipeline.database.write() as session:
        for statement in statements:
            await session.execute(statement.execution_options(synchronize_session=False))
