"""Cycles from orders to money at the bank and back: contracts, mirror, closer, sandbox bank and sender together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import pytest

from clearing.bankside import CLOSED, HONEST, RETURNING
from clearing.bankside import SHOP as CLEARING_ACCOUNT
from clearing.closing import EVERY_S, UTC, House, Moody, continuous, house_of, one_scheme
from fenzhang.chain.evidence import verify_proof
from fenzhang.clearing.banks.interface import Refused
from fenzhang.clearing.banks.signatory import Signed
from fenzhang.clearing.bills.formats import BillFormat
from fenzhang.clearing.bills.lines import BillKind, Subject
from fenzhang.clearing.bills.making import Bill, make
from fenzhang.clearing.cycles import facts
from fenzhang.clearing.cycles.anchoring import bill_leaf
from fenzhang.clearing.cycles.choosing import deep_block
from fenzhang.clearing.cycles.config import ClosingConfig
from fenzhang.clearing.cycles.facts import Membership
from fenzhang.clearing.errors import BankUnavailable
from fenzhang.domain.calendar import BusinessDays, SettlementCalendar, Terms
from fenzhang.domain.days import Day
from fenzhang.domain.records import NOTHING
from fenzhang.domain.schemes import STANDARD, Scheme, Schemes
from fenzhang.sandboxbank.faults import Faults
from fenzhang.store.cycletables import AnchoredBill
from fenzhang.store.plans import split_proof
from fenzhang.store.tables import AccountKind, Block, Participant
from pipeline.harness import Pipeline
from support.parties import COURIER, MALL, MARKET, MERCHANT, PAIR, PROMOTER, SHOP, VENDING, VENDOR, party

pytestmark = pytest.mark.either_database


@pytest.fixture
async def house(pipeline: Pipeline, tmp_path: Path) -> AsyncIterator[House]:
    made = house_of(pipeline, tmp_path)
    await made.give_account(None, CLEARING_ACCOUNT)
    yield made
    await made.close()


async def test_what_is_due_is_paid_and_what_fails_is_paid_by_the_next_cycle(house: House) -> None:
    await house.give_account(MERCHANT, HONEST)
    await house.give_account(PROMOTER, CLOSED)
    await house.settle(1_000)
    await house.close_cycle()

    assert await house.payouts() == {
        (1, "merchant"): (500, "PAID", None),
        (1, "promoter"): (500, "FAILED", "AC04"),
    }
    assert house.pipeline.world.position(MERCHANT) == 0
    assert house.pipeline.world.position(PROMOTER) == 500
    await house.check()

    await house.give_account(PROMOTER, HONEST)
    await house.settle(100)
    await house.close_cycle()

    assert await house.payouts() == {
        (1, "merchant"): (500, "PAID", None),
        (1, "promoter"): (500, "FAILED", "AC04"),
        (2, "merchant"): (50, "PAID", None),
        (2, "promoter"): (550, "PAID", None),
    }
    held = await house.held_by_kind()
    assert held[AccountKind.BANK_CUSTODY] == held[AccountKind.RECIPIENT_PAYABLE] == 0
    await house.check()


async def test_what_comes_back_after_it_was_paid_is_due_again(house: House) -> None:
    """The statement tells both at once; the chain is told that it was paid, and that it came back."""
    await house.give_account(MERCHANT, RETURNING)
    await house.settle(1_000)
    house.bank.books.set_faults(Faults(pay_after_s=100))
    await house.close_cycle()
    assert await house.payouts() == {(1, "merchant"): (500, "IN_TRANSIT", None)}
    assert await house.left_out(1) == {"promoter": "NO_ACCOUNT"}
    await house.check()

    house.bank.books.set_faults(Faults())
    await house.at(house.now + 200)
    assert (await house.read_statements()).opened == ()
    await house.run_dry()

    assert await house.payouts() == {(1, "merchant"): (500, "RETURNED", "AC04")}
    assert house.pipeline.world.position(MERCHANT) == 500
    await house.check()


async def test_the_reasons_for_paying_nothing(house: House) -> None:
    world = house.pipeline.world
    for who in (MERCHANT, PROMOTER, COURIER, MALL):
        await house.give_account(who, HONEST)
    house.schemes_of = one_scheme(continuous(min_payout=100))
    house.restart()
    await house.settle(
        1_000, MARKET
    )  # 30 to the mall, 100 to the promoter, 217 to the courier, 653 to the merchant
    await house.settle(1_000, VENDING)
    world.freeze(PROMOTER)
    world.register("suspend", COURIER.id)
    world.consent(MERCHANT, MALL, granted=False)
    await house.close_cycle()

    assert await house.payouts() == {}
    assert await house.cycles() == []

    world.unfreeze(PROMOTER)
    await house.close_cycle()

    assert await house.payouts() == {(1, "promoter"): (100, "PAID", None)}
    assert await house.left_out(1) == {
        "mall": "BELOW_MINIMUM",
        "courier": "SUSPENDED",
        "merchant": "NOT_CONSENTED",
        "vendor": "NO_ACCOUNT",
    }
    await house.check()


async def test_a_position_that_falls_short_meanwhile_is_refused_and_paid_later(house: House) -> None:
    await house.give_account(MERCHANT, HONEST)
    split = await house.settle(1_000)
    await house.pass_cut_off()
    await house.round()  # planned and signed, to be closed
    [plan] = await house.plans()
    assert (plan.payouts, plan.total) == (1, 500)
    world = house.pipeline.world
    await house.pipeline.accept(world.give_back(split_order(house), split, 200))
    await house.pipeline.settle_all()
    await house.run_dry()
    assert await house.payouts() == {(1, "merchant"): (500, "REFUSED", "insufficient_position")}
    await house.check()

    await house.close_cycle()
    assert (await house.payouts())[2, "merchant"] == (400, "PAID", None)
    await house.check()


def split_order(house: House) -> bytes:
    """The order that was captured last."""
    return list(house.pipeline.owners)[-1]


async def test_schemes_close_apart_and_never_at_once(house: House) -> None:
    late = Scheme(
        "late", SettlementCalendar(BusinessDays(), Terms(UTC, (), 2 * EVERY_S, 0)), frozenset({SHOP.id})
    )
    house.schemes_of = lambda currency: Schemes(currency, {STANDARD: continuous(), "late": late})
    house.restart()
    await house.give_account(MERCHANT, HONEST)
    await house.give_account(VENDOR, HONEST)
    await house.at(house.now - house.now % (2 * EVERY_S) + 2 * EVERY_S)
    await house.settle(1_000)
    await house.settle(700, VENDING)
    await house.close_cycle()
    [first] = await house.cycles()
    assert (first.scheme, first.total) == (STANDARD, 500)

    await house.close_cycle()
    assert [(each.scheme, each.number, each.total) for each in await house.cycles()] == [
        (STANDARD, 1, 500),
        ("late", 1, 700),
    ]
    await house.check()


async def test_a_bank_that_does_not_sign_in_time_is_asked_about_another_plan(house: House) -> None:
    answers: list[Signed | Refused | BankUnavailable] = [BankUnavailable("away"), Refused("LATER")]
    house.closer = house.new_closer(Moody(house.signatory, answers))
    await house.give_account(MERCHANT, HONEST)
    await house.settle(1_000)
    await house.pass_cut_off()
    with pytest.raises(BankUnavailable):
        await house.closer.tick()
    await house.closer.tick()
    [plan] = await house.plans()
    assert (plan.state, plan.refusal) == ("PLANNED", "LATER")
    await house.closer.tick()  # it is not asked again at once
    assert not answers

    await house.at(plan.deadline + 1)
    await house.run_dry()

    states = [(each.number, each.state) for each in await house.plans()]
    assert states == [(1, "VOID"), (1, "TAKEN")]
    assert await house.payouts() == {(1, "merchant"): (500, "PAID", None)}
    await house.check()


async def test_the_same_cycle_is_planned_from_the_last_plan_and_from_all_postings(house: House) -> None:
    """Whoever has not planned the cycles before sums everything, and gets the same."""
    await house.give_account(MERCHANT, HONEST)
    await house.give_account(PROMOTER, CLOSED)
    await house.settle(1_001)
    await house.close_cycle()
    await house.settle(333)
    await house.pass_cut_off()
    member = Membership(house.schemes_of("CNY"), STANDARD)
    async with house.pipeline.database.read() as session:
        number, told = await facts.before(session, member)
        summed = await facts.summed(session, member, told.to_block, told.at_block)
        deep = await deep_block(session, 1)
        assert deep is not None
        at = (deep.number, deep.number)
        assert number == 1
        assert await facts.dues(session, member, told, *at) == await facts.dues(
            session, member, facts.Before(summed, told.to_block, told.at_block), *at
        )
    assert summed == told.due == {MERCHANT.id: 501, PROMOTER.id: 500}


async def test_payouts_on_the_chain_are_held_against_what_the_bank_was_sent(house: House) -> None:
    await house.give_account(MERCHANT, HONEST)
    await house.give_account(PROMOTER, CLOSED)
    await house.settle(1_000)
    await house.close_cycle()
    await house.read_statements()
    assert await house.breaks_at_close() == {}

    names = {said: name for name, (_, said) in (await house.bank_payments()).items()}
    await house.change_payment(names["PAID"], amount=499)
    await house.change_payment(names["FAILED"], state="PAID")

    found = await house.breaks_at_close()
    assert found[f"payout {names['PAID']}"] == ("AMOUNT_DIFFERS", -1)
    assert found[f"payout {names['FAILED']}"] == ("OUTCOME_DIFFERS", 500)


@pytest.mark.parametrize("blocks", [1, 2, 3])
async def test_a_chain_that_turns_is_closed_and_taken_from_once(house: House, blocks: int) -> None:
    house.config = ClosingConfig(depth=4)
    house.restart()
    for who in (MERCHANT, PROMOTER):
        await house.give_account(who, HONEST)
    await house.settle(1_000)
    await house.pass_cut_off()
    while not await house.payouts():
        await house.round()
    before = {(row.hash, row.number) for row in await house.pipeline.rows(Block)}
    house.pipeline.world.node.request("anvil_reorg", blocks, [])
    await house.run_dry()

    assert not before <= {(row.hash, row.number) for row in await house.pipeline.rows(Block)}
    assert await house.payouts() == {
        (1, "merchant"): (500, "PAID", None),
        (1, "promoter"): (500, "PAID", None),
    }
    await house.check()


async def test_bills_that_became_final_are_anchored_once(house: House) -> None:
    await house.give_account(MERCHANT, HONEST)
    await house.settle(1_000)
    today = Day.at(house.now, UTC)
    await house.close_cycle()
    await house.at(today.end + EVERY_S)
    await house.run_dry()
    await house.close_cycle()

    first, second = await house.cycles()
    assert (first.bill_root, second.payouts, second.total) == (NOTHING, 0, 0)
    subject = Subject(BillKind.PLATFORM, MALL.id, "mall")
    rows = await house.pipeline.rows(AnchoredBill)
    assert [(row.owner, row.day, row.format) for row in rows] == [
        (MALL.id, today.date.isoformat(), form) for form in ("csv", "jsonl")
    ]
    for row in rows:
        bill = Bill(subject, today, BillFormat(row.format))
        made = await make(house.pipeline.database, bill, 0, BytesIO())
        leaf = bill_leaf(MALL.id, row.day, row.format, made.sha256)
        assert verify_proof(second.bill_root, leaf, split_proof(row.proof or b""))
    await house.check()


@pytest.mark.slow
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_two_hundred_payouts_fit_into_a_transaction(house: House) -> None:
    """As many as are ever taken, and reported, at once."""
    parties = [party(f"payee-{number}") for number in range(200)]
    world = house.pipeline.world
    world.enroll(*parties, consenting_to=MALL)
    async with house.pipeline.database.write() as session:
        session.add_all(
            Participant(id=each.id, platform_id=MALL.id, reference=each.name, status=1) for each in parties
        )
    for each in parties:
        await house.give_account(each, HONEST)
    orders = [world.capture(1_000, rule=PAIR, bindings=(each.id, each.id)) for each in parties]
    await house.pipeline.accept(*orders, *(world.split(order.order_id, 1_000) for order in orders))
    await house.pipeline.settle_all()
    await house.close_cycle()

    assert {state for _, state, _ in (await house.payouts()).values()} == {"PAID"}
    taken, reported = (row.gas_used or 0 for row in (await house.pipeline.transactions())[-2:])
    assert 4_000_000 < taken < 10_000_000
    assert 2_000_000 < reported < 10_000_000
    [cycle] = await house.cycles()
    assert (cycle.payouts, cycle.total) == (200, 200_000)
    await house.check()
