"""The journal's hash chain when the blockchain turns off, and when links are made for postings from before them."""

from __future__ import annotations

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text, update

from fenzhang.store import migration
from fenzhang.store.tables import Posting
from pipeline.harness import Pipeline
from pipeline.journals import change, examine, fault_in, links_in, play

pytestmark = pytest.mark.either_database


@pytest.fixture
async def traded(pipeline: Pipeline) -> Pipeline:
    """What was traded, in blocks that a test may take back."""
    await play(pipeline)
    return pipeline


async def test_a_reorganisation_adds_links_and_changes_none(traded: Pipeline) -> None:
    before = await links_in(traded.database)
    traded.world.node.request("anvil_reorg", 2, [])
    await traded.follow()

    after = await links_in(traded.database)
    assert after[: len(before)] == before
    reversing = await traded.rows(Posting, Posting.reverses_id.is_not(None))
    assert reversing
    assert {link.block_number for link in after[len(before) :]} == {each.block_number for each in reversing}
    assert (await examine(traded)).fault is None

    await traded.settle_all()
    examined = await examine(traded)
    assert (examined.fault, examined.postings) == (None, len(await traded.rows(Posting)))
    assert examined.head.number > len(after)
    await traded.check_reconciled()


async def test_postings_from_before_the_links_get_the_same_ones(traded: Pipeline) -> None:
    traded.world.node.request("anvil_reorg", 2, [])
    await traded.settle_all()
    before = await links_in(traded.database)
    scripts = ScriptDirectory.from_config(migration.configuration()).walk_revisions()
    [script] = [each for each in scripts if "journal_links" in each.path]

    def migrate(connection: Connection) -> None:
        connection.execute(text("DROP TABLE journal_links"))
        with Operations.context(MigrationContext.configure(connection)):
            script.module.upgrade()

    async with traded.database._writer.begin() as connection:
        await connection.run_sync(migrate)

    assert await links_in(traded.database) == before != []
    await traded.accept(traded.world.capture(5))
    await traded.settle_all()
    assert (await examine(traded)).fault is None


async def test_a_reversal_that_was_changed_is_named(traded: Pipeline) -> None:
    traded.world.node.request("anvil_reorg", 2, [])
    await traded.follow()
    first, *_ = await traded.rows(Posting, Posting.reverses_id.is_not(None))
    await change(traded, update(Posting).where(Posting.id == first.id).values(amount=first.amount + 1))

    subject, expected, _ = await fault_in(traded)
    assert (subject, expected.split()[0]) == (f"posting {first.id}", str(first.amount))
