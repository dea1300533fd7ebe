"""Evidence: leaves of records, the hash chain over an order's records, its slot, and a batch's Merkle tree.

Twin of contracts/libraries; all hashes are 32 bytes, amounts minor units.
"""

from __future__ import annotations

from collections.abc import Sequence

from fenzhang.chain.abi import currency_bytes, role_bytes, word
from fenzhang.chain.eip712 import capture_hash
from fenzhang.chain.keccak import keccak
from fenzhang.domain.allocation import Allocation
from fenzhang.domain.records import Capture, PastRecord, RecordKind

ZERO_HEAD = bytes(32)
"""Head of an order that has only been captured."""
HELD_BITS = 96
"""Low bits of an order's slot that carry the held amount."""
_HELD_MASK = (1 << HELD_BITS) - 1
_COMMITMENT_MASK = (1 << 160) - 1
_OFFSET_1 = word(0x20)
_OFFSET_2 = word(0x40)


def record_leaf(kind: RecordKind, record_id: bytes, order_id: bytes, amount: int, content: bytes) -> bytes:
    """Leaf of a record: StandardMerkleTree's double hash over (kind, id, order id, amount, content)."""
    return keccak(keccak(b"".join((word(kind), record_id, order_id, word(amount), content))))


def content_of_split(allocations: Sequence[Allocation]) -> bytes:
    """Content hash of a SPLIT record."""
    return keccak(_OFFSET_1 + _allocations(allocations))


def content_of_release(merchant: bytes) -> bytes:
    """Content of a RELEASE record: the merchant itself."""
    return merchant


def content_of_return(split_id: bytes, allocations: Sequence[Allocation]) -> bytes:
    """Content hash of a RETURN record."""
    return keccak(split_id + _OFFSET_2 + _allocations(allocations))


def content_of_refund(takes: Sequence[Allocation]) -> bytes:
    """Content hash of a REFUND record. What came from held money is the rest of its amount."""
    return keccak(_OFFSET_1 + _allocations(takes))


def content_of_resolution(currency: str, heir: bytes) -> bytes:
    """Content hash of a RESOLUTION: the currency, and who got what waited."""
    return keccak(currency_bytes(currency).ljust(32, b"\0") + heir)


def content_of_payout(cycle_id: bytes, currency: str, participant: bytes) -> bytes:
    """Content hash of a PAYOUT or PAYOUT_PAID record: the cycle, the currency, and whom it is for."""
    return keccak(cycle_id + currency_bytes(currency).ljust(32, b"\0") + participant)


def content_of_payout_end(cycle_id: bytes, currency: str, participant: bytes, reason: str) -> bytes:
    """Content hash of a PAYOUT_FAILED or PAYOUT_RETURNED record, with the bank's `reason`."""
    currency_word = currency_bytes(currency).ljust(32, b"\0")
    return keccak(cycle_id + currency_word + participant + role_bytes(reason))


def content_of_rejection(reason: bytes) -> bytes:
    """Content hash of a REJECTION record; `reason` is the ABI encoding of the custom error."""
    return keccak(reason)


def _allocations(allocations: Sequence[Allocation]) -> bytes:
    return word(len(allocations)) + b"".join(
        allocation.recipient + word(allocation.amount) for allocation in allocations
    )


def capture_leaf(capture: Capture) -> bytes:
    """Leaf of a CAPTURE record. Its id is the order's."""
    return record_leaf(
        RecordKind.CAPTURE, capture.order_id, capture.order_id, capture.amount, capture_hash(capture)
    )


def past_leaf(order_id: bytes, capture: Capture, record: PastRecord) -> bytes:
    """Leaf of a settled record of the order of `capture`.

    A past is what a relayer says it is: a CAPTURE or REJECTION in it has a leaf as well, as on chain, and no order's
    chain has that one.
    """
    match record.kind:
        case RecordKind.SPLIT:
            content = content_of_split(record.allocations)
        case RecordKind.RELEASE:
            content = content_of_release(capture.merchant)
        case RecordKind.REFUND:
            content = content_of_refund(record.allocations)
        case _:
            content = content_of_return(record.split_id, record.allocations)
    return record_leaf(record.kind, record.id, order_id, record.amount, content)


def next_head(head: bytes, leaf: bytes) -> bytes:
    """Head of an order's hash chain after one more settled record."""
    return keccak(head + leaf)


def fold_past(order_id: bytes, capture: Capture, past: Sequence[PastRecord]) -> bytes:
    """Head of an order from its settled records after the capture, in order."""
    head = ZERO_HEAD
    for record in past:
        head = next_head(head, past_leaf(order_id, capture, record))
    return head


def order_slot(captured: bytes, head: bytes, held: int) -> int:
    """The storage slot of an order: commitment to capture hash `captured` and `head`, and held amount."""
    commitment = int.from_bytes(keccak(captured + head), "big") & _COMMITMENT_MASK
    return commitment << HELD_BITS | held


def held_of_slot(slot: int) -> int:
    """Held amount in an order's slot."""
    return slot & _HELD_MASK


def _node(left: bytes, right: bytes) -> bytes:
    return keccak(left + right if left < right else right + left)


def _tree(leaves: Sequence[bytes]) -> list[bytes]:
    """All 2n - 1 nodes, root first: leaf i is node 2n - 2 - i, node i stands over 2i + 1 and 2i + 2."""
    if not leaves:
        raise ValueError("a batch has at least one record")
    nodes = [b""] * (len(leaves) - 1) + list(reversed(leaves))
    for index in range(len(leaves) - 2, -1, -1):
        nodes[index] = _node(nodes[2 * index + 1], nodes[2 * index + 2])
    return nodes


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Root of a batch whose records have these leaves, in event order. Raises ValueError for none."""
    return _tree(leaves)[0]


def merkle_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Siblings from the leaf at `index` up to the root. Raises IndexError."""
    [proof] = merkle_proofs(leaves, [index])
    return proof


def merkle_proofs(leaves: Sequence[bytes], indices: Sequence[int]) -> list[list[bytes]]:
    """As `merkle_proof`, of many leaves of one tree."""
    for index in indices:
        if not 0 <= index < len(leaves):
            raise IndexError(f"no leaf {index} among {len(leaves)}")
    nodes = _tree(leaves) if indices else []
    return [_path(nodes, 2 * len(leaves) - 2 - index) for index in indices]


def _path(nodes: Sequence[bytes], at: int) -> list[bytes]:
    proof = []
    while at:
        proof.append(nodes[at + 1 if at % 2 else at - 1])
        at = (at - 1) // 2
    return proof


def verify_proof(root: bytes, leaf: bytes, proof: Sequence[bytes]) -> bool:
    """Whether `proof` leads from `leaf` to `root`."""
    node = leaf
    for sibling in proof:
        node = _node(node, sibling)
    return node == root
