"""Others may relay what was signed, and forge what was not. Both end well."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fenzhang.domain.records import Capture
from fenzhang.mirror.fetching import Span
from fenzhang.mirror.writing import Prepared
from fenzhang.store import tables
from pipeline.harness import Pipeline
from support.parties import MALL, SHOP
from support.system import BANK

pytestmark = pytest.mark.either_database


async def _captured(pipeline: Pipeline, amount: int = 1_000) -> Capture:
    capture = pipeline.world.capture(amount)
    await pipeline.accept(capture)
    await pipeline.settle_all()
    return capture


async def test_a_witness_outdated_by_a_foreign_relayer_is_made_anew(pipeline: Pipeline) -> None:
    world = pipeline.world
    capture = await _captured(pipeline)
    foreign = world.authorize(world.split(capture.order_id, 100))
    seqs = await pipeline.accept(world.split(capture.order_id, 600))
    assert await pipeline.submitter._ready()
    await pipeline.submitter.prepare_and_store()
    # Between signing and sending, the platform's other authorization is brought to the chain by somebody else.
    pipeline.relay(foreign, witnesses=[await pipeline.witness(capture)])

    await pipeline.settle_all()

    _, skipped, again = await pipeline.transactions()
    assert (skipped.state, again.state) == ("MINED", "MINED")
    assert await pipeline.states(*seqs) == ["SETTLED"]
    # The same authorization in both transactions: an instruction is signed for once.
    assert len(await pipeline.rows(tables.Authorization)) == 2
    [order] = await pipeline.rows(tables.Order)
    assert order.held == 300
    await pipeline.check_reconciled()


async def test_foreign_records_are_mirrored_and_posted(pipeline: Pipeline) -> None:
    world = pipeline.world
    capture = world.capture(1_000)
    pipeline.relay(world.attest(capture), world.authorize(world.split(capture.order_id, 600)))

    await pipeline.follow()

    assert len(await pipeline.rows(tables.Record)) == 2
    await pipeline.check_reconciled()
    # And instructions go on from there.
    seqs = await pipeline.accept(world.release(capture.order_id))
    await pipeline.settle_all()
    assert await pipeline.states(*seqs) == ["SETTLED"]


async def test_our_own_authorization_relayed_by_somebody_else_settles_ours(pipeline: Pipeline) -> None:
    world = pipeline.world
    capture = await _captured(pipeline)
    signed = world.authorize(world.split(capture.order_id, 600))
    seqs = await pipeline.accept_signed(signed)
    assert await pipeline.submitter._ready()
    await pipeline.submitter.prepare_and_store()
    pipeline.relay(signed, witnesses=[await pipeline.witness(capture)])

    # Ours is mined after it: NonceUsed, which must not disturb what has settled.
    await pipeline.settle_all()
    await pipeline.round()

    assert await pipeline.states(*seqs) == ["SETTLED"]
    assert [t.state for t in await pipeline.transactions()] == ["MINED", "MINED"]
    await pipeline.check_reconciled()


async def test_what_is_accepted_while_its_block_is_read_settles_with_it(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = pipeline.world
    capture = await _captured(pipeline)
    signed = world.authorize(world.split(capture.order_id, 600))
    pipeline.relay(signed, witnesses=[await pipeline.witness(capture)])
    read, seqs = pipeline.mirror._read, []

    async def read_and_accept(span: Span) -> Prepared:
        found = await read(span)
        seqs.extend(await pipeline.accept_signed(signed))
        return found

    monkeypatch.setattr(pipeline.mirror, "_read", read_and_accept)
    await pipeline.follow()

    assert await pipeline.states(*seqs) == ["SETTLED"]


async def test_a_forged_copy_rejects_nothing(pipeline: Pipeline) -> None:
    world = pipeline.world
    capture = await _captured(pipeline)
    signed = world.authorize(world.split(capture.order_id, 600))
    seqs = await pipeline.accept_signed(signed)
    pipeline.relay(replace(signed, signature=bytes(65)), witnesses=[await pipeline.witness(capture)])
    await pipeline.follow()
    assert await pipeline.states(*seqs) == ["ACCEPTED"]

    await pipeline.settle_all()

    assert await pipeline.states(*seqs) == ["SETTLED"]


async def test_our_own_broken_signature_is_rejected(pipeline: Pipeline) -> None:
    world = pipeline.world
    capture = await _captured(pipeline)
    other = world.capture(500)
    signed = replace(
        world.authorize(world.split(capture.order_id, 600), world.release(capture.order_id)),
        signature=SHOP.key.sign_digest(bytes(32)),
    )
    seqs = await pipeline.accept_signed(signed)
    neighbour = await pipeline.accept(other, world.split(other.order_id, 500))

    await pipeline.settle_all()

    assert await pipeline.reasons(*seqs) == ["invalid_signature", "invalid_signature"]
    assert await pipeline.states(*neighbour) == ["SETTLED", "SETTLED"]


async def test_a_passed_deadline_rejects_the_whole_authorization(pipeline: Pipeline) -> None:
    world = pipeline.world
    capture = await _captured(pipeline)
    signed = world.authorize(
        world.split(capture.order_id, 600), world.release(capture.order_id), deadline=world.node.now
    )
    seqs = await pipeline.accept_signed(signed)

    await pipeline.settle_all()

    assert await pipeline.reasons(*seqs) == ["deadline_passed", "deadline_passed"]


async def test_a_nonce_used_for_something_else_rejects(pipeline: Pipeline) -> None:
    world = pipeline.world
    capture = await _captured(pipeline)
    foreign = world.authorize(world.split(capture.order_id, 100), nonce=7)
    pipeline.relay(foreign, witnesses=[await pipeline.witness(capture)])
    seqs = await pipeline.accept_signed(world.authorize(world.split(capture.order_id, 600), nonce=7))

    await pipeline.settle_all()

    assert await pipeline.reasons(*seqs) == ["nonce_used"]
    await pipeline.check_reconciled()


async def test_a_foreign_capture_of_our_order_id_does_not_settle_ours(pipeline: Pipeline) -> None:
    world = pipeline.world
    ours = world.capture(1_000)
    theirs = replace(ours, amount=1)
    seqs = await pipeline.accept(ours)
    pipeline.relay(world.attest(theirs))

    await pipeline.settle_all()

    assert await pipeline.reasons(*seqs) == ["order_already_captured"]
    [order] = await pipeline.rows(tables.Order)
    assert order.captured == 1
    await pipeline.check_reconciled()


async def test_an_instruction_with_our_id_on_a_foreign_order_does_not_settle_ours(pipeline: Pipeline) -> None:
    world = pipeline.world
    ours, theirs = await _captured(pipeline), await _captured(pipeline)
    split = world.split(ours.order_id, 600)
    seqs = await pipeline.accept(split)
    copy = replace(split, order_id=theirs.order_id)
    pipeline.relay(world.authorize(copy), witnesses=[await pipeline.witness(theirs)])
    await pipeline.follow()
    assert await pipeline.states(*seqs) == ["ACCEPTED"]

    await pipeline.settle_all()

    assert await pipeline.states(*seqs) == ["SETTLED"]
    await pipeline.check_reconciled()


async def test_a_settled_record_overrules_an_earlier_rejection(pipeline: Pipeline) -> None:
    world = pipeline.world
    capture = await _captured(pipeline)
    signed = world.authorize(world.split(capture.order_id, 600))
    seqs = await pipeline.accept_signed(signed)
    world.register("suspend", MALL.id)
    await pipeline.settle_all()
    assert await pipeline.reasons(*seqs) == ["platform_not_active"]

    # The authorization was refused and not used up: once the platform is back, anybody can bring it again.
    world.register("resume", MALL.id)
    pipeline.relay(signed, witnesses=[await pipeline.witness(capture)])
    await pipeline.follow()

    assert await pipeline.states(*seqs) == ["SETTLED"]
    assert await pipeline.reasons(*seqs) == [None]
    await pipeline.check_reconciled()


async def test_a_rejected_amount_beyond_sql_is_mirrored(pipeline: Pipeline) -> None:
    world = pipeline.world
    capture = await _captured(pipeline)
    huge = replace(world.split(capture.order_id, 1), amount=2**96 - 1)
    pipeline.relay(world.authorize(huge), witnesses=[await pipeline.witness(capture)])

    await pipeline.follow()

    rejected = (await pipeline.rows(tables.Record))[-1]
    assert rejected.reason["code"] == "insufficient_held"
    assert rejected.reason["amount"] == 2**96 - 1
    await pipeline.check_reconciled()


async def test_a_foreign_attestor_s_failure_does_not_reject_our_capture(pipeline: Pipeline) -> None:
    world = pipeline.world
    ours = world.capture(1_000)
    seqs = await pipeline.accept(ours)
    # The bank attests our order twice under its own nonces, the second time in vain.
    pipeline.relay(world.attest(replace(ours, currency="GBP"), key=BANK))
    await pipeline.follow()
    assert await pipeline.states(*seqs) == ["ACCEPTED"]

    await pipeline.settle_all()

    assert await pipeline.states(*seqs) == ["SETTLED"]
