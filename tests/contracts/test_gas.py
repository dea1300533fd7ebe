"""Gas of the usual transactions against gas_snapshot.json, so that a change in cost is a decision and no accident.

`FENZHANG_GAS_SNAPSHOT=write pytest tests/contracts/test_gas.py` writes the file anew.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from fenzhang.chain.events import (
    CycleClosed,
    OrderCaptured,
    OrderRefunded,
    OrderReleased,
    OrderSplit,
    PayoutPaid,
    PayoutReturned,
    PayoutTaken,
    SplitReturned,
)
from fenzhang.domain.clearing import OutcomeKind
from fenzhang.domain.facts import Facts
from fenzhang.domain.records import Attestation, Authorization, Capture, Instruction, InstructionKind
from fenzhang.domain.rules import Leg, LegKind
from fenzhang.domain.schedules import MAX_ENTRIES, Entry
from support.clearing import Desk
from support.node import GAS_LIMIT
from support.parties import Party, RuleRef, ScheduleRef, ident, party
from support.world import Settled, World

SNAPSHOT = Path(__file__).parent / "gas_snapshot.json"
TOLERANCE = 0.02
"""Compilers of other platforms give the same bytecode; this leaves room for ids with other zero bytes."""


def short(*parts: object) -> bytes:
    """A fixed id as the backend makes them: 16 bytes, then zeros."""
    return ident(*parts)[:16].ljust(32, b"\0")


def member(name: str) -> Party:
    """A party with such an id."""
    return replace(party(name), id=short("participant", name))


BAZAAR = member("bazaar")
RECEIVERS = [member(f"receiver {number}") for number in range(50)]
FIVE_WAY = RuleRef(
    BAZAAR,
    short("rule", "five ways"),
    1,
    (
        Leg(-1, LegKind.SHARE, 500, role="a"),
        Leg(-1, LegKind.FIXED, 30, role="b"),
        Leg(-1, LegKind.SHARE, 200, role="c"),
        Leg(-1, LegKind.SHARE, 1_000, role="d"),
        Leg(-1, LegKind.REMAINDER, role="e"),
    ),
)
GIVEN_TWO = RuleRef(
    BAZAAR,
    short("rule", "two given"),
    1,
    (
        replace(FIVE_WAY.legs[0], kind=LegKind.GIVEN),
        *FIVE_WAY.legs[1:3],
        replace(FIVE_WAY.legs[3], kind=LegKind.GIVEN, max=5_000),
        FIVE_WAY.legs[4],
    ),
)
"""The same with two amounts that the split gives."""
BATCH = 100
FULL = 200
"""Orders of a full batch, captured and split in one transaction."""
PAYOUTS = len(RECEIVERS)
"""Of a cycle, all taken or reported in one transaction."""
TARGET = 50_650
"""Gas that an order of a full batch may cost, captured and split five ways."""


class Market:
    """A world in which all that a transaction touches was touched before, but its own orders."""

    def __init__(self, world: World) -> None:
        self.world = world
        world.enroll(BAZAAR)
        world.enroll(*RECEIVERS, consenting_to=BAZAAR)
        world.put_in_force(FIVE_WAY)
        world.put_in_force(GIVEN_TWO)
        self._orders = 0
        self._nonce = 0
        for _ in range(2):
            self.capture_and_split(BATCH)

    def capture(self, rule: RuleRef = FIVE_WAY) -> Capture:
        """The next order: five of the receivers, each in its turn."""
        number = self._orders = self._orders + 1
        bound: list[Party] = [RECEIVERS[(number + 7 * place) % len(RECEIVERS)] for place in range(5)]
        return self.world.capture(
            10_000 + 37 * number,
            rule=rule,
            bindings=[receiver.id for receiver in bound],
            merchant=bound[4],
            order_id=short("gas order", number),
        )

    def split(self, capture: Capture) -> Instruction:
        """A split of all of an order."""
        return Instruction(
            InstructionKind.SPLIT,
            short("gas split", capture.order_id),
            capture.order_id,
            amount=capture.amount,
        )

    def attested(self, captures: list[Capture]) -> Attestation:
        """Signed under the next nonce, which has its word's other bits beside it."""
        self._nonce += 1
        return self.world.attest(*captures, nonce=self._nonce)

    def authorized(self, instructions: list[Instruction]) -> Authorization:
        """As `attested`."""
        self._nonce += 1
        return self.world.authorize(*instructions, platform=BAZAAR, nonce=self._nonce)

    def capture_and_split(self, orders: int) -> Settled:
        """One transaction that captures orders and splits each of them."""
        captures = [self.capture() for _ in range(orders)]
        settled = self.world.settle(self.attested(captures), self.authorized(list(map(self.split, captures))))
        assert len(settled.all(OrderCaptured)) == len(settled.all(OrderSplit)) == orders
        return settled

    def captured(self, orders: int, rule: RuleRef = FIVE_WAY) -> tuple[list[Capture], Settled]:
        """One transaction that captures orders."""
        captures = [self.capture(rule) for _ in range(orders)]
        return captures, self.world.settle(self.attested(captures))


def measure(world: World) -> dict[str, int]:
    """Gas per order, or per transaction where there are no orders, by what was done."""
    market = Market(world)
    found = {
        f"capture and five-way split, {orders} in a transaction, per order": (
            market.capture_and_split(orders).mined.gas_used // orders
        )
        for orders in (1, 20, BATCH, FULL)
    }
    captures, settled = market.captured(BATCH)
    found[f"capture, {BATCH} in a transaction, per order"] = settled.mined.gas_used // BATCH
    settled = world.settle(market.authorized(list(map(market.split, captures))))
    assert len(settled.all(OrderSplit)) == BATCH
    found[f"five-way split with witness, {BATCH} in a transaction, per order"] = (
        settled.mined.gas_used // BATCH
    )
    given, _ = market.captured(BATCH, GIVEN_TWO)
    splits = [
        replace(market.split(capture), amounts=(capture.amount // 25, capture.amount // 12))
        for capture in given
    ]
    settled = world.settle(market.authorized(splits))
    assert len(settled.all(OrderSplit)) == BATCH
    found[f"five-way split with two given amounts and witness, {BATCH} in a transaction, per order"] = (
        settled.mined.gas_used // BATCH
    )
    returns = [
        Instruction(
            InstructionKind.RETURN,
            short("gas return", capture.order_id),
            capture.order_id,
            split_id=short("gas split", capture.order_id),
            amount=capture.amount // 3,
        )
        for capture in captures
    ]
    settled = world.settle(market.authorized(returns))
    assert len(settled.all(SplitReturned)) == BATCH
    found[f"return of one split, {BATCH} in a transaction, per order"] = settled.mined.gas_used // BATCH
    refunds = [
        Instruction(
            InstructionKind.REFUND,
            short("gas refund", capture.order_id),
            capture.order_id,
            amount=capture.amount // 2,
        )
        for capture in given
    ]
    settled = world.settle(market.authorized(refunds))
    assert len(settled.all(OrderRefunded)) == BATCH
    found[f"refund of an order split once, {BATCH} in a transaction, per order"] = (
        settled.mined.gas_used // BATCH
    )
    releases = [
        Instruction(InstructionKind.RELEASE, short("gas release", capture.order_id), capture.order_id)
        for capture in captures
    ]
    settled = world.settle(market.authorized(releases))
    assert len(settled.all(OrderReleased)) == BATCH
    found[f"release, {BATCH} in a transaction, per order"] = settled.mined.gas_used // BATCH
    settled = world.settle(market.authorized(list(map(market.split, captures))))
    assert len(settled.reasons) == BATCH
    found[f"rejected split, {BATCH} in a transaction, per order"] = settled.mined.gas_used // BATCH
    group = world.opened(2 * BATCH, platform=BAZAAR)
    for what in ("capture under a condition", "capture that reaches a condition and five-way split"):
        captures = [replace(market.capture(), condition=group) for _ in range(BATCH)]
        splits = list(map(market.split, captures)) if "split" in what else []
        settled = world.settle(market.attested(captures), *([market.authorized(splits)] if splits else []))
        assert len(settled.all(OrderSplit)) == len(splits)
        found[f"{what}, {BATCH} in a transaction, per order"] = settled.mined.gas_used // BATCH
    for version, entries in enumerate((8, MAX_ENTRIES), 1):
        world.put_in_force(ScheduleRef(BAZAAR, version, schedule_of(entries)))
        captures, settled = market.captured(BATCH)
        assert len(settled.all(OrderCaptured)) == BATCH
        found[f"capture by the last of {entries} entries, {BATCH} in a transaction, per order"] = (
            settled.mined.gas_used // BATCH
        )
    return found | measure_clearing(market)


def measure_clearing(market: Market) -> dict[str, int]:
    """Gas of closing a cycle, and of taking and reporting a payout, after a cycle that touched what is shared."""
    desk = Desk(market.world)
    payees = sorted(RECEIVERS, key=lambda each: each.id)
    found: dict[str, int] = {}
    for _ in range(2):
        cycle, payouts = desk.cycle(*((each, 100) for each in payees))
        closed = desk.attempt_close(desk.signed(cycle))
        assert isinstance(closed, Settled)
        number = closed.only(CycleClosed).cycle_id
        desk.payouts[number] = payouts
        taken = desk.take(number)
        paid = desk.report(number, *((index, OutcomeKind.PAID) for index in range(PAYOUTS)))
        returned = desk.report(number, *((index, OutcomeKind.RETURNED) for index in range(PAYOUTS)))
        assert len(taken.all(PayoutTaken)) == len(paid.all(PayoutPaid)) == PAYOUTS
        assert len(returned.all(PayoutReturned)) == PAYOUTS
        found = {
            "closing of a cycle": closed.mined.gas_used,
            f"payout taken, {PAYOUTS} in a transaction, each": taken.mined.gas_used // PAYOUTS,
            f"payout reported paid, {PAYOUTS} in a transaction, each": paid.mined.gas_used // PAYOUTS,
            f"payout reported returned, {PAYOUTS} in a transaction, each": returned.mined.gas_used // PAYOUTS,
        }
    return found


def schedule_of(size: int) -> tuple[Entry, ...]:
    """Entries that no order of the market matches, and the last one, which all do."""
    others = (Entry(GIVEN_TWO.rule_id, Facts(category=f"c{number}").pack()) for number in range(size - 1))
    return (*others, Entry(FIVE_WAY.rule_id))


@pytest.fixture(scope="module")
def measured(built_world: World) -> dict[str, int]:
    saved = built_world.save()
    found = measure(built_world)
    built_world.restore(saved)
    if os.environ.get("FENZHANG_GAS_SNAPSHOT") == "write":
        SNAPSHOT.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return found


def snapshot() -> dict[str, int]:
    if not SNAPSHOT.exists():
        return {}
    found: dict[str, int] = json.loads(SNAPSHOT.read_text(encoding="utf-8"))
    return found


def test_gas_is_what_the_snapshot_says(measured: dict[str, int]) -> None:
    expected = snapshot()
    assert measured.keys() == expected.keys()
    changed = {
        what: f"{expected[what]:,} -> {gas:,}"
        for what, gas in measured.items()
        if abs(gas - expected[what]) > TOLERANCE * expected[what]
    }
    assert not changed, "if this is wanted: FENZHANG_GAS_SNAPSHOT=write"


def test_a_full_batch_fits_one_transaction_and_its_target(measured: dict[str, int]) -> None:
    per_order = measured[f"capture and five-way split, {FULL} in a transaction, per order"]
    assert per_order <= TARGET
    assert per_order * FULL < GAS_LIMIT
