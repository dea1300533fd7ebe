"""Cycles from orders to money at the bank and back: contracts, mirror, closer, sandbox bank and sender together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from clearing.bankside import CLOSED, HONEST, RETURNING, SHOP
from clearing.closing import House, house_of
from fenzhang.store.tables import AccountKind
from pipeline.harness import Pipeline
from support.parties import MERCHANT, PROMOTER


@pytest.fixture
async def house(pipeline: Pipeline, tmp_path: Path) -> AsyncIterator[House]:
    made = house_of(pipeline, tmp_path)
    await made.give_account(None, SHOP)
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


async def test_what_comes_back_is_due_again(house: House) -> None:
    await house.give_account(MERCHANT, HONEST)
    await house.give_account(PROMOTER, RETURNING)
    await house.settle(1_000)
    await house.close_cycle()
    assert (await house.payouts())[1, "promoter"] == (500, "FAILED", "AC04")
    assert house.pipeline.world.position(PROMOTER) == 500
    await house.check()
