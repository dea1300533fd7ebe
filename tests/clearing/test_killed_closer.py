"""A closer dies between any two steps, or two run at once: nothing happens twice, nothing is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
from sqlalchemy import func, select

from clearing.bankside import CLOSED, HONEST, Died
from clearing.bankside import SHOP as CLEARING_ACCOUNT
from clearing.closing import House, house_of
from fenzhang import crashpoints
from fenzhang.clearing.cycles.config import ClosingConfig
from fenzhang.devnet.processes import free_port
from fenzhang.store import keys
from fenzhang.store.banktables import BankFile
from fenzhang.store.tables import Instruction, InstructionType
from pipeline.harness import Pipeline
from pipeline.processes import processes, store_keys
from support.parties import COURIER, MALL, MARKET, MERCHANT, PROMOTER
from support.processes import Processes
from support.system import CLEARING_BANK

__all__ = ["processes"]
PROCESS_DIES = (
    crashpoints.AFTER_SIGNATURE,
    crashpoints.AFTER_FILE,
    crashpoints.AFTER_REPORT_SIGNED,
)
CHUNKED = ClosingConfig(depth=1, max_payouts=2)
"""Payouts are taken and reported in pairs, so that there are several instructions of a kind."""
DIES_ANYWHERE = (
    *crashpoints.CLOSING_POINTS[:-2],
    *crashpoints.BANK_POINTS,
    *crashpoints.CLOSING_POINTS[-2:],
)
"""In the order in which a cycle comes to them: reports follow the bank."""


@pytest.fixture
async def house(pipeline: Pipeline, tmp_path: Path) -> AsyncIterator[House]:
    made = house_of(pipeline, tmp_path, config=CHUNKED)
    await made.give_account(None, CLEARING_ACCOUNT)
    for who in (MERCHANT, COURIER, MALL):
        await made.give_account(who, HONEST)
    await made.give_account(PROMOTER, CLOSED)
    yield made
    await made.close()


async def check_all_happened_once(house: House, chunks: int = 2) -> None:
    """An order of 1,000 was netted into four payouts, of which one failed."""
    assert await house.payouts() == {
        (1, "mall"): (30, "PAID", None),
        (1, "promoter"): (100, "FAILED", "AC04"),
        (1, "courier"): (217, "PAID", None),
        (1, "merchant"): (653, "PAID", None),
    }
    assert [plan.state for plan in await house.plans()] == ["TAKEN"]
    async with house.pipeline.database.read() as session:
        asked = select(Instruction.type, func.count()).group_by(Instruction.type)
        counts = {row[0]: row[1] for row in await session.execute(asked)}
        files = (await session.execute(select(func.count()).select_from(BankFile))).scalar_one()
    assert counts[InstructionType.CLOSE_CYCLE] == 1
    assert counts[InstructionType.TAKE] == counts[InstructionType.REPORT] == chunks
    assert files == 1
    assert await house.pipeline.open_count() == 0
    assert set(house.bank.books.times_paid().values()) == {1}
    await house.check()


def dying(point: str, times: int = 1) -> Callable[[str], None]:
    """What stands in for `crashpoints.passed`: it dies when it comes to `point` for the `times`-th time."""
    left = times

    def passed(place: str) -> None:
        nonlocal left
        if place == point:
            left -= 1
            if left == 0:
                raise Died

    return passed


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize("point", DIES_ANYWHERE)
async def test_one_that_dies_is_replaced_by_one_that_goes_on(
    house: House, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    await house.settle(1_000, MARKET)
    await house.pass_cut_off()
    monkeypatch.setattr(crashpoints, "passed", dying(point))
    with pytest.raises(Died):
        await house.run_dry()

    await house.take_over()
    await house.run_dry()

    await check_all_happened_once(house)


async def test_one_that_dies_again_and_again_gets_there(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.settle(1_000, MARKET)
    await house.pass_cut_off()
    for point in DIES_ANYWHERE:
        monkeypatch.setattr(crashpoints, "passed", dying(point))
        with pytest.raises(Died):
            await house.run_dry()
        await house.take_over()
    monkeypatch.setattr(crashpoints, "passed", lambda _point: None)
    await house.run_dry()

    await check_all_happened_once(house)


async def test_of_two_that_run_at_once_one_works(house: House) -> None:
    await house.settle(1_000, MARKET)
    await house.pass_cut_off()
    other = house.new_closer()
    for turn in range(30):
        first, second = (house.closer, other) if turn % 2 else (other, house.closer)
        done = await asyncio.gather(first.tick(), second.tick())
        assert not all(done)
        await house.pipeline.round()
        await house.sender.tick()

    await check_all_happened_once(house)


@pytest.mark.slow
@pytest.mark.fault
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_a_process_that_is_killed_again_and_again_gets_there(
    house: House, processes: Processes, tmp_path: Path
) -> None:
    """The process itself, which signs with the keystore's key. It also shows that it is alive."""
    await store_keys(house.pipeline, {keys.CLEARING_BANK: CLEARING_BANK})
    calendars = tmp_path / "calendars.toml"
    calendars.write_text('[CNY]\nzone = "UTC"\nholidays = "weekends"\nevery_s = 600\nlag = 0\n')
    port = free_port("127.0.0.1")
    settings = {
        "calendars": str(calendars),
        "clearing_depth": "1",
        "bank_keys": (b"k" * 32).hex(),
        "metrics_port": str(port),
    }
    await house.settle(1_000, MARKET)
    await house.pass_cut_off()
    for point in PROCESS_DIES:
        serving = processes.start("serve", "clearing", crash_at=point, **settings)
        while serving.popen.poll() is None:
            await turn(house)
        assert serving.popen.returncode == -9, serving.said

    serving = processes.start("serve", "clearing", **settings)
    await serving.answers(f"http://127.0.0.1:{port}/healthz")
    while [plan.state for plan in await house.plans()] != ["TAKEN"] or await house.is_in_transit():
        assert serving.popen.poll() is None, serving.said
        await turn(house)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        ready = (await client.get("/readyz")).json()
        counted = (await client.get("/metrics")).text
    assert [(stage["name"], stage["active"]) for stage in ready["stages"]] == [("clearing", True)]
    assert "fenzhang_payout_outcomes_reported_total 4.0" in counted
    assert await serving.stop() == 0
    for secret in (HONEST, CLOSED, CLEARING_ACCOUNT):
        assert secret.account.number not in serving.said
        assert secret.holder not in serving.said
    await check_all_happened_once(house, chunks=1)


async def turn(house: House) -> None:
    """All but the closer, which is a process here."""
    await house.pipeline.round()
    await house.sender.tick()
    await asyncio.sleep(0.05)
