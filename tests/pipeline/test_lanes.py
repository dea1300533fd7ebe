"""Several signing keys side by side: platforms are divided among them, and an order stays with one."""

from __future__ import annotations

import asyncio

import pytest

from fenzhang.chain.signer import LocalKey
from fenzhang.store import keys, tables
from fenzhang.store.errors import LeaseLost
from fenzhang.submission.errors import SigningKeyMissing
from fenzhang.submission.keyring import Keyring
from fenzhang.submission.lanes import Lane
from fenzhang.submission.submitter import Submitter
from pipeline.harness import FAST, Pipeline
from support.parties import MALL, SHOP, VENDING
from support.system import APPROVER, BANK, REGISTRAR, SUBMITTER

SECOND = LocalKey(b"\x02" * 32)
MIDDLE = b"\x80" + bytes(31)


def _ring(pipeline: Pipeline, second: LocalKey | None = SECOND) -> Keyring:
    given: dict[str, LocalKey] = {
        keys.SUBMITTER: SUBMITTER,
        keys.REGISTRAR: REGISTRAR,
        keys.APPROVER: APPROVER,
        keys.ATTESTOR: BANK,
        **{keys.platform_label(each.id): each.key for each in (MALL, SHOP)},
    }
    if second is not None:
        given[keys.submitter_label(1)] = second
    return Keyring(pipeline.world.system.deployment.chain_id, given=given)


def _lane(pipeline: Pipeline, number: int, second: LocalKey | None = SECOND) -> Submitter:
    return Submitter(
        pipeline.database,
        pipeline.node,
        pipeline.world.system.deployment,
        _ring(pipeline, second),
        FAST,
        lane=number,
    )


def _key_of(platform: bytes) -> LocalKey:
    return SUBMITTER if platform < MIDDLE else SECOND


async def _accept_orders(pipeline: Pipeline, count: int) -> list[int]:
    """Orders of two platforms, in turn, with what follows a capture."""
    seqs = []
    for n in range(count):
        mall = pipeline.world.capture(1_000 + n)
        shop = pipeline.world.capture(500 + n, rule=VENDING)
        pipeline.owners[shop.order_id] = SHOP.id
        for capture in (mall, shop):
            seqs += await pipeline.accept(capture)
            seqs += await pipeline.accept(pipeline.world.split(capture.order_id, 300))
            seqs += await pipeline.accept(pipeline.world.release(capture.order_id))
    return seqs


async def test_each_lane_sends_what_belongs_to_its_platforms(pipeline: Pipeline) -> None:
    assert _key_of(MALL.id) != _key_of(SHOP.id), "the parties must fall into different lanes"
    seqs = await _accept_orders(pipeline, 8)
    lanes = [_lane(pipeline, number) for number in range(2)]

    for _ in range(10):
        await asyncio.gather(*(lane.tick() for lane in lanes))
        pipeline.mine()
        await pipeline.follow()
        if not await pipeline.open_count():
            break

    assert await pipeline.states(*seqs) == ["SETTLED"] * len(seqs)
    senders = {row.id: row.sender for row in await pipeline.transactions()}
    for seq in seqs:
        row = await pipeline.instruction(seq)
        assert row.transaction_id is not None
        assert senders[row.transaction_id] == _key_of(row.platform_id).address
    await pipeline.check_reconciled()


async def test_lanes_do_not_wait_for_each_others_nonces(pipeline: Pipeline) -> None:
    """Both attest captures with the bank's one key, in the same moment."""
    await _accept_orders(pipeline, 3)
    lanes = [_lane(pipeline, number) for number in range(2)]
    for lane in lanes:
        await lane.tick()  # leases and checks
    pipeline.mine()
    await _accept_orders(pipeline, 3)

    stored = await asyncio.gather(*(lane.prepare_and_store() for lane in lanes))

    assert stored == [1, 1]
    authorizations = await pipeline.rows(tables.Authorization)
    assert len({(a.signer, a.nonce) for a in authorizations}) == len(authorizations)


async def test_a_lane_follows_its_own_transactions_only(pipeline: Pipeline) -> None:
    await _accept_orders(pipeline, 1)
    first, second = (_lane(pipeline, number) for number in range(2))
    await first.tick()
    await second.tick()
    pipeline.mine()
    await pipeline.follow()

    await first.tick()

    states = {row.sender: row.state for row in await pipeline.transactions()}
    assert states == {SUBMITTER.address: "MINED", SECOND.address: "SENT"}


async def test_a_lane_expires_the_orders_of_its_own_platforms(pipeline: Pipeline) -> None:
    world = pipeline.world
    soon = world.node.now + 100
    mall, shop = world.capture(1_000, expires_at=soon), world.capture(500, rule=VENDING, expires_at=soon)
    lanes = [_lane(pipeline, number) for number in range(2)]
    await pipeline.accept(mall, shop)
    for lane in lanes * 2:
        await lane.tick()
        pipeline.mine()
        await pipeline.follow()
    world.node.next_block_at(soon)
    pipeline.mine()
    await pipeline.follow()

    for lane in lanes:
        await lane.tick()
        await lane.tick()
    pipeline.mine()
    await pipeline.follow()

    senders = {transaction.id: transaction.sender for transaction in await pipeline.transactions()}
    tried = {row.order_id: senders[row.transaction_id] for row in await pipeline.rows(tables.Expiry)}
    assert tried == {order.order_id: _key_of(order.platform).address for order in (mall, shop)}
    assert [row.held for row in await pipeline.rows(tables.Order)] == [0, 0]


async def test_a_key_that_was_added_shares_the_work_without_a_pause(pipeline: Pipeline) -> None:
    """The process that has not heard of it still sends everything; nothing is sent twice and no order out of turn."""
    old, new = _lane(pipeline, 0, second=None), _lane(pipeline, 1)
    seqs = await _accept_orders(pipeline, 6)

    for _ in range(20):
        await asyncio.gather(old.tick(), new.tick())
        pipeline.mine()
        await pipeline.follow()
        if not await pipeline.open_count():
            break

    assert await pipeline.states(*seqs) == ["SETTLED"] * len(seqs)
    records = await pipeline.rows(tables.Record)
    assert len(records) == len(seqs)
    await pipeline.check_reconciled()


async def test_only_one_submitter_works_in_a_lane(pipeline: Pipeline) -> None:
    await _accept_orders(pipeline, 1)
    first, rival = _lane(pipeline, 1), _lane(pipeline, 1)

    assert await first.tick() > 0
    pipeline.mine()  # nothing is left in the node's pool for the next test
    assert await rival.tick() == 0
    with pytest.raises(LeaseLost):
        await rival._require_holding().require(pipeline.database)  # type: ignore[arg-type] # it stops before it asks


async def test_a_lane_without_key_is_refused(pipeline: Pipeline) -> None:
    with pytest.raises(SigningKeyMissing, match="submitter:1"):
        await _lane(pipeline, 1, second=None).tick()


@pytest.mark.parametrize("count", [1, 2, 3, 7, 64])
def test_lanes_divide_all_ids(count: int) -> None:
    bounds = [Lane(number, count)._bound(number) for number in range(count + 1)]

    assert bounds[0] == bytes(32)
    assert bounds == sorted(set(bounds))
    assert bounds[-1] == b"\xff" * 32
