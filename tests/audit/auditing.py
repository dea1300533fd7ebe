"""How the tests of the audit verify a world, and how they tamper with what its contracts hold."""

from __future__ import annotations

from collections import Counter

import httpx

from fenzhang.audit.differences import Code, Difference
from fenzhang.audit.verification import AuditReport, verify
from fenzhang.chain.keccak import keccak
from fenzhang.chain.node import NodeClient
from support.node import HandNode
from support.parties import MALL, MARKET, ident
from support.world import World

FORWARDER = ident("forwarder")[12:]
"""Address of a contract that passes calls on; see `install_forwarder`."""
_FORWARDER_CODE = bytes.fromhex("602036038060205f375f5f915f5f5f355af100")
"""Calls the address in the first word of its calldata with the rest of it."""


async def verified(world: World, order: str | None = None) -> AuditReport:
    """Verify the world's chain through its node."""
    async with NodeClient(world.node.url) as node:
        return await verify(node, world.system.deployment, order=order)


class LyingNode(httpx.AsyncBaseTransport):
    """A node in front of the real one that says one text for another in the answers to some methods."""

    def __init__(self, truth: str, claim: str, *methods: str) -> None:
        self._real = httpx.AsyncHTTPTransport()
        self._truth, self._claim = truth.encode(), claim.encode()
        self._methods = [method.encode() for method in methods]
        self.lies = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Pass a request on, and its answer back, true or not."""
        asked = await request.aread()
        response = await self._real.handle_async_request(request)
        body = await response.aread()
        await response.aclose()
        if any(method in asked for method in self._methods):
            self.lies += body.count(self._truth)
            body = body.replace(self._truth, self._claim)
        return httpx.Response(200, content=body, headers={"Content-Type": "application/json"})

    async def aclose(self) -> None:
        """Close the connections."""
        await self._real.aclose()


async def lied_to_about(world: World, truth: str, claim: str, *methods: str) -> AuditReport:
    """What an auditor finds that asks a node which lies in the answers to these methods."""
    node_in_front = LyingNode(truth, claim, *methods)
    async with NodeClient(world.node.url, transport=node_in_front) as node:
        report = await verify(node, world.system.deployment)
    assert node_in_front.lies > 0
    return report


def codes(report: AuditReport) -> Counter[Code]:
    """How many differences of each code were found."""
    return Counter(difference.code for difference in report.differences)


def only(report: AuditReport, code: Code) -> Difference:
    """The one difference of a code."""
    [found] = [difference for difference in report.differences if difference.code is code]
    return found


def install_forwarder(node: HandNode) -> None:
    """Put a contract on the chain that calls others in its own name."""
    node.set_code(FORWARDER, _FORWARDER_CODE)


def forwarded(target: bytes, data: bytes) -> bytes:
    """Calldata with which the forwarder calls `target`."""
    return target.rjust(32, b"\0") + data


# ------------------------------------------------------------------------------ storage, as solc lays it out


class Slots:
    """First slots of the contracts' state variables. AccessManaged takes slot 0, EIP712 slots 1 and 2."""

    PARTICIPANTS = 1
    CONSENTS = 2
    FROZEN_COUNT = 6
    PLACES = 7
    RULES = 3
    ORDERS = 3
    POSITIONS = 4
    TOTALS = 5
    ENABLED = 6
    REFUNDED = 7
    SHARED_OUT = 8
    NONCES = 9
    BATCH_ROOTS = 10
    BATCH_COUNT = 11
    CONDITIONS = 3
    FREEZES = 4
    FROZEN_ORDERS = 5
    MANAGER_ROLES = 1


def mapped(slot: int, *keys: bytes) -> int:
    """Slot of an entry of a mapping at `slot`; several keys for mappings in mappings. Keys are words."""
    for key in keys:
        slot = int.from_bytes(keccak(key + slot.to_bytes(32, "big")), "big")
    return slot


def word(value: int) -> bytes:
    """A number as a mapping's key."""
    return value.to_bytes(32, "big")


def left(value: bytes) -> bytes:
    """A short `bytesN` as a mapping's key."""
    return value.ljust(32, b"\0")


def right(address: bytes) -> bytes:
    """An address as a mapping's key."""
    return address.rjust(32, b"\0")


def peek(world: World, contract: str, slot: int) -> int:
    """What a slot of a contract holds."""
    address = "0x" + world.system.deployment.addresses[contract].hex()
    return int(world.node.request("eth_getStorageAt", address, hex(slot), "latest"), 16)


def poke(world: World, contract: str, slot: int, value: int) -> int:
    """Overwrite a slot of a contract, as no transaction could. What it held before."""
    before = peek(world, contract, slot)
    address = "0x" + world.system.deployment.addresses[contract].hex()
    world.node.request("anvil_setStorageAt", address, f"0x{slot:064x}", f"0x{value:064x}")
    return before


def set_status(world: World, participant: bytes, status: int) -> None:
    """Overwrite the standing of a participant, and nothing else of it."""
    slot = mapped(Slots.PARTICIPANTS, participant)
    kept = peek(world, "ParticipantRegistry", slot) & ~(0xFF << 160)
    poke(world, "ParticipantRegistry", slot, kept | status << 160)


def code_of(world: World, address: bytes) -> bytes:
    """The code of a contract."""
    return bytes.fromhex(world.node.request("eth_getCode", "0x" + address.hex(), "latest")[2:])


def market_slot(offset: int) -> int:
    """Slot of the rule MARKET in the rule book: 0 holds latest and retired, 1 its versions."""
    return mapped(Slots.RULES, MALL.id, MARKET.rule_id) + offset


def market_version_slot(offset: int) -> int:
    """Slot of version 1 of MARKET: 0 holds the content hash, 1 legs' address, effective time, approval and terms."""
    return mapped(market_slot(1), word(1)) + offset


def legs_blob(world: World) -> bytes:
    """Address of the contract whose code is the legs of MARKET."""
    found = peek(world, "RuleBook", market_version_slot(1)) & (1 << 160) - 1
    return found.to_bytes(20, "big")


def replace_fee(world: World, before: int, after: int) -> None:
    """Overwrite the fixed fee in the stored legs of MARKET."""
    blob = legs_blob(world)
    code = code_of(world, blob)
    assert word(before) in code
    world.node.set_code(blob, code.replace(word(before), word(after), 1))
