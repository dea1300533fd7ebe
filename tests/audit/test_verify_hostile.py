"""What anybody may put on the chain, with nobody's signature, neither stops a verification nor makes it find things."""

from __future__ import annotations

from dataclasses import replace

import pytest

from audit.auditing import FORWARDER, codes, forwarded, install_forwarder, verified
from fenzhang.audit.calls import calls_of
from fenzhang.audit.reading import Transaction
from fenzhang.audit.verification import verify
from fenzhang.chain.abi import word
from fenzhang.chain.codec import encode_call, encode_settle
from fenzhang.chain.events import AuthorizationRejected, AuthorizationSkipped, Event, decode_logs
from fenzhang.chain.node import NodeClient
from fenzhang.domain.allocation import Allocation
from fenzhang.domain.records import Capture, Instruction, OrderWitness, PastRecord, RecordKind
from fenzhang.mirror.reading import read_events
from support.node import Mined
from support.parties import MALL, PAIR, RuleRef, ident
from support.system import OUTSIDER
from support.world import World


def sent(world: World, data: bytes, to: bytes | None = None) -> Mined:
    """An outsider's transaction, which must not revert."""
    mined = world.node.transact(OUTSIDER.address, to or world.system.deployment.split_ledger, data)
    assert mined.error is None
    return mined


async def nothing_is_found(world: World) -> None:
    """Neither the verification nor what the mirror does with the same events stumbles."""
    report = await verified(world)
    assert codes(report) == {}
    logs = world.node.request(
        "eth_getLogs",
        {
            "address": ["0x" + address.hex() for address in world.system.deployment.contracts],
            "fromBlock": hex(world.system.deployment.block_number),
        },
    )
    events = decode_logs(logs, world.system.deployment.contracts)
    reading = read_events(events, {}, {}, next_record=1, last_batch=0)
    assert len(reading.entries) == report.counts["records"]


def call_data(world: World, *instructions: Instruction, witness: OrderWitness | None = None) -> bytes:
    """Calldata of one authorization of the mall, with another witness if one is given."""
    call = world.complete([world.authorize(*instructions)], None if witness is None else [witness])
    return encode_settle(call.attestations, call.authorizations, call.witnesses, call.order_index)


def told(world: World, mined: Mined, kind: type[Event]) -> bool:
    """Whether a transaction told of something."""
    return any(isinstance(event, kind) for event in world.system.events(mined))


@pytest.fixture
def order(world: World) -> Capture:
    """An order with a past."""
    captured = world.captured(1_000)
    world.did(world.split(captured.order_id, 500))
    return captured


def nonsense(world: World, order: Capture, *past: PastRecord) -> OrderWitness:
    """The true witness of an order but for its past."""
    return replace(world.twin.witness(order.order_id, opened=True), past=past)


@pytest.mark.parametrize("kind", [RecordKind.CAPTURE, RecordKind.REJECTION, RecordKind.RELEASE])
async def test_a_past_of_records_that_no_order_has(world: World, order: Capture, kind: RecordKind) -> None:
    witness = nonsense(world, order, PastRecord(kind, ident("nonsense"), 2**96 - 1, bytes(32), ()))
    data = call_data(world, world.give_back(order.order_id, ident("split"), 1), witness=witness)

    mined = sent(world, data)

    assert told(world, mined, AuthorizationSkipped)
    await nothing_is_found(world)


@pytest.mark.parametrize("value", [5, 255, 2**256 - 1], ids=["a kind too many", "a byte", "a word"])
async def test_a_past_that_no_instruction_needs_may_be_anything(
    world: World, order: Capture, value: int
) -> None:
    """The contract opens the past for a RETURN only; for a SPLIT it takes whatever stands there."""
    marked = PastRecord(RecordKind.REJECTION, b"\xee" * 32, 1)
    witness = nonsense(world, order, marked)
    data = call_data(world, world.split(order.order_id, 100), witness=witness)
    spoiled = data.replace(word(RecordKind.REJECTION) + marked.id, word(value) + marked.id)
    assert spoiled != data

    sent(world, spoiled)

    assert world.held(order.order_id) == 400
    await nothing_is_found(world)


@pytest.mark.parametrize("refunds", [False, True], ids=["return", "refund"])
async def test_allocations_of_a_release_in_the_past_may_be_anything(
    world: World, order: Capture, *, refunds: bool
) -> None:
    """The contract hashes the merchant for a RELEASE and leaves unread where its allocations should be."""
    world.did(world.release(order.order_id))
    true = world.twin.witness(order.order_id, opened=True)
    split, release = true.past
    witness = replace(true, past=(split, replace(release, allocations=(Allocation(b"\xee" * 32, 1),))))
    back = world.give_back(order.order_id, split.id, 100)
    data = call_data(world, world.refund(order.order_id, 100) if refunds else back, witness=witness)
    allocations = word(1) + b"\xee" * 32
    spoiled = data.replace(allocations, word(2**255) + b"\xee" * 32)
    assert spoiled != data

    sent(world, spoiled)

    assert (world.held(order.order_id), world.refunded()) == ((0, 100) if refunds else (100, 0))
    await nothing_is_found(world)


async def test_bytes_behind_the_calldata_and_in_its_padding(world: World, order: Capture) -> None:
    authorization = world.authorize(world.split(order.order_id, 100))
    call = world.complete([authorization])
    data = encode_settle(call.attestations, call.authorizations, call.witnesses, call.order_index)
    padded = authorization.signature.ljust(96, b"\0")
    spoiled = data.replace(padded, authorization.signature.ljust(96, b"\xff")) + b"\xff" * 77
    assert spoiled[: len(data)] != data

    sent(world, spoiled)

    assert world.held(order.order_id) == 400
    await nothing_is_found(world)


async def test_parts_that_overlap_until_they_would_fill_the_memory(world: World, order: Capture) -> None:
    """One instruction, a thousand pointers to it, and in it a thousand bindings; the signature is nobody's."""
    count = 1_000
    empty = Instruction(world.split(order.order_id, 1).kind, ident("empty"), order.order_id)
    large = replace(empty, bindings=(b"\xee" * 32,) * count)
    signed = replace(world.authorize(large, *[empty] * (count - 1)), signature=bytes(65))
    call = world.complete([signed])
    data = encode_settle(call.attestations, call.authorizations, call.witnesses, call.order_index)
    offsets = data.index(word(count) + word(32 * count)) + 32
    spoiled = data[:offsets] + word(32 * count) * count + data[offsets + 32 * count :]

    mined = world.node.transact(OUTSIDER.address, world.system.deployment.split_ledger, spoiled)

    # The chain reads such calldata no more than the verification does: the transaction is undone as a whole.
    assert mined.error is not None
    assert mined.error.code == "irregular_calldata"
    await nothing_is_found(world)


async def test_a_refusal_through_another_contract(world: World, order: Capture) -> None:
    """It shows in no calldata what was refused, and anybody can have it refused; nothing came of it."""
    install_forwarder(world.node)
    ledger = world.system.deployment.split_ledger
    forged = world.complete([world.authorize(world.split(order.order_id, 1), key=OUTSIDER)])
    data = encode_settle((), forged.authorizations, forged.witnesses, forged.order_index)

    mined = sent(world, forwarded(ledger, data), to=FORWARDER)

    assert told(world, mined, AuthorizationRejected)
    await nothing_is_found(world)


async def test_a_proposal_relayed_with_bytes_in_its_padding(world: World) -> None:
    """eth-abi refuses what the rule book takes; an honest proposal can be brought to the chain that way by anybody."""
    rule = RuleRef(MALL, ident("rule", "relayed"), 1, PAIR.legs)
    data = encode_call("RuleBook", "propose", *world.proposal(rule))
    assert data.endswith(bytes(31))

    sent(world, data[:-31] + b"\xff" * 31, to=world.system.deployment.rule_book)

    await nothing_is_found(world)


async def test_calls_without_an_event_are_read_as_well_when_a_nonce_is_missing(
    world: World, order: Capture
) -> None:
    """An empty authorization uses its nonce up in silence; then silent calls count, whatever stands in them."""
    empty = world.authorize()
    sent(world, call_data(world))
    sent(world, encode_settle((), (empty,), (), ()))
    garbage = encode_settle(
        (), (), (nonsense(world, order, PastRecord(RecordKind.SPLIT, b"\xee" * 32, 1)),), ()
    )
    sent(world, garbage.replace(word(1) + b"\xee" * 32, word(99) + b"\xee" * 32))
    sent(world, encode_settle((), (), (), ()) + b"\xff" * 5)
    world.did(world.split(order.order_id, 100))
    manager = world.system.deployment.access_manager
    sent(world, encode_call("AccessManager", "multicall", []), to=manager)
    again = world.complete([empty])
    sent(world, encode_settle((), again.authorizations, (), ()))

    await nothing_is_found(world)


def test_calls_within_calls_are_opened_however_deep(world: World) -> None:
    """A chain without a limit on gas carries a thousand of them, more than Python's stack."""
    deployment = world.system.deployment
    data = encode_call("SplitLedger", "settle", [], [], [], b"")
    data = encode_call("AccessManager", "execute", deployment.split_ledger, data)
    for _ in range(1_500):
        data = _nested(data)
    transaction = Transaction(bytes(32), 1, 1, OUTSIDER.address, deployment.access_manager, data, 10**9, ())

    [call] = calls_of(transaction, deployment)

    assert call.to == deployment.split_ledger
    assert (call.actor, call.sender) == (OUTSIDER.address, deployment.access_manager)


def _nested(data: bytes) -> bytes:
    """Calldata of a multicall of one call."""
    selector = encode_call("AccessManager", "multicall", [])[:4]
    body = word(len(data)) + data + bytes(-len(data) % 32)
    return selector + word(32) + word(1) + word(32) + body


@pytest.mark.usefixtures("order")
async def test_a_deployment_file_that_names_a_later_block_hides_nothing(world: World) -> None:
    """Not anybody's doing, but an operator's: the file is his."""
    head = int(world.node.request("eth_blockNumber"), 16)
    for block_number in (head, head + 10**9):
        other = replace(world.system.deployment, block_number=block_number)
        async with NodeClient(world.node.url) as node:
            report = await verify(node, other)
        assert codes(report) == {}
        assert (report.counts["captures"], report.counts["splits"]) == (1, 1)
