"""The journal's hash chain: it grows with every posting, is the same for every mirror, and names what was changed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, text, update
from typer.testing import CliRunner

from fenzhang.cli import app as cli
from fenzhang.domain.journal import NO_LINK, links
from fenzhang.ledger.linkcheck import Examined
from fenzhang.ledger.links import head, line_of, stored_postings
from fenzhang.mirror.config import MirrorConfig
from fenzhang.store.session import Database
from fenzhang.store.tables import Account, JournalLink, Posting, Record
from pipeline.harness import Pipeline
from pipeline.histories import Play
from pipeline.journals import change, examine, fault_in, links_in, play
from support.databases import drop_triggers, fresh_database
from support.parties import MERCHANT

pytestmark = pytest.mark.either_database


@pytest.fixture(scope="module")
def played() -> Play:
    """What the tests go on from."""
    return play


@pytest.fixture
def traded(continued: Pipeline) -> Pipeline:
    """What was traded, for one test."""
    return continued


@pytest.fixture
async def second_database(
    database_kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[Database]:
    """Another database of the same kind."""
    folder = tmp_path / "second"
    folder.mkdir()
    async with fresh_database(database_kind, request, folder) as url, Database(url) as opened:
        yield opened


async def test_every_posting_is_linked_as_it_is_written(traded: Pipeline) -> None:
    stored = await links_in(traded.database)
    async with traded.database.read() as session:
        made = list(links(NO_LINK, [line_of(row) for row in await session.execute(stored_postings())]))
        assert stored == made
        assert await head(session) == stored[-1]
    postings = await traded.rows(Posting)
    assert [link.block_number for link in stored] == sorted({posting.block_number for posting in postings})
    assert await examine(traded) == Examined(stored[-1], len(postings), 0, None)


async def test_a_mirror_that_starts_over_comes_to_the_same_head(
    traded: Pipeline, second_database: Database
) -> None:
    """This one reads all blocks at once; the first read each as it came."""
    config = MirrorConfig(max_blocks=1_000, target_logs=100_000)
    second = Pipeline(traded.world, second_database, traded.node, mirror_config=config)
    await second.prepare()
    await second.follow()

    assert await links_in(second_database) == await links_in(traded.database)


async def test_a_changed_amount_is_named_with_its_posting(traded: Pipeline) -> None:
    [*_, last] = await traded.rows(Posting)
    wanted = Posting.id == last.id - 1
    [posting] = await traded.rows(Posting, wanted)
    await change(traded, update(Posting).where(wanted).values(amount=posting.amount + 1))

    subject, expected, found = await fault_in(traded)
    assert subject == f"posting {posting.id}"
    assert expected.startswith(f"{posting.amount} ")
    assert found.startswith(f"{posting.amount + 1} ")
    examined = await examine(traded)
    assert examined.postings == examined.head.last_posting < posting.id


@pytest.mark.parametrize("place", [0, 2, -1], ids=["first", "middle", "last"])
async def test_a_deleted_posting_is_named(traded: Pipeline, place: int) -> None:
    posting = (await traded.rows(Posting))[place]
    await change(traded, delete(Posting).where(Posting.id == posting.id))

    subject, _, found = await fault_in(traded)
    assert (subject, found) == (f"posting {posting.id}", "nothing")


async def test_an_invented_posting_is_named_before_and_after_the_mirror_wrote_on(traded: Pipeline) -> None:
    """The triggers let it be inserted."""
    [*_, last] = await traded.rows(Posting)
    names = ("debit_account_id", "credit_account_id", "record_id", "block_number")
    values = {name: getattr(last, name) for name in names}
    async with traded.database.write() as session:
        await session.execute(insert(Posting).values(id=last.id + 1, amount=5, **values))

    subject, expected, found = await fault_in(traded)
    assert (subject, expected, found) == (f"posting {last.id + 1}", "a link that covers it", "none")

    await traded.accept(traded.world.capture(5))
    await traded.settle_all()
    subject, expected, _ = await fault_in(traded)
    assert (subject, expected) == (f"posting {last.id + 1}", f"no more postings of record {last.record_id}")


async def test_a_posting_numbered_before_all_others_is_named(traded: Pipeline) -> None:
    [first, *_] = await traded.rows(Posting)
    names = ("debit_account_id", "credit_account_id", "record_id", "block_number", "amount")
    values = {name: getattr(first, name) for name in names}
    async with traded.database.write() as session:
        await session.execute(insert(Posting).values(id=-7, **values))

    assert (await fault_in(traded))[:2] == ("posting -7", "numbers from 1 on")


@pytest.mark.parametrize("page", [1, 2, 3])
async def test_the_chain_is_read_in_pages(
    traded: Pipeline, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = await examine(traded)
    monkeypatch.setattr("fenzhang.ledger.linkcheck._PAGE", page)
    assert await examine(traded) == whole
    [*_, last] = await traded.rows(Posting)
    await change(traded, delete(JournalLink).where(JournalLink.last_posting == last.id))
    fault = (await examine(traded)).fault
    assert fault is not None
    assert fault.expected == "a link that covers it"


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE postings SET amount = 'much' WHERE id = 2",
        "UPDATE postings SET record_id = 0 WHERE id = 2",
        "UPDATE postings SET credit_account_id = 0 WHERE id = 2",
    ],
)
async def test_values_that_sqlite_lets_in_are_named(traded: Pipeline, change: str) -> None:
    await drop_triggers(traded.database)
    async with traded.database._writer.connect() as connection:
        await connection.exec_driver_sql("ROLLBACK")
        await connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        await connection.exec_driver_sql(change)
        await connection.exec_driver_sql("PRAGMA foreign_keys=ON")

    fault = (await examine(traded)).fault
    assert fault is not None
    assert (fault.subject, fault.found) == ("posting 2", "what no posting has")


async def test_an_account_given_to_somebody_else_is_found(traded: Pipeline) -> None:
    [account] = await traded.rows(Account, Account.participant_id == MERCHANT.id, Account.currency == "CNY")
    first, *_ = await traded.rows(Posting, Posting.credit_account_id == account.id)
    await change(traded, update(Account).where(Account.id == account.id).values(participant_id=b"\1" * 32))

    subject, expected, found = await fault_in(traded)
    assert subject == f"posting {first.id}"
    assert (MERCHANT.id.hex() in expected, "01" * 32 in found) == (True, True)


async def test_a_posting_changed_together_with_its_record_is_found_by_its_link(traded: Pipeline) -> None:
    """Nothing in the tables contradicts it but the hash."""
    posting, *_ = await traded.rows(Posting)
    await change(
        traded,
        update(Posting).where(Posting.id == posting.id).values(amount=7),
        update(Record).where(Record.id == posting.record_id).values(amount=7),
    )

    subject, _, found = await fault_in(traded)
    assert subject == "link 1"
    assert found.endswith("postings 1 to 1")


@pytest.mark.parametrize(
    "values", [{"hash": b"\1" * 32}, {"block_number": 1}, {"last_posting": 1}, {"number": 77}], ids=str
)
async def test_a_changed_link_is_found(traded: Pipeline, values: dict[str, Any]) -> None:
    third = JournalLink.number == 3
    await change(traded, update(JournalLink).where(third).values(values))

    subject, *_ = await fault_in(traded)
    assert subject == "link 3"


async def test_a_deleted_link_is_found(traded: Pipeline) -> None:
    stored = await links_in(traded.database)
    await change(traded, delete(JournalLink).where(JournalLink.number == stored[-1].number))
    assert (await fault_in(traded))[0] == f"posting {stored[-2].last_posting + 1}"

    async with traded.database.write() as session:
        await session.execute(delete(JournalLink).where(JournalLink.number == 2))
    assert (await fault_in(traded))[0] == "link 2"


async def test_what_no_posting_has_is_named(traded: Pipeline) -> None:
    """A currency that would be filled up with zeros must not pass for another."""
    await change(
        traded, text("UPDATE accounts SET currency = 'C' WHERE kind = 'order_held' AND currency = 'CNY'")
    )

    fault = (await examine(traded)).fault
    assert fault is not None
    assert (fault.subject, fault.found) == ("posting 1", "what no posting has")


async def test_the_command_says_whether_the_journal_is_as_it_was(
    traded: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = traded.database.url.render_as_string(hide_password=False)
    monkeypatch.setenv("FENZHANG_DATABASE_URL", url)

    def verify(*options: str) -> Any:
        return asyncio.to_thread(CliRunner().invoke, cli, ["journal", "verify", *options])

    newest = (await links_in(traded.database))[-1]
    clean = await verify()
    assert clean.exit_code == 0, clean.output
    assert clean.output == (
        f"the journal is as it was posted: {newest.last_posting} postings up to link {newest.number}, "
        f"0x{newest.hash.hex()}\n"
    )
    await change(traded, update(Posting).where(Posting.id == 1).values(amount=Posting.amount + 1))
    changed = await verify("--json")
    assert changed.exit_code == 1
    found = json.loads(changed.output)
    assert (found["clean"], found["link"], found["fault"]["subject"]) == (False, 0, "posting 1")
    assert "posting 1: expected 1000 " in (await verify()).output

    monkeypatch.setenv("FENZHANG_DATABASE_URL", f"sqlite:///{tmp_path / 'new.db'}")
    nothing = await verify()
    assert nothing.exit_code == 2
