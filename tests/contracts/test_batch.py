"""Batches: what a transaction recorded is sealed under a Merkle root, against which any record can be proved."""

from __future__ import annotations

import pytest

from fenzhang.chain.codec import decode_result, encode_settle
from fenzhang.chain.eip712 import capture_hash
from fenzhang.chain.events import BatchSealed, OrderCaptured
from fenzhang.chain.evidence import merkle_proof, merkle_root, verify_proof
from fenzhang.chain.keccak import keccak
from fenzhang.domain.records import Capture
from support.ghosts import leaves_of
from support.parties import PAIR, ident
from support.system import OUTSIDER, SUBMITTER
from support.world import Settled, World


def recorded(world: World, batch: int, leaf: bytes, proof: list[bytes]) -> bool:
    return bool(world.system.call("LedgerView", "isRecorded", batch, leaf, proof))


def every_kind(world: World, filler: int = 0) -> Settled:
    """A transaction that records a capture, a split, a release, a return, rejections, and `filler` captures more."""
    order = world.captured(100, rule=PAIR)
    split = world.split(order.order_id, 50)
    world.did(split)
    fresh = world.capture(100, rule=PAIR)
    fillers = [world.capture(amount + 1) for amount in range(filler)]
    return world.settle(
        world.attest(fresh, world.capture(0), *fillers),
        world.authorize(world.give_back(order.order_id, split.id, 20), world.release(order.order_id)),
        world.authorize(world.split(fresh.order_id, 100), world.split(fresh.order_id, 1)),
    )


def test_a_root_covers_every_kind_of_record_in_event_order(world: World) -> None:
    settled = every_kind(world)
    leaves = leaves_of(settled.events)
    batch = settled.only(BatchSealed)
    assert batch.records == len(leaves) == 6
    assert batch.root == merkle_root(leaves)
    assert world.system.call("LedgerView", "batchRoot", batch.batch) == batch.root


@pytest.mark.parametrize("filler", [0, 1, 2, 3, 10, 27])
def test_each_record_is_proved_on_chain_and_in_python(world: World, filler: int) -> None:
    settled = every_kind(world, filler)
    leaves, batch = leaves_of(settled.events), settled.only(BatchSealed)
    assert len(leaves) == 6 + filler
    proofs = [merkle_proof(leaves, index) for index in range(len(leaves))]
    assert all(verify_proof(batch.root, leaf, proof) for leaf, proof in zip(leaves, proofs, strict=True))
    arguments = [(batch.batch, leaf, proof) for leaf, proof in zip(leaves, proofs, strict=True)]
    assert world.system.calls("LedgerView", "isRecorded", arguments) == [True] * len(leaves)


def test_what_is_not_recorded_is_not_proved(world: World) -> None:
    settled = every_kind(world)
    leaves, batch = leaves_of(settled.events), settled.only(BatchSealed).batch
    proof = merkle_proof(leaves, 2)
    assert recorded(world, batch, leaves[2], proof)
    assert not recorded(world, batch, leaves[3], proof)
    assert not recorded(world, batch, ident("no record"), proof)
    assert not recorded(world, batch, leaves[2], proof[:-1])
    assert not recorded(world, batch, leaves[2], proof[::-1])
    assert not recorded(world, batch, leaves[2], [*proof, bytes(32)])
    for other in (0, batch - 1, batch + 1, 2**256 - 1):
        assert not recorded(world, other, leaves[2], proof)
    assert not recorded(world, 0, bytes(32), [])
    assert not recorded(world, batch + 1, bytes(32), [])


def test_an_inner_node_cannot_pass_for_a_record(world: World) -> None:
    """A leaf is a hash of a hash, so no record's encoding is a pair of nodes; its bare hash is not in the tree."""
    settled = world.settle(world.attest(world.capture(10), world.capture(20)))
    captured = settled.all(OrderCaptured)
    leaves = leaves_of(settled.events)
    pair = b"".join(sorted(leaves))
    assert settled.only(BatchSealed).root == keccak(pair)
    once = keccak(
        bytes(32) + captured[0].order_id * 2 + captured[0].amount.to_bytes(32, "big") + content_of(world, 0)
    )
    assert keccak(once) == leaves[0]
    assert not recorded(world, settled.only(BatchSealed).batch, once, [leaves[1]])


def content_of(world: World, index: int) -> bytes:
    order = list(world.twin.world.orders.values())[index]
    return capture_hash(order.capture)


def test_a_batch_of_one_record_is_its_leaf(world: World) -> None:
    settled = world.settle(world.attest(world.capture()))
    [leaf] = leaves_of(settled.events)
    assert settled.only(BatchSealed).root == leaf
    assert recorded(world, settled.only(BatchSealed).batch, leaf, [])


def test_batches_count_up_from_one(world: World) -> None:
    assert world.system.call("LedgerView", "batchCount") == 0
    numbers = [world.settle(world.attest(world.capture())).only(BatchSealed).batch for _ in range(3)]
    assert numbers == [1, 2, 3]
    assert world.system.call("LedgerView", "batchCount") == 3


def test_a_transaction_that_only_rejects_seals_its_rejections(world: World) -> None:
    settled = world.settle(world.attest(world.capture(0)), world.authorize(world.release(ident("none"))))
    assert len(settled.reasons) == 2
    assert settled.only(BatchSealed).records == 2


def test_a_transaction_that_records_nothing_seals_nothing(world: World) -> None:
    order = world.captured()
    refused = world.attest(world.capture(), key=OUTSIDER)
    skipped = world.authorize(world.release(order.order_id))
    nothing = world.authorize()
    settled = world.settle(refused, skipped, nothing, witnesses=[])
    assert (len(settled.refusals), len(settled.skipped)) == (2, 1)
    assert settled.all(BatchSealed) == []
    assert world.settle().events == []
    assert world.system.call("LedgerView", "batchCount") == 1


def test_settle_returns_the_number_of_its_batch(world: World) -> None:
    def returned(capture: Capture) -> int:
        call = world.complete([world.attest(capture)])
        data = encode_settle(call.attestations, call.authorizations, call.witnesses, call.order_index)
        ledger = world.system.deployment.split_ledger
        answer = world.node.call(ledger, data, SUBMITTER.address)
        return int(decode_result("SplitLedger", "settle", answer)[0])

    world.captured()
    assert returned(world.capture()) == 2
    assert returned(world.capture(0)) == 2
    empty = encode_settle([], [], [], [])
    answer = world.node.call(world.system.deployment.split_ledger, empty, SUBMITTER.address)
    assert decode_result("SplitLedger", "settle", answer) == (0,)
