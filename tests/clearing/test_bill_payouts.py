"""Payouts on daily bills: taken, paid, failed, returned, refused; positions lead from one day to the next."""

from __future__ import annotations

from typing import Any

import pytest

from fenzhang.chain.views import ChainView
from fenzhang.clearing.bills.formats import BillFormat
from fenzhang.clearing.bills.lines import BillKind, LineKind, Subject
from fenzhang.domain.clearing import IN_TRANSIT, PAID, OutcomeKind
from fenzhang.domain.days import Day
from pipeline.harness import Pipeline
from support.bills import OF_MALL, content, lines, of_kind, of_merchant, of_participant, over, today
from support.clearing import BANK_CODE, Desk
from support.parties import COURIER, MERCHANT, PROMOTER, SHOP, SUPPLIER
from support.paying import close, market

pytestmark = pytest.mark.either_database

REFUSED = "insufficient_position"


async def three_days(pipeline: Pipeline) -> tuple[Desk, bytes, list[Day]]:
    """Four payouts of which one is refused and one fails; one comes back on the next day, and is paid on the third."""
    desk = await market(pipeline)
    days = [today(pipeline)]
    number = await close(pipeline, desk, (MERCHANT, 500), (PROMOTER, 400), (COURIER, 500), (SUPPLIER, 600))
    desk.take(number)
    desk.report(number, (0, OutcomeKind.PAID), (1, OutcomeKind.FAILED), (2, OutcomeKind.PAID))
    await over(pipeline, days[0])
    days.append(today(pipeline))
    desk.report(number, (2, OutcomeKind.RETURNED))
    await over(pipeline, days[1])
    days.append(today(pipeline))
    again = await close(pipeline, desk, (COURIER, 500))
    desk.take(again)
    desk.report(again, (0, OutcomeKind.PAID))
    await over(pipeline, days[2])
    return desk, number, days


def told(found: list[dict[str, Any]], *names: str, kind: str = LineKind.RECORD) -> list[tuple[Any, ...]]:
    return [tuple(line[name] for name in names) for line in of_kind(found, kind) if line["payout_id"]]


async def test_a_platforms_bill_tells_what_became_of_each_payout(pipeline: Pipeline) -> None:
    desk, number, days = await three_days(pipeline)
    names = "kind", "state", "reason", "amount", "currency", "scheme", "cycle"

    found = await lines(pipeline.database, OF_MALL, days[0])

    cycle = ("CNY", "standard", 1)
    assert told(found, *names) == [
        ("PAYOUT", "SETTLED", None, 500, *cycle),
        ("PAYOUT", "SETTLED", None, 400, *cycle),
        ("PAYOUT", "SETTLED", None, 500, *cycle),
        ("PAYOUT", "REJECTED", REFUSED, 600, *cycle),
        ("PAYOUT_PAID", "SETTLED", None, 500, *cycle),
        ("PAYOUT_FAILED", "SETTLED", BANK_CODE, 400, *cycle),
        ("PAYOUT_PAID", "SETTLED", None, 500, *cycle),
    ]
    assert told(found, "out_participant_no", "change", kind=LineKind.ALLOCATION) == [
        (MERCHANT.name, -500),
        (PROMOTER.name, -400),
        (COURIER.name, -500),
        (MERCHANT.name, 0),
        (PROMOTER.name, 400),
        (COURIER.name, 0),
    ]
    [refused] = [line for line in of_kind(found, LineKind.RECORD) if line["reason"] == REFUSED]
    assert (refused["out_participant_no"], refused["participant_id"]) == (
        SUPPLIER.name,
        f"0x{SUPPLIER.id.hex()}",
    )
    assert {line["cycle_id"] for line in found if line["payout_id"]} == {"0x" + number.hex()}
    assert all(line["leaf"] and line["tx_hash"] and not line["instruction_id"] for line in told_lines(found))
    again = await lines(pipeline.database, OF_MALL, days[1])
    assert told(again, *names) == [("PAYOUT_RETURNED", "SETTLED", BANK_CODE, 500, *cycle)]
    assert desk.moving() == (0, 1_000)


def told_lines(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in of_kind(found, LineKind.RECORD) if line["payout_id"]]


async def test_totals_of_payouts_are_those_of_the_chain(pipeline: Pipeline) -> None:
    _, _, days = await three_days(pipeline)
    sums: dict[str, int] = {}
    for day in days:
        for total in of_kind(await lines(pipeline.database, OF_MALL, day), LineKind.TOTAL):
            if total["state"] == "SETTLED":
                sums[total["kind"]] = sums.get(total["kind"], 0) + total["amount"]

    view = ChainView(pipeline.node, pipeline.world.system.deployment)
    in_transit, paid = await view.positions("CNY", [IN_TRANSIT, PAID])

    assert paid == sums["PAYOUT_PAID"] - sums["PAYOUT_RETURNED"] == 1_000
    assert in_transit == sums["PAYOUT"] - sums["PAYOUT_PAID"] - sums["PAYOUT_FAILED"] == 0
    await pipeline.check_reconciled()


async def test_a_participants_positions_add_up_from_day_to_day(pipeline: Pipeline) -> None:
    _, _, days = await three_days(pipeline)
    expected = {
        MERCHANT: ([500, -500, 0], [], []),
        PROMOTER: ([500, -400, 400], [], []),
        COURIER: ([500, -500, 0], [500], [-500, 0]),
        SUPPLIER: ([500], [], []),
    }
    for who, changes in expected.items():
        position = 0
        for day, of_day in zip(days, changes, strict=True):
            found = await lines(pipeline.database, of_participant(who), day)
            assert [line["change"] for line in of_kind(found, LineKind.ALLOCATION)] == of_day
            for balance in of_kind(found, LineKind.OPENING):
                assert balance["amount"] == position
            position += sum(of_day)
            for balance in of_kind(found, LineKind.CLOSING):
                assert balance["amount"] == position
        assert position == pipeline.world.position(who)
    first = await lines(pipeline.database, of_participant(SUPPLIER), days[0])
    assert told(first, "kind", "state", "reason", "amount", "out_participant_no") == [
        ("PAYOUT", "REJECTED", REFUSED, 600, SUPPLIER.name)
    ]
    [total] = [t for t in of_kind(first, LineKind.TOTAL) if t["state"] == "REJECTED"]
    assert (total["kind"], total["amount"], total["change"]) == ("PAYOUT", 600, None)


async def test_payouts_are_nobody_elses_business(pipeline: Pipeline) -> None:
    _, _, days = await three_days(pipeline)
    shop = Subject(BillKind.PLATFORM, SHOP.id, SHOP.name)
    for who in (shop, of_merchant(MERCHANT)):
        assert told_lines(await lines(pipeline.database, who, days[0])) == []


async def test_later_payouts_and_outcomes_do_not_change_a_bill(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = await market(pipeline)
    day = today(pipeline)
    number = await close(pipeline, desk, (MERCHANT, 500), (SUPPLIER, 501))
    desk.take(number)
    await over(pipeline, day)
    subjects = OF_MALL, of_participant(MERCHANT), of_participant(SUPPLIER)

    async def made() -> list[bytes]:
        return [await content(pipeline.database, who, day, form) for who in subjects for form in BillFormat]

    before = await made()
    desk.report(number, (0, OutcomeKind.PAID))
    desk.report(number, (0, OutcomeKind.RETURNED))
    again = await close(pipeline, desk, (MERCHANT, 500))
    desk.take(again)
    await pipeline.take_over()
    await pipeline.follow()
    monkeypatch.setattr("fenzhang.clearing.bills.reading._WINDOW", 1)

    assert await made() == before
