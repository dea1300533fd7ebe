"""Cycles and payouts in the mirror and the ledger: rows, postings, and what reconciles with the chain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, update

from fenzhang.chain.clearing import cycle_id, payout_id, payout_root
from fenzhang.domain.clearing import OutcomeKind
from fenzhang.domain.journal import NO_LINK, Link
from fenzhang.domain.records import RecordKind
from fenzhang.ledger.anchors import Anchor, Anchors, newest_anchor
from fenzhang.ledger.balances import by_kind, position, trial_balance
from fenzhang.ledger.differences import Check, Difference
from fenzhang.ledger.linkcheck import Fault, examine_journal
from fenzhang.ledger.links import head, head_at, link_stored
from fenzhang.ledger.reconcile import reconcile, reconciliation
from fenzhang.store import payloads, tables
from fenzhang.store.clearingtables import CycleRow, PayoutRow
from fenzhang.store.tables import AccountKind, InstructionType
from pipeline.harness import Pipeline
from support.clearing import BANK_CODE, Desk
from support.databases import drop_triggers
from support.parties import COURIER, MALL, MERCHANT, PAIR, PROMOTER, SUPPLIER
from support.paying import EVERYBODY, close, market
from support.system import CLEARING_BANK
from support.world import Saved, Settled

ON_SQLITE = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
PAID, FAILED, RETURNED = OutcomeKind.PAID, OutcomeKind.FAILED, OutcomeKind.RETURNED


@pytest.fixture
async def desk(pipeline: Pipeline) -> Desk:
    """A market where each of four has 500 coming to it."""
    return await market(pipeline)


async def payouts_of(pipeline: Pipeline) -> list[tuple[bytes, int, str, str | None]]:
    """Participant, amount, state and reason, in order of cycles and indices."""
    rows = await pipeline.rows(PayoutRow)
    order = [row.cycle_id for row in await pipeline.rows(CycleRow)]
    rows.sort(key=lambda row: (order.index(row.cycle_id), row.index))
    return [(row.participant_id, row.amount, row.state, row.reason) for row in rows]


async def balances(pipeline: Pipeline, block_number: int | None = None) -> dict[AccountKind, int]:
    async with pipeline.database.read() as session:
        return {sums.kind: sums.balance for sums in by_kind(await trial_balance(session, block_number))}


async def positions(pipeline: Pipeline) -> list[int]:
    async with pipeline.database.read() as session:
        found = await position(session, [each.id for each in EVERYBODY])
    return [found[each.id, "CNY"] for each in EVERYBODY]


async def day(pipeline: Pipeline, desk: Desk) -> tuple[bytes, list[list[tuple[str, str | None]]]]:
    """A cycle whose payouts end in all four ways: its id, and the states after each block, as they must be."""
    number = await close(pipeline, desk, (MERCHANT, 500), (PROMOTER, 400), (COURIER, 500), (SUPPLIER, 600))
    await pipeline.follow()
    assert await payouts_of(pipeline) == []
    seen: list[list[tuple[str, str | None]]] = [[]]

    async def look() -> None:
        await pipeline.follow()
        seen.append([(state, reason) for _, _, state, reason in await payouts_of(pipeline)])

    desk.take(number, 0, 1, 3)
    await look()
    desk.take(number)
    await look()
    desk.report(number, (0, PAID), (1, FAILED))
    await look()
    desk.report(number, (2, PAID))
    await look()
    desk.report(number, (2, RETURNED), (0, FAILED))
    await look()
    return number, seen


REFUSED = ("REFUSED", "insufficient_position")
TRANSIT, REACHED = ("IN_TRANSIT", None), ("PAID", None)
SEEN = [
    [],
    [TRANSIT, TRANSIT, REFUSED],
    [TRANSIT, TRANSIT, TRANSIT, REFUSED],
    [REACHED, ("FAILED", BANK_CODE), TRANSIT, REFUSED],
    [REACHED, ("FAILED", BANK_CODE), REACHED, REFUSED],
    [REACHED, ("FAILED", BANK_CODE), ("RETURNED", BANK_CODE), REFUSED],
]


async def test_a_payout_goes_from_the_position_to_the_bank_or_back(pipeline: Pipeline, desk: Desk) -> None:
    number, seen = await day(pipeline, desk)

    assert seen == SEEN
    [cycle] = await pipeline.rows(CycleRow)
    signed, payouts = cycle, desk.payouts[number]
    assert (signed.cycle_id, signed.currency, signed.scheme, signed.number) == (number, "CNY", "standard", 1)
    assert (signed.payouts, signed.total, signed.bank) == (4, 2_000, CLEARING_BANK.address)
    assert signed.bill_root == b"\x0b" * 32
    assert signed.to_block == signed.at_block < signed.block_number
    [closing] = await pipeline.rows(tables.Record, tables.Record.kind == int(RecordKind.CYCLE))
    assert (closing.batch, closing.block_number, closing.amount) == (cycle.batch, cycle.block_number, 2_000)
    assert (closing.cycle_id, closing.instruction_id) == (number, number)
    rows = await pipeline.rows(PayoutRow)
    assert {row.payout_id for row in rows} == {payout_id(number, payout) for payout in payouts}
    assert {row.payout_id: row.index for row in rows} == {
        payout_id(number, each): each.index for each in payouts
    }

    # 500 reached the merchant's account. The rest is in the positions again, or never left them.
    assert await positions(pipeline) == [0, 500, 500, 500]
    assert await balances(pipeline) == {
        AccountKind.BANK_CUSTODY: 1_500,
        AccountKind.ORDER_HELD: 0,
        AccountKind.RECIPIENT_PAYABLE: 1_500,
        AccountKind.BUYER_REFUND_PAYABLE: 0,
        AccountKind.IN_TRANSIT: 0,
    }
    await pipeline.check_reconciled()


async def test_what_comes_back_is_paid_by_a_later_cycle(pipeline: Pipeline, desk: Desk) -> None:
    await day(pipeline, desk)

    again = await close(pipeline, desk, (PROMOTER, 500), (COURIER, 500))
    desk.take(again)
    await pipeline.follow()
    assert (await balances(pipeline))[AccountKind.IN_TRANSIT] == 1_000
    desk.report(again, (1, PAID), (0, PAID))
    await pipeline.follow()

    assert (await payouts_of(pipeline))[4:] == [
        (PROMOTER.id, 500, "PAID", None),
        (COURIER.id, 500, "PAID", None),
    ]
    assert (await balances(pipeline))[AccountKind.BANK_CUSTODY] == 500
    await pipeline.check_reconciled()


async def test_every_step_of_a_cycle_reconciles_as_of_its_block(pipeline: Pipeline, desk: Desk) -> None:
    first = pipeline.mirror.checkpoint
    await day(pipeline, desk)

    assert first is not None
    assert pipeline.mirror.checkpoint is not None
    deployment = pipeline.world.system.deployment
    in_transit = []
    for block in range(first, pipeline.mirror.checkpoint + 1):
        found = await reconciliation(pipeline.database, pipeline.node, deployment, block)
        assert (found.block_number, found.differences) == (block, [])
        in_transit.append((await balances(pipeline, block))[AccountKind.IN_TRANSIT])
    assert in_transit == [0, 0, 900, 1_400, 500, 0, 0]


async def test_reasons_for_which_payouts_are_refused(pipeline: Pipeline, desk: Desk) -> None:
    world = pipeline.world
    world.register("suspend", PROMOTER.id)
    world.freeze(COURIER)
    number = await close(pipeline, desk, (PROMOTER, 500), (COURIER, 500), (SUPPLIER, 501), (MERCHANT, 2**95))

    desk.take(number)
    await pipeline.follow()

    assert await payouts_of(pipeline) == [
        (PROMOTER.id, 500, "REFUSED", "recipient_not_active"),
        (COURIER.id, 500, "REFUSED", "participant_frozen"),
        (SUPPLIER.id, 501, "REFUSED", "insufficient_position"),
        # More than any column holds; its record has all of it.
        (MERCHANT.id, 2**63 - 1, "REFUSED", "insufficient_position"),
    ]
    [cycle] = await pipeline.rows(CycleRow)
    assert (cycle.total, cycle.signed_total) == (2**63 - 1, 2**95 + 1_501)
    assert await positions(pipeline) == [500] * 4
    await pipeline.check_reconciled()


async def test_what_a_bank_writes_is_kept_whatever_it_is(pipeline: Pipeline, desk: Desk) -> None:
    """Zeros and letters of any kind, which not every database takes."""
    desk.scheme = "late\0\xff!"
    cycle, payouts = desk.cycle((MERCHANT, 500))
    assert cycle.scheme == desk.scheme
    number = await close(pipeline, desk, (MERCHANT, 500))
    desk.take(number)
    call = desk.report_call(number, (0, FAILED))
    [outcome] = call.outcomes
    odd = type(outcome)(outcome.payout_id, outcome.kind, "\0A\0\xe9")
    report = desk.signed_report(type(call)(number, (odd,), payouts, call.proofs, call.bank, b""))
    desk.attempt_report(report)
    await pipeline.follow()

    assert [row.scheme for row in await pipeline.rows(CycleRow)] == ["late\ufffd\xff!"]
    assert await payouts_of(pipeline) == [(MERCHANT.id, 500, "FAILED", "\ufffdA\ufffd\xe9")]
    await pipeline.check_reconciled()


async def test_two_payouts_of_one_index_are_followed_and_named(pipeline: Pipeline, desk: Desk) -> None:
    """The bank signed a tree that is none; the chain knows states by index, so one payout ends for the other."""
    cycle, payouts = desk.cycle((MERCHANT, 100), (PROMOTER, 90))
    number = cycle_id(cycle.currency, cycle.scheme, cycle.number)
    desk.payouts[number] = payouts = (payouts[0], replace(payouts[1], index=0))
    async with pipeline.database.read() as session:
        link = await head(session)
    signed = replace(cycle, payout_root=payout_root(number, payouts), journal_head=link.hash)
    desk.attempt_close(desk.signed(signed))
    desk.take(number, 0)
    desk.report(number, (1, FAILED))

    await pipeline.follow()

    assert await positions(pipeline) == [400, 590, 500, 500]
    assert (await balances(pipeline))[AccountKind.IN_TRANSIT] == 10
    found = await _differences(pipeline)
    assert {(each.check, each.subject) for each in found} == {
        (Check.PAYOUT, "0x" + payout_id(number, payout).hex()) for payout in payouts
    }


# ------------------------------------------------------------------------------ reorganisations, restarts


@pytest.mark.parametrize("kept", range(6))
async def test_a_reorganisation_takes_back_what_was_closed_taken_and_reported(
    pipeline: Pipeline, desk: Desk, kept: int
) -> None:
    world = pipeline.world
    pipeline.mine()
    await pipeline.follow()
    saved: list[tuple[Saved, list[int]]] = []

    async def note() -> None:
        await pipeline.follow()
        saved.append((world.save(), await positions(pipeline)))

    await note()
    number = await close(pipeline, desk, (MERCHANT, 500), (PROMOTER, 400), (SUPPLIER, 600))
    await note()
    desk.take(number)
    await note()
    desk.report(number, (0, PAID), (1, FAILED))
    await note()
    desk.report(number, (0, RETURNED))
    await note()
    again = await close(pipeline, desk, (MERCHANT, 500))
    desk.take(again)
    await note()
    states = [
        [],
        [],
        ["IN_TRANSIT", "IN_TRANSIT", "REFUSED"],
        ["PAID", "FAILED", "REFUSED"],
        ["RETURNED", "FAILED", "REFUSED"],
        ["RETURNED", "FAILED", "REFUSED", "IN_TRANSIT"],
    ]
    assert [state for _, _, state, _ in await payouts_of(pipeline)] == states[-1]

    before, then = saved[kept]
    world.restore(before)
    pipeline.mine(8)
    await pipeline.follow()

    assert [state for _, _, state, _ in await payouts_of(pipeline)] == states[kept]
    assert len(await pipeline.rows(CycleRow)) == (0, 1, 1, 1, 1, 2)[kept]
    assert await positions(pipeline) == then
    await pipeline.check_reconciled()


async def test_a_mirror_that_comes_late_reads_the_same(pipeline: Pipeline, desk: Desk) -> None:
    """All of a cycle in one range of blocks."""
    async with pipeline.database.read() as session:
        journal_head = (await head(session)).hash
    sums = (MERCHANT, 500), (PROMOTER, 400), (COURIER, 500), (SUPPLIER, 600)
    number = desk.close(*sums, journal_head=journal_head)
    desk.close(journal_head=journal_head)
    desk.take(number)
    desk.report(number, (0, PAID), (1, FAILED), (2, PAID))
    desk.report(number, (2, RETURNED))

    await pipeline.follow()

    assert [(state, reason) for _, _, state, reason in await payouts_of(pipeline)] == SEEN[-1]
    assert sorted((row.number, row.payouts) for row in await pipeline.rows(CycleRow)) == [(1, 4), (2, 0)]
    assert await positions(pipeline) == [0, 500, 500, 500]
    await pipeline.check_reconciled()


async def test_a_mirror_that_was_killed_between_the_steps_goes_on(pipeline: Pipeline, desk: Desk) -> None:
    number = await close(pipeline, desk, (MERCHANT, 500), (PROMOTER, 500))
    await pipeline.follow()
    steps: list[Callable[[], Settled]] = [
        lambda: desk.take(number),
        lambda: desk.report(number, (0, PAID), (1, FAILED)),
        lambda: desk.report(number, (0, RETURNED)),
    ]
    for step in steps:
        await pipeline.take_over()
        step()
        await pipeline.follow()

    states = [(state, reason) for _, _, state, reason in await payouts_of(pipeline)]
    assert states == [("RETURNED", BANK_CODE), ("FAILED", BANK_CODE)]
    assert await positions(pipeline) == [500] * 4
    await pipeline.check_reconciled()


# ------------------------------------------------------------------------------ instructions


async def _asked(pipeline: Pipeline, cycle_id: bytes, first: int, end: int) -> int:
    """A TAKE that nobody has sent."""
    taking = payloads.Taking(1, cycle_id, first, end)
    async with pipeline.database.write() as session:
        row = pipeline.unsent(InstructionType.TAKE, cycle_id, bytes(32), taking)
        session.add(row)
        await session.flush()
        return row.seq


async def test_payouts_that_somebody_else_took_need_not_be_taken(pipeline: Pipeline, desk: Desk) -> None:
    number = await close(pipeline, desk, (MERCHANT, 500), (PROMOTER, 501), (COURIER, 500), (SUPPLIER, 500))
    other = await close(pipeline, desk, (MERCHANT, 1))
    await pipeline.follow()
    seqs = [await _asked(pipeline, *each) for each in ((number, 0, 2), (number, 2, 4), (other, 0, 1))]

    desk.take(number, 0, 1, 2)
    await pipeline.follow()
    assert await pipeline.states(*seqs) == ["SETTLED", "ACCEPTED", "ACCEPTED"]
    before = pipeline.world.save()
    desk.take(number)
    await pipeline.follow()
    assert await pipeline.states(*seqs) == ["SETTLED", "SETTLED", "ACCEPTED"]

    pipeline.world.restore(before)
    pipeline.mine(2)
    await pipeline.follow()
    assert await pipeline.states(*seqs) == ["SETTLED", "ACCEPTED", "ACCEPTED"]


# ------------------------------------------------------------------------------ what was changed is named


@ON_SQLITE
@pytest.mark.parametrize(
    ("entity", "values", "check"),
    [
        (CycleRow, {"total": 1}, Check.CYCLE),
        (CycleRow, {"to_block": 1}, Check.CYCLE),
        (CycleRow, {"payout_root": bytes(32)}, Check.CYCLE),
        (CycleRow, {"journal_head": bytes(32)}, Check.CYCLE),
        (CycleRow, {"scheme": "late"}, Check.CYCLE),
        (PayoutRow, {"state": "RETURNED"}, Check.PAYOUT),
        (PayoutRow, {"reason": "AC01"}, Check.PAYOUT),
        (PayoutRow, {"amount": 1}, Check.PAYOUT),
        (PayoutRow, {"participant_id": MALL.id}, Check.PAYOUT),
        (PayoutRow, {"index": 7}, Check.PAYOUT),
        (PayoutRow, None, Check.PAYOUT),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
async def test_a_changed_row_is_named(
    pipeline: Pipeline, desk: Desk, entity: type[Any], values: dict[str, Any] | None, check: Check
) -> None:
    number = await close(pipeline, desk, (MERCHANT, 500), (PROMOTER, 500))
    desk.take(number)
    desk.report(number, (0, PAID))
    await pipeline.follow()
    await pipeline.check_reconciled()
    [changed] = [row for row in await pipeline.rows(entity) if getattr(row, "state", "PAID") == "PAID"]
    is_payout = entity is PayoutRow
    where = PayoutRow.payout_id == changed.payout_id if is_payout else CycleRow.cycle_id == number
    async with pipeline.database.write() as session:
        await session.execute(
            delete(entity).where(where) if values is None else update(entity).where(where).values(values)
        )

    found = await _differences(pipeline)

    named = "0x" + changed.payout_id.hex() if is_payout else "standard 1"
    assert check in {each.check for each in found}
    assert "scheme" in (values or ()) or named in {each.subject for each in found}
    assert {each.check for each in found} <= _OF_CLEARING


_OF_CLEARING = {Check.PAYOUT, Check.CYCLE, Check.CYCLES, Check.RECORD, Check.JOURNAL}


async def _differences(pipeline: Pipeline) -> list[Difference]:
    return await reconcile(pipeline.database, pipeline.node, pipeline.world.system.deployment)


@ON_SQLITE
@pytest.mark.parametrize(
    "kind", [RecordKind.CYCLE, RecordKind.PAYOUT, RecordKind.PAYOUT_PAID, RecordKind.PAYOUT_FAILED]
)
@pytest.mark.parametrize(
    "values",
    [{"amount": 3}, {"instruction_id": bytes(32)}, {"cycle_id": bytes(32)}, {"leaf": bytes(32)}],
    ids=["amount", "instruction_id", "cycle_id", "leaf"],
)
async def test_a_changed_record_is_named(
    pipeline: Pipeline, desk: Desk, kind: RecordKind, values: dict[str, Any]
) -> None:
    number = await close(pipeline, desk, (MERCHANT, 500), (PROMOTER, 500))
    desk.take(number)
    desk.report(number, (0, PAID), (1, FAILED))
    await pipeline.follow()
    await drop_triggers(pipeline.database)
    [record, *_] = await pipeline.rows(tables.Record, tables.Record.kind == int(kind))
    async with pipeline.database.write() as session:
        await session.execute(
            update(tables.Record)
            .where(tables.Record.id == record.id)
            .values(values)
            .execution_options(synchronize_session=False)
        )

    assert await _differences(pipeline) != []


# ------------------------------------------------------------------------------ what cycles anchored


@ON_SQLITE
async def test_a_journal_that_was_made_anew_is_not_the_one_that_a_cycle_anchored(
    pipeline: Pipeline, desk: Desk
) -> None:
    """Postings and links fit each other again; the chain has the head that they had."""
    world = pipeline.world
    first = await close(pipeline, desk, (MERCHANT, 500))
    desk.take(first)
    await close(pipeline, desk)
    order = world.captured(100, rule=PAIR, bindings=(MERCHANT.id, PROMOTER.id))
    world.did(world.split(order.order_id, 100))
    await pipeline.follow()
    async with pipeline.database.read() as session:
        examined = await examine_journal(session)
        anchored = [row.journal_head for row in await pipeline.rows(CycleRow)]
        at = {row.number: row.at_block for row in await pipeline.rows(CycleRow)}
        heads = [await head_at(session, at[number]) for number in (1, 2)]
    assert (examined.fault, examined.anchored) == (None, 2)
    assert {link.hash for link in heads} == set(anchored)
    assert heads[0] < heads[1] < examined.head

    # The taking, between the two cycles, is posted as if it had been 499.
    await drop_triggers(pipeline.database)
    [taking] = await pipeline.rows(tables.Record, tables.Record.kind == int(RecordKind.PAYOUT))
    async with pipeline.database.write() as session:
        for row in (tables.Posting, tables.Allocation):
            await session.execute(
                update(row)
                .where(row.record_id == taking.id)
                .values(amount=499)
                .execution_options(synchronize_session=False)
            )
        await session.execute(delete(tables.JournalLink))
        await link_stored(session, 1)

    async with pipeline.database.read() as session:
        examined = await examine_journal(session)
        found = await newest_anchor(session)
    second = "0x" + heads[1].hash.hex()
    assert examined.fault == Fault(
        "cycle CNY/standard/2",
        f"{second} at the end of block {at[2]}, as it anchored",
        f"0x{found.link.hash.hex()}, link {heads[1].number}" if found else "",
    )
    assert found is not None
    assert not found.agrees
    assert Check.JOURNAL in {each.check for each in await _differences(pipeline)}


@given(
    st.lists(st.integers(0, 9), max_size=20),
    st.lists(st.integers(0, 10), max_size=6),
    st.integers(0, 5),
)
def test_each_anchor_is_compared_with_the_newest_link_up_to_its_block(
    blocks: list[int], at: list[int], broken: int
) -> None:
    """Links of all blocks in any order, as reorganisations leave them."""
    made = [Link(n, n, block, bytes([n]) * 32) for n, block in enumerate(blocks, 1)]

    def newest(block: int) -> Link:
        return max((link for link in made if link.block_number <= block), default=NO_LINK)

    good = [Anchor(bytes(32), "CNY", "s", n, block, newest(block).hash) for n, block in enumerate(at, 1)]
    anchors = Anchors(good)
    for link in made:
        anchors.take(link)
    assert anchors.first_broken() is None

    if good:
        changed = good[broken % len(good)]._replace(journal_head=b"?" * 32)
        anchors = Anchors([*good[: broken % len(good)], changed, *good[broken % len(good) + 1 :]])
        for link in made:
            anchors.take(link)
        assert anchors.first_broken() == (changed, newest(changed.at_block))
