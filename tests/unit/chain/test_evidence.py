"""Leaves, heads, slots and Merkle trees, held against eth-abi and a tree built another way."""

from __future__ import annotations

import pytest
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

from fenzhang.chain.eip712 import capture_hash
from fenzhang.chain.evidence import (
    ZERO_HEAD,
    capture_leaf,
    content_of_refund,
    content_of_rejection,
    content_of_release,
    content_of_return,
    content_of_split,
    fold_past,
    held_of_slot,
    merkle_proof,
    merkle_root,
    next_head,
    order_slot,
    past_leaf,
    record_leaf,
    verify_proof,
)
from fenzhang.chain.keccak import keccak
from fenzhang.domain.allocation import Allocation
from fenzhang.domain.money import MAX_AMOUNT
from fenzhang.domain.records import Capture, InstructionKind, PastRecord, RecordKind
from unit.chain import values

leaf_lists = st.lists(values.words, min_size=1, max_size=40)


def reference_root(leaves: list[bytes], index: int = 0) -> bytes:
    """StandardMerkleTree as its definition reads: 2n - 1 nodes in an array, leaf i at 2n - 2 - i, root at 0."""
    size = 2 * len(leaves) - 1
    if index >= size - len(leaves):
        return leaves[size - 1 - index]
    children = sorted((reference_root(leaves, 2 * index + 1), reference_root(leaves, 2 * index + 2)))
    return keccak(b"".join(children))


def _pairs(allocations: list[Allocation]) -> list[tuple[bytes, int]]:
    return [(allocation.recipient, allocation.amount) for allocation in allocations]


@given(st.sampled_from(RecordKind), values.words, values.words, values.amounts, values.words)
def test_a_leaf_is_the_double_hash_of_the_abi_encoding(
    kind: RecordKind, record_id: bytes, order_id: bytes, amount: int, content: bytes
) -> None:
    encoded = encode(
        ["uint8", "bytes32", "bytes32", "uint256", "bytes32"], [kind, record_id, order_id, amount, content]
    )
    assert record_leaf(kind, record_id, order_id, amount, content) == keccak(keccak(encoded))


@given(st.lists(values.allocations, max_size=20), values.words, values.signatures)
def test_contents_are_hashes_of_abi_encodings(
    allocations: list[Allocation], split_id: bytes, reason: bytes
) -> None:
    split = encode(["(bytes32,uint96)[]"], [_pairs(allocations)])
    returned = encode(["bytes32", "(bytes32,uint96)[]"], [split_id, _pairs(allocations)])
    assert content_of_split(allocations) == keccak(split)
    assert content_of_return(split_id, allocations) == keccak(returned)
    assert content_of_refund(allocations) == keccak(split)
    assert content_of_rejection(reason) == keccak(reason)
    assert content_of_release(split_id) == split_id


@given(values.captures, st.lists(values.past_records, max_size=4))
def test_the_head_chains_the_leaves_of_the_settled_records(
    capture: Capture, records: list[PastRecord]
) -> None:
    past = [r for r in records if r.kind in {instruction.record for instruction in InstructionKind}]
    head = ZERO_HEAD
    for record in past:
        contents = {
            RecordKind.SPLIT: content_of_split(record.allocations),
            RecordKind.RELEASE: capture.merchant,
            RecordKind.RETURN: content_of_return(record.split_id, record.allocations),
            RecordKind.REFUND: content_of_refund(record.allocations),
        }
        leaf = record_leaf(record.kind, record.id, capture.order_id, record.amount, contents[record.kind])
        assert past_leaf(capture.order_id, capture, record) == leaf
        head = next_head(head, leaf)
        assert head != ZERO_HEAD
    assert fold_past(capture.order_id, capture, past) == head


@pytest.mark.parametrize("kind", [RecordKind.CAPTURE, RecordKind.REJECTION])
def test_a_past_that_no_order_can_have_has_a_head_as_well(kind: RecordKind) -> None:
    """Anybody may give it for a witness. The contract takes it for a RETURN of that kind, and no chain has its leaf."""
    capture = Capture(bytes(32), bytes(32), bytes(32), bytes(32), 1, "CNY", 1, ())
    content = content_of_return(bytes(32), ())
    leaf = record_leaf(kind, bytes(32), bytes(32), 1, content)
    assert fold_past(bytes(32), capture, [PastRecord(kind, bytes(32), 1)]) == next_head(ZERO_HEAD, leaf)


@given(values.captures)
def test_the_leaf_of_a_capture_names_the_order_twice(capture: Capture) -> None:
    leaf = record_leaf(
        RecordKind.CAPTURE, capture.order_id, capture.order_id, capture.amount, capture_hash(capture)
    )
    assert capture_leaf(capture) == leaf


@given(values.words, values.words, st.integers(0, MAX_AMOUNT))
def test_a_slot_commits_to_capture_and_head_and_carries_the_held_amount(
    captured: bytes, head: bytes, held: int
) -> None:
    slot = order_slot(captured, head, held)
    assert slot < 2**256
    assert held_of_slot(slot) == held
    assert slot >> 96 == int.from_bytes(keccak(captured + head)[12:], "big")


@given(leaf_lists)
def test_the_root_is_that_of_the_standard_layout(leaves: list[bytes]) -> None:
    assert merkle_root(leaves) == reference_root(leaves)


@given(leaf_lists, st.data())
def test_every_leaf_has_a_proof_and_no_other_leaf_has_it(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    root, proof = merkle_root(leaves), merkle_proof(leaves, index)
    assert verify_proof(root, leaves[index], proof)
    assert not verify_proof(root, keccak(leaves[index]), proof)


def test_a_batch_of_one_has_its_leaf_for_root() -> None:
    leaf = keccak(b"one")
    assert merkle_root([leaf]) == leaf
    assert merkle_proof([leaf], 0) == []


def test_there_is_no_tree_of_nothing_and_no_proof_beyond_the_leaves() -> None:
    with pytest.raises(ValueError, match="at least one"):
        merkle_root([])
    with pytest.raises(IndexError):
        merkle_proof([bytes(32)], 1)
    with pytest.raises(IndexError):
        merkle_proof([bytes(32)], -1)
