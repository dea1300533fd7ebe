"""Random days on the real system: at the end of each, chain, ledger, bank and statements say the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import pytest

from audit.auditing import verified
from clearing.bankside import CLOSED, CUSTOMER, HONEST, RETURNING, account
from clearing.bankside import SHOP as CLEARING_ACCOUNT
from clearing.closing import House, house_of
from fenzhang.clearing.holidays import days_of
from fenzhang.clearing.model import BankAccount
from fenzhang.domain.calendar import BusinessDays, SettlementCalendar, Terms, first_moment
from fenzhang.domain.schemes import STANDARD, Scheme, Schemes
from fenzhang.store.clearingtables import PayoutRow
from fenzhang.store.tables import AccountKind
from pipeline.harness import Pipeline
from support.parties import COURIER, MALL, MARKET, MERCHANT, PAIR, PROMOTER, SHOP, VENDING, VENDOR, Party

YEN: dict[str, BankAccount] = {
    "clearing": account("1000000000000001", "清算专户"),
    "honest": account("1000000000000002", "商户甲"),
    "closed": account("1000000000000003", "商户乙"),
}
PLACES = [
    ("America/New_York", "US", date(2027, 3, 12), (9_000,), 0),
    ("Asia/Shanghai", "CN", date(2026, 12, 30), (39_600, 86_400), 1),
]
"""A cut-off at 02:30 on the days around the one that has no 02:30; and the end of a year, T+1."""
WORKED = {date(2027, 3, 14): "the Sunday on which clocks are put forward"}
EVERYBODY = (MERCHANT, PROMOTER, COURIER, MALL, VENDOR)


@pytest.fixture
async def house(pipeline: Pipeline, tmp_path: Path) -> AsyncIterator[House]:
    made = house_of(pipeline, tmp_path)
    books = made.bank.books
    books.open_account(YEN["clearing"], "JPY", customer=CUSTOMER)
    books.deposit(YEN["clearing"].account, 10**12, "D-2")
    books.open_account(YEN["honest"], "JPY")
    books.open_account(YEN["closed"], "JPY", state="closed")
    await made.give_account(None, CLEARING_ACCOUNT)
    await made.give_account(None, YEN["clearing"], "JPY")
    yield made
    await made.close()


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place[0])
async def test_random_days(house: House, place: tuple[str, str, date, tuple[int, ...], int]) -> None:
    zone, holidays, first, cut_offs, lag = place
    random = Random(place[0])
    days = BusinessDays(days_of(holidays), {}, WORKED)
    terms = Terms(ZoneInfo(zone), cut_offs, None, lag)
    late = Scheme(
        "late", SettlementCalendar(days, Terms(ZoneInfo(zone), (72_000,), None, 0)), frozenset({SHOP.id})
    )
    standard = Scheme(STANDARD, SettlementCalendar(days, terms), min_payout=20, net_debit_cap=100)
    house.schemes_of = lambda currency: Schemes(currency, {STANDARD: standard, "late": late})
    house.restart()
    for number in range(4):
        await day(house, random, begin=_beginning(first + timedelta(days=number), zone))
        await house.check("CNY", "JPY")

    # In the end everybody can be paid, and a few business days pass.
    for who in EVERYBODY:
        await house.give_account(who, HONEST)
        await house.give_account(who, YEN["honest"], "JPY")
    for number in (7, 8, 9):
        await house.at(_beginning(first + timedelta(days=number), zone))
        await house.run_dry()
    await house.check("CNY", "JPY")
    assert await house.cycles() != []
    assert (await verified(house.pipeline.world)).differences == ()
    for currency in ("CNY", "JPY"):
        held = await house.held_by_kind(currency)
        assert held[AccountKind.IN_TRANSIT] == 0
        for who in EVERYBODY:
            assert house.pipeline.world.position(who, currency) < 20
    assert {row.state for row in await house.pipeline.rows(PayoutRow)} <= {
        "PAID",
        "FAILED",
        "RETURNED",
        "REFUSED",
    }


def _beginning(day: date, zone: str) -> int:
    return first_moment(datetime.combine(day, time.min), ZoneInfo(zone))


async def day(house: House, random: Random, begin: int) -> None:
    """Some hours of a day, and in each some orders, returns and new bank accounts."""
    for hour in sorted(random.sample(range(24), 3)):
        await house.at(max(begin + hour * 3_600, house.now + 1))
        for _ in range(random.randrange(3)):
            await something(house, random)
        if random.random() < 0.3:
            today = datetime.fromtimestamp(house.now, UTC).date()
            await house.sender.read_statements(today)
        for _ in range(random.randrange(2, 9)):
            await house.round()


async def something(house: House, random: Random) -> None:
    """An order that is split and perhaps returned in part, or somebody's account."""
    who: Party = random.choice(EVERYBODY)
    if random.random() < 0.5:
        await house.give_account(who, random.choice([HONEST, HONEST, CLOSED, RETURNING]))
        await house.give_account(who, random.choice([YEN["honest"], YEN["closed"]]), "JPY")
    rule, currency = random.choice([PAIR, MARKET, VENDING]), random.choice(["CNY", "JPY"])
    amount = random.randrange(200, 2_000)
    split = await house.settle(amount, rule, currency)
    if random.random() < 0.5:
        order = list(house.pipeline.owners)[-1]
        back = house.pipeline.world.give_back(order, split, random.randrange(1, amount))
        await house.pipeline.accept(back)
    if random.random() < 0.2:
        world = house.pipeline.world
        world.freeze(who)
        await house.round()
        world.unfreeze(who)
