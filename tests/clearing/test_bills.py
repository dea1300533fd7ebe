"""Daily bills over real records: successes and failures, positions, other days, and the same bytes again."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest
from sqlalchemy import update

from fenzhang.chain.views import ChainView
from fenzhang.clearing.bills.errors import BillDoesNotAddUp, DayNotFinal
from fenzhang.clearing.bills.formats import BillFormat
from fenzhang.clearing.bills.lines import BillKind, LineKind, Subject
from fenzhang.domain.days import Day
from fenzhang.domain.rules import RuleTerms
from fenzhang.ledger.chart import AccountKey, Chart, order_held, payable
from fenzhang.ledger.posting import Draft, post
from fenzhang.store import tables
from fenzhang.store.payloads import Resolution
from fenzhang.store.tables import InstructionType
from pipeline.harness import Pipeline
from support.bills import (
    OF_MALL,
    content,
    lines,
    of_kind,
    of_merchant,
    of_participant,
    over,
    reach,
    settled,
    today,
    traffic,
)
from support.parties import BOTH, COURIER, MALL, MERCHANT, PAIR, PROMOTER, SHOP, VENDING, ident
from support.system import GUARDIAN

pytestmark = pytest.mark.either_database

PARKING = replace(PAIR, rule_id=ident("rule", "parking"), terms=RuleTerms(park=True))
ALL_KINDS = (OF_MALL, of_merchant(MERCHANT), of_participant(PROMOTER), of_participant(MERCHANT))


async def ask_to_resolve(pipeline: Pipeline) -> int:
    """Accept, as intake does, that what waits for the promoter be given to whom it is for."""
    seq = await pipeline.ask(InstructionType.RESOLVE, MALL.id, Resolution(PROMOTER.id, "CNY"))
    async with pipeline.database.write() as session:
        row = tables.Instruction
        await session.execute(update(row).where(row.seq == seq).values(id=PROMOTER.id))
    return seq


async def test_a_bill_has_every_success_and_every_failure_once(pipeline: Pipeline) -> None:
    day = today(pipeline)
    await traffic(pipeline)
    await over(pipeline, day)

    found = await lines(pipeline.database, OF_MALL, day)

    records = of_kind(found, LineKind.RECORD)
    rows = {row.id: row for row in await pipeline.rows(tables.Instruction)}
    assert {row.state for row in rows.values()} == {"SETTLED", "REJECTED"}
    assert sorted(line["instruction_id"] for line in records) == sorted("0x" + n.hex() for n in rows)
    for line in records:
        row = rows[bytes.fromhex(line["instruction_id"][2:])]
        assert (line["kind"], line["state"]) == (row.type, row.state)
        assert line["reason"] == (row.reason["code"] if row.reason else None)
        assert row.reference in {line[name] for name in line if name.startswith("out_")}
        assert (line["block_number"], line["tx_hash"]) == (row.block_number, "0x" + row.tx_hash.hex())
        assert line["exponent"] == {"CNY": 2, "JPY": 0, None: None}[line["currency"]]
    assert {(line["kind"], line["reason"]) for line in records if line["reason"]} == {
        ("SPLIT", "insufficient_held"),
        ("SPLIT", "unknown_order"),
        ("SPLIT", "deadline_passed"),
        ("CAPTURE", "recipient_not_consented"),
    }
    [refused] = [line for line in records if line["batch"] is None]
    assert refused["reason"] == "deadline_passed"
    places = [(line["block_number"], line["log_index"]) for line in records]
    assert places == sorted(places)
    leaves = of_kind(found, LineKind.ALLOCATION)
    assert sum(line["change"] for line in leaves if line["currency"] == "JPY") == 7_001
    assert [found[0]["line"], found[-1]["line"]] == [LineKind.BILL, LineKind.END]
    assert found[-1]["lines"] == len(found) - 1


async def test_every_line_with_a_record_can_be_proven(pipeline: Pipeline) -> None:
    day = today(pipeline)
    await traffic(pipeline)
    await over(pipeline, day)
    found = of_kind(await lines(pipeline.database, OF_MALL, day), LineKind.RECORD)
    records = {(row.batch, row.leaf_index): row for row in await pipeline.rows(tables.Record)}
    told = {(line["batch"], line["leaf_index"]): line["leaf"] for line in found if line["batch"]}
    assert told == {place: "0x" + row.leaf.hex() for place, row in records.items()}


async def test_totals_are_those_of_the_ledger_and_the_chain(pipeline: Pipeline) -> None:
    world = pipeline.world
    day = today(pipeline)
    await traffic(pipeline)
    await over(pipeline, day)
    view = ChainView(pipeline.node, world.system.deployment)

    totals = of_kind(await lines(pipeline.database, OF_MALL, day), LineKind.TOTAL)

    for currency in ("CNY", "JPY"):
        sums = {
            line["kind"]: line["amount"]
            for line in totals
            if (line["currency"], line["state"]) == (currency, "SETTLED")
        }
        chain = await view.totals(currency)
        assert sums["CAPTURE"] == chain.captured
        assert sums.get("REFUND", 0) == chain.refunded
        taken = sums["CAPTURE"] - sums["SPLIT"] - sums.get("RELEASE", 0) + sums.get("RETURN", 0)
        assert chain.held in {taken, taken - sums.get("REFUND", 0)}
    for who in (PROMOTER, MERCHANT):
        found = await lines(pipeline.database, of_participant(who), day)
        for closing in of_kind(found, LineKind.CLOSING):
            assert closing["amount"] == world.position(who, closing["currency"])
            assert closing["participant_id"] == "0x" + who.id.hex()
        assert {line["currency"] for line in of_kind(found, LineKind.CLOSING)} == {"CNY", "JPY"}
    await pipeline.check_reconciled()


async def test_a_bill_is_the_same_bytes_whenever_it_is_made(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = pipeline.world
    day = today(pipeline)
    await traffic(pipeline)
    await over(pipeline, day)
    before = [await content(pipeline.database, who, day, form) for who in ALL_KINDS for form in BillFormat]

    # What was unknown that day is known afterwards, and the refused split settles under another authorization.
    await settled(pipeline, world.capture(77, order_id=ident("order", "unknown"), rule=PAIR))
    rejected = [
        r for r in await pipeline.rows(tables.Instruction) if r.state == "REJECTED" and r.type == "SPLIT"
    ]
    await settled(pipeline, world.capture(3, rule=PAIR, currency="JPY"))
    await pipeline.take_over()
    pipeline.world.node.request("anvil_reorg", 1, [])
    await pipeline.follow()
    monkeypatch.setattr("fenzhang.clearing.bills.reading._WINDOW", 1)

    assert rejected
    assert before == [
        await content(pipeline.database, who, day, form) for who in ALL_KINDS for form in BillFormat
    ]


async def test_what_was_rejected_and_settles_later_is_on_both_bills(pipeline: Pipeline) -> None:
    world = pipeline.world
    order = world.capture(1_000, rule=PAIR)
    await settled(pipeline, order)
    split = world.split(order.order_id, 600)
    day = today(pipeline)
    late = world.authorize(split, deadline=1)
    [seq] = await settled(pipeline, split, signed=late)
    assert await pipeline.states(seq) == ["REJECTED"]
    await over(pipeline, day)
    before = await content(pipeline.database, OF_MALL, day)
    next_day = today(pipeline)
    pipeline.relay(world.authorize(split), witnesses=[await pipeline.witness(order)])
    await pipeline.follow()
    assert await pipeline.states(seq) == ["SETTLED"]
    await over(pipeline, next_day)

    assert await content(pipeline.database, OF_MALL, day) == before
    [first] = [
        r for r in of_kind(await lines(pipeline.database, OF_MALL, day), "RECORD") if r["kind"] == "SPLIT"
    ]
    [then] = of_kind(await lines(pipeline.database, OF_MALL, next_day), "RECORD")
    assert (first["state"], then["state"]) == ("REJECTED", "SETTLED")
    assert first["out_split_no"] == then["out_split_no"] is not None


async def test_a_participants_bill_goes_from_one_position_to_the_next(pipeline: Pipeline) -> None:
    world = pipeline.world
    await pipeline.add_rules(world.put_in_force(PARKING))
    order = world.capture(1_000, rule=PARKING, bindings=(PROMOTER.id, MERCHANT.id))
    first = today(pipeline)
    await settled(pipeline, order, world.split(order.order_id, 200))
    await over(pipeline, first)
    second = today(pipeline)
    world.register("suspend", PROMOTER.id)
    await settled(pipeline, world.split(order.order_id, 300), world.split(order.order_id, 5_000))
    refused = await ask_to_resolve(pipeline)
    await pipeline.settle_all()
    assert await pipeline.states(refused) == ["REJECTED"]
    await over(pipeline, second)
    third = today(pipeline)
    world.register("close", PROMOTER.id)
    world.act(GUARDIAN, "ParticipantRegistry", "nameHeir", PROMOTER.id, COURIER.id)
    asked = await ask_to_resolve(pipeline)
    await pipeline.settle_all()
    assert await pipeline.states(asked) == ["SETTLED"]
    await over(pipeline, third)

    async def told(who: Subject, day: Day) -> tuple[list[Any], list[Any]]:
        found = await lines(pipeline.database, who, day)
        moves = [
            (line["kind"], line["state"], line["change"], line["parked"])
            for line in found
            if line["line"] in {"RECORD", "ALLOCATION"}
        ]
        return moves, [
            (x["line"], x["parked"], x["amount"]) for x in found if x["line"] in {"OPENING", "CLOSING"}
        ]

    promoter = of_participant(PROMOTER)
    moves, balances = await told(promoter, first)
    assert moves == [("SPLIT", "SETTLED", 100, False)]
    assert balances == [("OPENING", False, 0), ("CLOSING", False, 100)]
    moves, balances = await told(promoter, second)
    assert moves == [
        ("SPLIT", "SETTLED", 150, True),
        ("SPLIT", "REJECTED", None, None),
        ("RESOLUTION", "REJECTED", None, None),
    ]
    own = [("OPENING", False, 100), ("CLOSING", False, 100)]
    assert balances == [*own, ("OPENING", True, 0), ("CLOSING", True, 150)]
    moves, balances = await told(promoter, third)
    assert moves == [("RESOLUTION", "SETTLED", -150, True)]
    assert balances == [*own, ("OPENING", True, 150), ("CLOSING", True, 0)]
    moves, balances = await told(of_participant(COURIER), third)
    assert moves == [("RESOLUTION", "SETTLED", 150, False)]
    [record] = of_kind(await lines(pipeline.database, OF_MALL, third), LineKind.RECORD)
    row = await pipeline.instruction(asked)
    assert (record["kind"], record["out_request_no"]) == ("RESOLUTION", row.reference)


async def test_other_platforms_are_on_a_participants_bill_without_names(pipeline: Pipeline) -> None:
    world = pipeline.world
    day = today(pipeline)
    mine = world.capture(500, rule=PAIR, bindings=(BOTH.id, MERCHANT.id))
    theirs = world.capture(300, rule=VENDING, bindings=(BOTH.id,), merchant=BOTH)
    pipeline.owners[theirs.order_id] = SHOP.id
    await settled(pipeline, mine, theirs, world.split(mine.order_id, 500), world.split(theirs.order_id, 300))
    await over(pipeline, day)

    found = of_kind(await lines(pipeline.database, of_participant(BOTH), day), LineKind.ALLOCATION)

    assert sorted(line["change"] for line in found) == [250, 300]
    named = {line["change"]: line for line in found}
    hidden = ("order_id", "instruction_id", "split_id", "platform_id", "out_order_no", "out_split_no")
    assert {named[300][name] for name in hidden} == {None}
    assert named[250]["order_id"] == "0x" + mine.order_id.hex()
    assert named[300]["tx_hash"] is not None
    shop = await lines(pipeline.database, Subject(BillKind.PLATFORM, SHOP.id, SHOP.name), day)
    assert {line["order_id"] for line in of_kind(shop, LineKind.RECORD)} == {"0x" + theirs.order_id.hex()}


async def test_a_merchants_bill_is_about_its_orders_alone(pipeline: Pipeline) -> None:
    world = pipeline.world
    day = today(pipeline)
    one, two = world.capture(500, rule=PAIR), world.capture(300, rule=PAIR, merchant=BOTH)
    await settled(pipeline, one, two, world.split(one.order_id, 501), world.split(two.order_id, 300))
    await over(pipeline, day)
    found = of_kind(await lines(pipeline.database, of_merchant(MERCHANT), day), LineKind.RECORD)
    assert [(line["kind"], line["state"]) for line in found] == [
        ("CAPTURE", "SETTLED"),
        ("SPLIT", "REJECTED"),
    ]
    assert {line["order_id"] for line in found} == {"0x" + one.order_id.hex()}


async def test_a_rejection_is_on_the_bills_of_all_whom_the_order_names(pipeline: Pipeline) -> None:
    world = pipeline.world
    day = today(pipeline)
    order = world.capture(1_000)
    await settled(pipeline, order, world.split(order.order_id, 1_001))
    await over(pipeline, day)
    for who, expected in ((MALL, 1), (MERCHANT, 1), (COURIER, 1), (BOTH, 0)):
        found = of_kind(await lines(pipeline.database, of_participant(who), day), LineKind.RECORD)
        assert [line["reason"] for line in found] == ["insufficient_held"] * expected


async def test_what_a_reorganisation_took_away_is_told_once(pipeline: Pipeline) -> None:
    world = pipeline.world
    day = today(pipeline)
    order = world.capture(1_000, rule=PAIR)
    await settled(pipeline, order)
    late = world.authorize(world.split(order.order_id, 600), deadline=1)
    too_much = world.split(order.order_id, 5_000)
    seqs = [*await pipeline.accept(too_much), *await pipeline.accept_signed(late)]
    await pipeline.round()
    assert await pipeline.states(*seqs) == ["REJECTED"] * 2
    world.node.request("anvil_reorg", 1, [])
    await pipeline.follow()
    assert await pipeline.rows(tables.Rejection) == []
    await pipeline.settle_all()
    await over(pipeline, day)

    found = of_kind(await lines(pipeline.database, OF_MALL, day), LineKind.RECORD)

    assert await pipeline.states(*seqs) == ["REJECTED"] * 2
    assert sorted((line["kind"], line["reason"] or "") for line in found) == [
        ("CAPTURE", ""),
        ("SPLIT", "deadline_passed"),
        ("SPLIT", "insufficient_held"),
    ]


async def test_what_strangers_relayed_is_the_platforms_that_signed_it(pipeline: Pipeline) -> None:
    world = pipeline.world
    day = today(pipeline)
    order = world.capture(1_000, rule=PAIR)
    pipeline.relay(world.attest(order))
    await pipeline.follow()
    pipeline.relay(
        world.authorize(world.split(order.order_id, 2_000)), witnesses=[await pipeline.witness(order)]
    )
    pipeline.relay(
        world.authorize(world.split(order.order_id, 10), platform=SHOP),
        witnesses=[await pipeline.witness(order)],
    )
    pipeline.relay(world.attest(order))
    await over(pipeline, day)

    found = of_kind(await lines(pipeline.database, OF_MALL, day), LineKind.RECORD)

    assert [(line["kind"], line["state"], line["out_order_no"]) for line in found] == [
        ("CAPTURE", "SETTLED", None),
        ("SPLIT", "REJECTED", None),
        ("CAPTURE", "REJECTED", None),
    ]
    shop = await lines(pipeline.database, Subject(BillKind.PLATFORM, SHOP.id, SHOP.name), day)
    [foreign] = of_kind(shop, LineKind.RECORD)
    assert (foreign["state"], foreign["currency"], foreign["amount"]) == ("REJECTED", None, 10)


async def test_days_of_a_history_are_the_whole_of_it(pipeline: Pipeline) -> None:
    world = pipeline.world
    zone = ZoneInfo("America/New_York")
    months = [Day.of("2027-03-13", zone), Day.of("2027-11-06", zone), Day.of("2027-12-30", zone)]
    order = world.capture(100_000, rule=PAIR)
    days = [Day.at(world.node.now, zone)]
    await settled(pipeline, order)
    for start in months:
        for hours in (1, 20, 24, 30, 47, 50):
            await reach(pipeline, start.begin + hours * 3_600)
            await settled(
                pipeline, world.split(order.order_id, 1 + hours), world.split(order.order_id, 10**9)
            )
            days.append(Day.at(world.node.now, zone))
    await over(pipeline, Day.at(world.node.now, zone))
    await reach(pipeline, world.node.now + 2 * 86_400)  # over in every time zone
    split_up = []
    previous = 0
    for day in dict.fromkeys(days):
        found = await lines(pipeline.database, of_participant(PROMOTER), day)
        for opening in of_kind(found, LineKind.OPENING):
            assert opening["amount"] == previous
        for closing in of_kind(found, LineKind.CLOSING):
            previous = closing["amount"]
        split_up += of_kind(await lines(pipeline.database, OF_MALL, day), LineKind.RECORD)
    rows = await pipeline.rows(tables.Record)
    assert [line["leaf"] for line in split_up] == ["0x" + row.leaf.hex() for row in rows]
    assert previous == world.position(PROMOTER)
    assert {day.end - day.begin for day in days} >= {23 * 3_600, 24 * 3_600, 25 * 3_600}
    assert any(day.date.isoformat() == "2028-01-01" for day in days)
    times = {block.number: block.timestamp for block in await pipeline.rows(tables.Block)}
    for name in random.Random(20261122).sample(sorted(available_timezones()), 5):
        elsewhere = ZoneInfo(name)
        told = []
        for day in dict.fromkeys(Day.at(times[row.block_number], elsewhere) for row in rows):
            told += of_kind(await lines(pipeline.database, OF_MALL, day), LineKind.RECORD)
        assert [line["leaf"] for line in told] == ["0x" + row.leaf.hex() for row in rows]


async def test_a_day_that_may_change_has_no_bill(pipeline: Pipeline) -> None:
    day = today(pipeline)
    await settled(pipeline, pipeline.world.capture(5, rule=PAIR))
    with pytest.raises(DayNotFinal):
        await content(pipeline.database, OF_MALL, day)
    await over(pipeline, day)
    with pytest.raises(DayNotFinal):
        await content(pipeline.database, OF_MALL, day, depth=3)
    pipeline.mine(3)
    await pipeline.follow()
    assert await content(pipeline.database, OF_MALL, day, depth=3) == await content(
        pipeline.database, OF_MALL, day
    )


@pytest.mark.parametrize("who", [OF_MALL, of_merchant(MERCHANT), of_participant(PROMOTER)])
async def test_a_ledger_that_was_changed_has_no_bill(pipeline: Pipeline, who: Subject) -> None:
    day = today(pipeline)
    order = pipeline.world.capture(500, rule=PAIR)
    await settled(pipeline, order, pipeline.world.split(order.order_id, 500))
    record = (await pipeline.rows(tables.Record))[-1]
    async with pipeline.database.write() as session:
        accounts: tuple[AccountKey, AccountKey] = (order_held("CNY"), payable("CNY", PROMOTER.id))
        changed = Draft(*accounts, 1, record.id, record.block_number)
        await post(session, Chart(), [changed], {record.id: record.leaf})
    await over(pipeline, day)
    with pytest.raises(BillDoesNotAddUp):
        await content(pipeline.database, who, day)
