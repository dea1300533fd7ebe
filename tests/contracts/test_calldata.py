"""Calldata that no encoder makes reverts as a whole: what was signed is hashed from where it is read."""

from __future__ import annotations

import pytest

from fenzhang.chain.codec import encode_settle
from fenzhang.domain.errors import FenzhangError
from fenzhang.domain.records import Capture, Instruction
from support.parties import PAIR
from support.system import SUBMITTER
from support.world import World

WORD = 32


@pytest.fixture
def orders(world: World) -> list[Capture]:
    """Two orders, not captured yet."""
    return [world.capture(100, rule=PAIR) for _ in range(2)]


@pytest.fixture
def splits(world: World, orders: list[Capture]) -> list[Instruction]:
    """A split of each."""
    return [world.split(order.order_id, 60) for order in orders]


@pytest.fixture
def data(world: World, orders: list[Capture], splits: list[Instruction]) -> bytes:
    """Calldata that captures both orders and splits them."""
    call = world.complete([world.attest(*orders), world.authorize(*splits)])
    return encode_settle(call.attestations, call.authorizations, call.witnesses, call.order_index)


def sent(world: World, data: bytes) -> FenzhangError | int:
    """The error, or the number of events."""
    mined = world.node.transact(SUBMITTER.address, world.system.deployment.split_ledger, data)
    return len(mined.logs) if mined.error is None else mined.error


def word_at(data: bytes, position: int) -> int:
    return int.from_bytes(data[position : position + WORD], "big")


def with_word(data: bytes, position: int, value: int) -> bytes:
    return data[:position] + (value % 2**256).to_bytes(WORD, "big") + data[position + WORD :]


def head_of(data: bytes, struct: Capture | Instruction) -> int:
    """Where a capture or an instruction begins."""
    if isinstance(struct, Capture):
        return data.index(struct.order_id)
    return data.index(struct.id) - WORD


def test_what_the_encoder_makes_is_taken(world: World, data: bytes) -> None:
    assert sent(world, data) == 5, "two captures, two splits, one batch"


def refused(world: World, data: bytes) -> None:
    error = sent(world, data)
    assert isinstance(error, FenzhangError)
    assert error.contract_error == "SplitLedger_IrregularCalldata"


CAPTURE_FIELDS = {
    "a version of more than 32 bits": (4, 1 << 32),
    "a version of all bits": (4, 2**256 - 2),
    "a currency of four letters": (5, 1 << 224),
    "a currency with dirt at its end": (5, 1),
    "an amount of more than 96 bits": (6, 1 << 96),
    "an amount with its highest bit": (6, 1 << 255),
    "a hold of more than 64 bits": (7, 1 << 64),
    "an expiry of more than 64 bits": (8, 1 << 64),
    "an expiry with its highest bit": (8, 1 << 255),
    "bindings elsewhere": (11, WORD),
    "bindings before": (11, -WORD),
    "more bindings than calldata": (12, 1 << 20),
    "a count of bindings that wraps": (12, 1 << 251),
    "a count of bindings beyond memory": (12, 1 << 32),
}


@pytest.mark.parametrize("fault", CAPTURE_FIELDS.values(), ids=CAPTURE_FIELDS)
@pytest.mark.parametrize("which", [0, 1])
def test_a_capture_with(
    world: World, data: bytes, orders: list[Capture], which: int, fault: tuple[int, int]
) -> None:
    field, more = fault
    place = head_of(data, orders[which]) + field * WORD
    refused(world, with_word(data, place, word_at(data, place) + more))


INSTRUCTION_FIELDS = {
    "a kind that does not exist": (0, 4),
    "a kind with a high bit": (0, 1 << 255),
    "an amount of more than 96 bits": (4, 1 << 96),
    "bindings elsewhere": (5, WORD),
    "amounts elsewhere": (6, WORD),
    "amounts where the bindings are": (6, -WORD),
    "a count of bindings that wraps": (7, 1 << 251),
    "more bindings than there are": (7, 1),
    "a count of amounts that wraps": (8, 1 << 251),
    "more amounts than calldata": (8, 1 << 20),
}


@pytest.mark.parametrize("fault", INSTRUCTION_FIELDS.values(), ids=INSTRUCTION_FIELDS)
@pytest.mark.parametrize("which", [0, 1])
def test_an_instruction_with(
    world: World, data: bytes, splits: list[Instruction], which: int, fault: tuple[int, int]
) -> None:
    field, more = fault
    place = head_of(data, splits[which]) + field * WORD
    refused(world, with_word(data, place, word_at(data, place) + more))


@pytest.mark.parametrize("which", ["captures", "instructions"])
def test_structs_that_do_not_stand_one_behind_the_other(
    world: World, data: bytes, orders: list[Capture], splits: list[Instruction], which: str
) -> None:
    first, second = (head_of(data, each) for each in (orders if which == "captures" else splits))
    offsets = first - 2 * WORD
    assert (word_at(data, offsets), word_at(data, offsets + WORD)) == (2 * WORD, second - offsets)
    swapped = with_word(with_word(data, offsets, second - offsets), offsets + WORD, first - offsets)
    refused(world, swapped)
    refused(world, with_word(data, offsets + WORD, first - offsets))
    refused(world, with_word(data, offsets + WORD, first - offsets - 2**255))


def test_the_capture_of_a_witness_stands_behind_it(world: World) -> None:
    order = world.captured(100, rule=PAIR)
    call = world.complete([world.authorize(world.split(order.order_id, 60))])
    good = encode_settle(call.attestations, call.authorizations, call.witnesses, call.order_index)
    capture = good.rindex(order.order_id)
    copied = good + good[capture : capture + 13 * WORD]
    refused(world, with_word(copied, capture - 3 * WORD, len(good) - capture + 3 * WORD))
    amount = capture + 6 * WORD
    refused(world, with_word(good, amount, word_at(good, amount) + (1 << 96)))
    assert sent(world, good) == 2


def test_calldata_that_ends_too_early_reverts(world: World, data: bytes) -> None:
    """But for the zeros behind the last byte of the order index, which nobody reads."""
    for size in (*range(4, len(data) - 29, 61), len(data) - 29):
        assert isinstance(sent(world, data[:size]), FenzhangError)
