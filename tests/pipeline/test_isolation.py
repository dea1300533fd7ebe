"""One authorization that breaks a transaction is found, and does not keep the others."""

from __future__ import annotations

import dataclasses

import pytest

from fenzhang.chain.signer import LocalKey
from fenzhang.domain.records import Capture
from fenzhang.store import tables
from fenzhang.submission import building
from fenzhang.submission.config import SubmissionConfig
from fenzhang.submission.planning import Plan
from pipeline.harness import FAST, Pipeline
from support.parties import MALL, SHOP, VENDING, ident

GAS_EATER = ident("gas eater")[:20]
"""A contract that, asked for a signature, uses up whatever gas it is given."""
ENDLESS_LOOP = bytes.fromhex("5b600056")


async def _captured(pipeline: Pipeline, count: int) -> list[Capture]:
    captures = [pipeline.world.capture(1_000) for _ in range(count)]
    await pipeline.accept(*captures)
    await pipeline.settle_all()
    return captures


async def test_a_platform_whose_contract_eats_all_gas_harms_only_itself(pipeline: Pipeline) -> None:
    world = pipeline.world
    captures = await _captured(pipeline, 6)
    world.node.set_code(GAS_EATER, ENDLESS_LOOP)
    evil = world.capture(500, rule=VENDING)
    pipeline.owners[evil.order_id] = SHOP.id
    await pipeline.accept(evil)
    await pipeline.settle_all()
    world.register("rotateAuthority", SHOP.id, GAS_EATER)
    seqs: list[int] = []
    for capture in captures[:4]:
        seqs += await pipeline.accept_signed(world.authorize(world.split(capture.order_id, 100)))
    poison = world.authorize(world.split(evil.order_id, 500), platform=SHOP)
    [poisoned] = await pipeline.accept_signed(poison)
    for capture in captures[4:]:
        seqs += await pipeline.accept_signed(world.authorize(world.split(capture.order_id, 100)))

    await pipeline.settle_all()

    assert await pipeline.states(*seqs) == ["SETTLED"] * len(seqs)
    # What it may use up is limited, and running out of that is a refusal.
    assert await pipeline.reasons(poisoned) == ["invalid_signature"]
    assert not [t for t in await pipeline.transactions() if t.state == "REVERTED"]
    await pipeline.check_reconciled()


async def test_a_reverted_transaction_is_halved_until_the_culprit_is_alone(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every transaction with the seventh of eight authorizations is given too little gas."""
    world = pipeline.world
    captures = await _captured(pipeline, 8)
    seqs: list[int] = []
    for capture in captures:
        seqs += await pipeline.accept_signed(world.authorize(world.split(capture.order_id, 500)))
    culprit = seqs[6]
    sizes: list[int] = []
    real = building.gas_limit

    def scarce(plan: Plan, config: SubmissionConfig) -> int:
        if any(item.seq == culprit for item in plan.instructions):
            sizes.append(plan.units)
            if plan.units > 1:
                return 150_000
        return real(plan, config)

    monkeypatch.setattr(building, "gas_limit", scarce)

    await pipeline.settle_all()

    assert await pipeline.states(*seqs) == ["SETTLED"] * 8
    assert sizes == [8, 4, 2, 1]
    assert [t.state for t in await pipeline.transactions()].count("REVERTED") == 3
    # Nobody signed anything again.
    assert len(await pipeline.rows(tables.Authorization)) == 1 + 8
    await pipeline.check_reconciled()


async def test_halving_keeps_the_sequence_of_each_order(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Captures and splits of the same orders are in the transaction that reverts."""
    world = pipeline.world
    seqs: list[int] = []
    for _ in range(6):
        capture = world.capture(1_000)
        split = world.split(capture.order_id, 500)
        seqs += await pipeline.accept(capture)
        seqs += await pipeline.accept_signed(world.authorize(split))
        seqs += await pipeline.accept(world.give_back(capture.order_id, split.id, 100))
    real = building.gas_limit
    monkeypatch.setattr(
        building, "gas_limit", lambda plan, config: 150_000 if plan.units > 3 else real(plan, config)
    )

    await pipeline.settle_all(60)

    assert await pipeline.states(*seqs) == ["SETTLED"] * len(seqs)
    assert any(t.state == "REVERTED" for t in await pipeline.transactions())
    await pipeline.check_reconciled()


async def test_what_needs_more_gas_than_a_transaction_may_use_is_rejected(pipeline: Pipeline) -> None:
    world = pipeline.world
    [capture] = await _captured(pipeline, 1)
    pipeline.config = dataclasses.replace(FAST, gas_cap=120_000, target_gas=100_000)
    await pipeline.take_over()
    seqs = await pipeline.accept_signed(world.authorize(world.split(capture.order_id, 500)))

    await pipeline.settle_all()

    assert await pipeline.reasons(*seqs) == ["gas_exhausted"]


async def test_an_authorization_that_fails_alone_for_another_reason_is_kept(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = pipeline.world
    [capture] = await _captured(pipeline, 1)
    seqs = await pipeline.accept_signed(world.authorize(world.split(capture.order_id, 500)))
    # A wrong index count makes `settle` revert as a whole.
    with monkeypatch.context() as broken:
        broken.setattr(building, "order_index", lambda _plan: [])
        for _ in range(3):
            await pipeline.round()
        assert await pipeline.states(*seqs) in (["ACCEPTED"], ["SUBMITTED"])
    assert any(t.state == "REVERTED" for t in await pipeline.transactions())

    await pipeline.settle_all(200)

    assert await pipeline.states(*seqs) == ["SETTLED"]


async def test_a_missing_key_keeps_its_instructions_waiting_and_no_others(pipeline: Pipeline) -> None:
    world = pipeline.world
    captures = await _captured(pipeline, 2)
    pipeline.owners[captures[0].order_id] = ident("platform without a key")
    waiting = await pipeline.accept(world.split(captures[0].order_id, 100))
    behind = await pipeline.accept_signed(world.authorize(world.release(captures[0].order_id)))
    others = await pipeline.accept(world.split(captures[1].order_id, 100))

    await pipeline.round()

    assert await pipeline.states(*waiting, *behind, *others) == ["ACCEPTED", "ACCEPTED", "SETTLED"]


def test_keys_never_show_their_secret() -> None:
    key = LocalKey(ident("secret"))
    assert ident("secret").hex() not in repr(key)
    assert MALL.key.address.hex() in repr(MALL.key)
