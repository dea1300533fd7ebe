"""Random histories of payouts, mirrored in ranges of any size and turned back anywhere: rows and accounts follow.

Events are made here, so that a history takes no node; test_payouts has the same with one.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from fenzhang.chain.clearing import cycle_id, cycle_leaf, payout_id, payout_leaf
from fenzhang.chain.codec import encode_rejection
from fenzhang.chain.events import (
    BatchSealed,
    CycleClosed,
    Event,
    LogPosition,
    PayoutEvent,
    PayoutFailed,
    PayoutPaid,
    PayoutRefused,
    PayoutReturned,
    PayoutTaken,
)
from fenzhang.chain.evidence import merkle_root
from fenzhang.chain.node import BlockHeader
from fenzhang.domain.clearing import Cycle, Payout
from fenzhang.domain.errors import RecipientNotActive
from fenzhang.ledger.balances import balances
from fenzhang.ledger.chart import Chart, custody, in_transit, payable
from fenzhang.ledger.linkcheck import examine_journal
from fenzhang.mirror.clearing import load_currencies
from fenzhang.mirror.fetching import BlockRef, Span
from fenzhang.mirror.governance import Standing
from fenzhang.mirror.mirror import _last_record
from fenzhang.mirror.reading import known_cycles, read_events
from fenzhang.mirror.rewinding import rewind
from fenzhang.mirror.writing import prepare, write_span
from fenzhang.store.clearingtables import CycleRow, PayoutRow
from fenzhang.store.session import Database

PAYOUTS = 5
CNY = "CNY"
NEXT = {
    "NONE": ("IN_TRANSIT", "REFUSED"),
    "IN_TRANSIT": ("PAID", "FAILED"),
    "PAID": ("RETURNED",),
}
NOTHING_STANDS = Standing([], [], 0, {})


def _payout(index: int) -> Payout:
    return Payout(index % PAYOUTS, bytes([index % 3 + 1]) * 32, 100 + index)


@dataclass(slots=True)
class Chain:
    """Blocks of events, as ClearingHouse would emit them. Each block is one transaction, of one cycle."""

    blocks: list[tuple[BlockHeader, list[Event]]] = field(default_factory=list)
    _salt: count[int] = field(default_factory=count)

    def states(self) -> dict[bytes, str]:
        """By payout, from the events alone."""
        names = {
            PayoutTaken: "IN_TRANSIT",
            PayoutRefused: "REFUSED",
            PayoutPaid: "PAID",
            PayoutFailed: "FAILED",
            PayoutReturned: "RETURNED",
        }
        told = [event for _, events in self.blocks for event in events]
        return {each.payout_id: names[type(each)] for each in told if isinstance(each, PayoutEvent)}

    def add(self, picks: Sequence[int]) -> None:
        """A block in which a cycle is closed, or payouts that `picks` choose go on to what they choose."""
        height = len(self.blocks) + 1
        block = sha256(f"{height} {next(self._salt)}".encode()).digest()
        places = count()

        def at() -> LogPosition:
            return LogPosition(height, block, b"\x11" + block[1:], 0, next(places))

        cycles = sum(isinstance(event, CycleClosed) for _, events in self.blocks for event in events)
        if not picks or not cycles:
            number = cycle_id(CNY, "standard", cycles + 1)
            root, nothing = b"\1" * 32, bytes(32)
            cycle = Cycle(
                CNY, "standard", cycles + 1, height, height, PAYOUTS, 515, root, nothing, nothing, 2**64 - 1
            )
            closing = CycleClosed(at(), number, cycle, bytes(20))
            events: list[Event] = [closing]
            leaves = [cycle_leaf(closing)]
        else:
            number = cycle_id(CNY, "standard", picks[0] % cycles + 1)
            paid = list(self._go_on(number, picks, at))
            events, leaves = list(paid), [payout_leaf(event, CNY) for event in paid]
        if leaves:
            sealed = sum(isinstance(event, BatchSealed) for _, told in self.blocks for event in told)
            events.append(BatchSealed(at(), sealed + 1, merkle_root(leaves), len(leaves)))
        parent = self.blocks[-1][0].hash if self.blocks else bytes(32)
        self.blocks.append((BlockHeader(height, block, parent, 1_000 + height), events))

    def _go_on(self, number: bytes, picks: Sequence[int], at: object) -> list[PayoutEvent]:
        assert callable(at)
        states = self.states()
        told: list[PayoutEvent] = []
        for pick in picks:
            payout = _payout(pick % PAYOUTS)
            name = payout_id(number, payout)
            choices = NEXT.get(states.get(name, "NONE"), ())
            if not choices:
                continue
            states[name] = choices[pick // PAYOUTS % len(choices)]
            whole = (at(), number, name, payout.index, payout.participant, payout.amount)
            known = (whole[0], number, name, payout.participant, payout.amount)
            match states[name]:
                case "IN_TRANSIT":
                    told.append(PayoutTaken(*whole))
                case "REFUSED":
                    told.append(
                        PayoutRefused(*whole, encode_rejection(RecipientNotActive(payout.participant)))
                    )
                case "PAID":
                    told.append(PayoutPaid(*known))
                case "FAILED":
                    told.append(PayoutFailed(*known, "AC04"))
                case _:
                    told.append(PayoutReturned(*known, "AC06"))
        return told


@dataclass(slots=True)
class Follower:
    """A mirror without a node."""

    database: Database
    chain: Chain
    chart: Chart = field(default_factory=Chart)
    height: int = 0

    async def follow(self, blocks: int) -> None:
        """Read up to so many blocks as one range."""
        ahead = self.chain.blocks[self.height : self.height + blocks]
        if not ahead:
            return
        span = Span([header for header, _ in ahead], [event for _, events in ahead for event in events])
        async with self.database.write() as session:
            currencies = await load_currencies(session, known_cycles(span.events))
            record, batch = await _last_record(session)
            reading = read_events(span.events, {}, currencies, record + 1, batch)
            prepared = await prepare(session, self.chart, reading, look_up=False)
            await write_span(session, self.chart, span, prepared, kept_blocks=100)
        self.chart.keep()
        self.height += len(ahead)

    async def turn(self, depth: int) -> None:
        """The chain loses its newest blocks, so many of them at most."""
        keep = max(len(self.chain.blocks) - depth, 1)
        del self.chain.blocks[keep:]
        if self.height > keep:
            ancestor = BlockRef(keep, self.chain.blocks[-1][0].hash)
            async with self.database.write() as session:
                await rewind(session, ancestor, NOTHING_STANDS)
            self.height = keep

    async def check(self) -> None:
        """Rows are what the events say, and accounts what the rows say."""
        await self.follow(len(self.chain.blocks))
        async with self.database.read() as session:
            payouts = (await session.execute(select(PayoutRow))).scalars().all()
            cycles = (await session.execute(select(CycleRow.cycle_id))).scalars().all()
            held = await balances(session)
            examined = await examine_journal(session)
        assert {row.payout_id: row.state for row in payouts} == self.chain.states()
        last = {
            event.payout_id: (event.at.block_number, getattr(event, "reason", None))
            for _, events in self.chain.blocks
            for event in events
            if isinstance(event, PayoutEvent)
        }
        for row in payouts:
            block, reason = last[row.payout_id]
            told = "recipient_not_active" if row.state == "REFUSED" else reason
            assert (row.block_number, row.reason) == (block, told)
        closed = [
            event.cycle_id
            for _, events in self.chain.blocks
            for event in events
            if isinstance(event, CycleClosed)
        ]
        assert sorted(cycles) == sorted(closed)

        def sums(*states: str, owner: bytes | None = None) -> int:
            return sum(r.amount for r in payouts if r.state in states and owner in {None, r.participant_id})

        assert held.get(in_transit(CNY), 0) == sums("IN_TRANSIT")
        assert held.get(custody(CNY), 0) == -sums("PAID")
        for owner in {row.participant_id for row in payouts}:
            assert held.get(payable(CNY, owner), 0) == -sums("IN_TRANSIT", "PAID", owner=owner)
        # The heads that these cycles anchored are zeros.
        assert examined.fault is None or examined.fault.subject.startswith("cycle ")


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("block"), st.lists(st.integers(0, 9), min_size=1, max_size=6)),
        st.tuples(st.just("block"), st.lists(st.integers(0, 9), max_size=6)),
        st.tuples(st.just("follow"), st.integers(1, 4)),
        st.tuples(st.just("turn"), st.integers(1, 5)),
    ),
    min_size=8,
    max_size=30,
)


@settings(max_examples=30, deadline=None)
@given(steps=STEPS)
def test_rows_and_accounts_follow_the_chain_back_and_forward(
    migrated_sqlite: Path, steps: list[tuple[str, object]]
) -> None:
    asyncio.run(_play(migrated_sqlite, steps))


async def _play(migrated: Path, steps: list[tuple[str, object]]) -> None:
    path = migrated.with_name("history.db")
    shutil.copy(migrated, path)
    async with Database(f"sqlite:///{path}") as database:
        follower = Follower(database, Chain())
        follower.chain.add(())
        for kind, value in steps:
            match kind, value:
                case "block", list():
                    follower.chain.add(value)
                case "follow", int():
                    await follower.follow(value)
                case "turn", int():
                    await follower.turn(value)
                    await follower.check()
        await follower.check()
    for left in path.parent.glob(path.name + "*"):
        left.unlink()
