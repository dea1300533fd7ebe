"""What stages share: the feed, leases, keys, the chain that a database belongs to, payloads."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any

import pytest
from sqlalchemy import text

from fenzhang.domain.records import Capture, Instruction, InstructionKind
from fenzhang.domain.rules import Leg, LegKind, RuleTerms
from fenzhang.store import chain_binding, feed, keys, leases, payloads, tables
from fenzhang.store.errors import DatabaseOfOtherChain, DatabaseUnavailable, LeaseLost
from fenzhang.store.holding import Holding
from fenzhang.store.session import Database
from fenzhang.store.tables import InstructionState

PLATFORM, OTHER = b"p" * 32, b"o" * 32
A, B, C, D = (bytes([n]) * 32 for n in range(1, 5))


async def _instruction(database: Database, platform: bytes = PLATFORM, reference: str = "r") -> int:
    async with database.write() as session:
        row = tables.Instruction(
            id=A,
            type="SPLIT",
            platform_id=platform,
            app_id="app",
            reference=reference,
            content={},
            content_hash=b"",
            payload={},
            accepted_at=0,
        )
        session.add(row)
        await session.flush()
        return row.seq


# ------------------------------------------------------------------------------ the feed


async def test_feed_numbers_changes_in_order_and_shows_each_platform_its_own(database: Database) -> None:
    mine, theirs = await _instruction(database), await _instruction(database, OTHER)
    async with database.write() as session:
        await feed.append(
            session,
            [
                feed.Change(PLATFORM, mine, InstructionState.SUBMITTED),
                feed.Change(OTHER, theirs, InstructionState.SETTLED),
                feed.Change(PLATFORM, mine, InstructionState.SETTLED),
            ],
        )
    async with database.read() as session:
        found = await feed.read(session, PLATFORM, 0, 10)
        assert [(entry.id, entry.state) for entry in found] == [(1, "SUBMITTED"), (3, "SETTLED")]
        assert [entry.id for entry in await feed.read(session, PLATFORM, 1, 10)] == [3]
        assert await feed.read_ids(session, 1, 1) == [(2, OTHER, theirs)]
        assert await feed.last_id(session) == 3


async def test_reader_never_sees_a_lower_id_after_a_higher_one(database_url: str) -> None:
    async with Database(database_url) as one, Database(database_url) as two:
        seq = await _instruction(one)
        seen: list[int] = []
        done = asyncio.Event()

        async def follow() -> None:
            while not done.is_set() or len(seen) < 60:
                async with one.read() as session:
                    page = await feed.read_ids(session, seen[-1] if seen else 0, 100)
                seen.extend(row[0] for row in page)
                await asyncio.sleep(0)

        async def write(database: Database, delay_s: float) -> None:
            async with database.write() as session:
                await feed.append(session, [feed.Change(PLATFORM, seq, InstructionState.SETTLED)] * 2)
                await asyncio.sleep(delay_s)

        following = asyncio.create_task(follow())
        await asyncio.gather(*(write((one, two)[i % 2], (i % 3) / 500) for i in range(30)))
        done.set()
        await asyncio.wait_for(following, 10)
        assert seen == list(range(1, 61))


async def test_ids_of_a_transaction_that_failed_are_given_again(database: Database) -> None:
    seq = await _instruction(database)
    change = feed.Change(PLATFORM, seq, InstructionState.SETTLED)

    async def fail() -> None:
        async with database.write() as session:
            await feed.append(session, [change])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    async with database.write() as session:
        await feed.append(session, [change])
        await feed.append(session, [])
    async with database.read() as session:
        assert await feed.last_id(session) == 1


# ------------------------------------------------------------------------------ leases


async def _acquire(database: Database, holder: str, ttl_s: float) -> int | None:
    async with database.write() as session:
        return await leases.acquire(session, "submitter", holder, ttl_s)


async def test_lease_is_held_by_one_at_a_time_and_its_fence_grows_with_each_holder(
    database: Database,
) -> None:
    assert await _acquire(database, "one", 60) == 1
    assert await _acquire(database, "one", 60) == 1
    assert await _acquire(database, "two", 60) is None
    async with database.write() as session:
        await leases.release(session, "submitter", "two")  # not its own: nothing happens
    assert await _acquire(database, "two", 60) is None
    async with database.write() as session:
        await leases.release(session, "submitter", "one")
    assert await _acquire(database, "two", 60) == 2


async def test_lease_that_ended_can_be_taken_and_its_old_holder_is_fenced_off(database: Database) -> None:
    assert await _acquire(database, "one", 0.05) == 1
    await asyncio.sleep(0.1)
    assert await _acquire(database, "two", 60) == 2
    async with database.write() as session:
        await leases.require(session, "submitter", "two", 2)
    with pytest.raises(LeaseLost):
        async with database.write() as session:
            await leases.require(session, "submitter", "one", 1)


async def test_of_many_that_try_at_once_one_gets_the_lease(database_url: str) -> None:
    async with Database(database_url) as one, Database(database_url) as two:
        results = await asyncio.gather(
            *(
                _acquire(database, f"{number}", 60)
                for number, database in enumerate(itertools.islice(itertools.cycle((one, two)), 10))
            )
        )
    assert sorted(result is not None for result in results) == [False] * 9 + [True]


async def _set_clock(database: Database, jump_s: float) -> None:
    """The database's clock jumps: every lease ends so much earlier by it."""
    async with database.write() as session:
        await session.execute(text("UPDATE leases SET expires_at = expires_at - :jump_s"), {"jump_s": jump_s})


async def _until_held(holding: Holding) -> float:
    began = time.monotonic()
    while not await holding.ensure():
        assert time.monotonic() - began < 20
        await asyncio.sleep(0.02)
    return time.monotonic() - began


async def test_a_lease_ends_in_its_time_although_the_clock_was_set_back(database: Database) -> None:
    dead, waiting = Holding(database, ["mirror"], 2.0), Holding(database, ["mirror"], 2.0)
    assert await dead.ensure()
    assert not await waiting.ensure()
    await _set_clock(database, -3_600)

    assert await _until_held(waiting) >= 2.0


async def test_a_lease_that_is_renewed_is_kept_whatever_the_clock_does(database: Database) -> None:
    working, waiting = Holding(database, ["mirror"], 0.4), Holding(database, ["mirror"], 0.4)
    assert await working.ensure()
    until = time.monotonic() + 1.2
    jump_s = -3_600.0
    while time.monotonic() < until:
        await _set_clock(database, jump_s)
        assert not await waiting.ensure()
        await asyncio.sleep(0.15)
        assert await working.ensure()
    assert (working.tenure, waiting.held) == (1, False)


async def test_a_clock_set_forward_hands_a_lease_over_and_its_holder_is_fenced_off(
    database: Database,
) -> None:
    surprised, next_one = Holding(database, ["mirror"], 60), Holding(database, ["mirror"], 60)
    assert await surprised.ensure()
    await _set_clock(database, 3_600)
    assert await next_one.ensure()
    with pytest.raises(LeaseLost):
        async with database.write() as session:
            await surprised.require(session)
    assert not await surprised.ensure()


async def _write_slowly(database: Database, stopped: Holding, waiting: Holding) -> None:
    """A write that stands still until somebody else has the lease."""
    async with database.write() as session:
        await stopped.require(session)
        assert await _until_held(waiting) < 10
        await stopped.require(session)


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
async def test_who_stops_in_the_middle_of_a_write_does_not_keep_the_lease(database_url: str) -> None:
    async with Database(database_url) as one, Database(database_url) as two:
        stopped, waiting = Holding(one, ["mirror"], 0.4), Holding(two, ["mirror"], 0.4)
        assert await stopped.ensure()
        began = time.monotonic()
        with pytest.raises(DatabaseUnavailable):
            await _write_slowly(one, stopped, waiting)
    assert time.monotonic() - began > 2


# ------------------------------------------------------------------------------ keys, chain


async def test_keys_are_found_by_label(database: Database) -> None:
    label = keys.platform_label(PLATFORM)
    async with database.write() as session:
        keys.add(session, label, b"a" * 20, {"version": 3})
    async with database.read() as session:
        assert await keys.has(session, label)
        assert not await keys.has(session, keys.ATTESTOR)
        found = await keys.by_label(session, label)
        assert found is not None
        assert (found.address, found.keyfile) == (b"a" * 20, {"version": 3})
        assert [key.label for key in await keys.by_labels(session, [label, keys.ATTESTOR])] == [label]


async def test_database_belongs_to_the_first_chain_that_used_it(database: Database) -> None:
    async with database.read() as session:
        assert not await chain_binding.check_chain(session, 20261, b"l" * 20, b"g" * 32)
    for _ in range(2):
        async with database.write() as session:
            await chain_binding.bind_chain(session, 20261, b"l" * 20, b"g" * 32)
    for other in ((1, b"l" * 20, b"g" * 32), (20261, b"m" * 20, b"g" * 32), (20261, b"l" * 20, b"h" * 32)):
        with pytest.raises(DatabaseOfOtherChain):
            async with database.write() as session:
                await chain_binding.bind_chain(session, *other)


# ------------------------------------------------------------------------------ payloads

LEGS = (
    Leg(-1, LegKind.SHARE, 500, 10, 20_000, role="platform"),
    Leg(-1, LegKind.FIXED, 300, recipient=A),
    Leg(-1, LegKind.REMAINDER, role="merchant"),
)


@pytest.mark.parametrize(
    ("payload", "read"),
    [
        (Capture(A, B, C, D, 1, "CNY", 2**63 - 1, (bytes(32), A)), payloads.capture_from),
        (Instruction(InstructionKind.SPLIT, A, B, amount=1, bindings=(C,)), payloads.instruction_from),
        (Instruction(InstructionKind.RELEASE, A, B), payloads.instruction_from),
        (Instruction(InstructionKind.RETURN, A, B, C, 3, amounts=(1, 2)), payloads.instruction_from),
        (payloads.Enrollment(A, b"a" * 20, None), payloads.enrollment_from),
        (payloads.Enrollment(A, None, B), payloads.enrollment_from),
        (payloads.StandingChange(A), payloads.standing_change_from),
        (
            payloads.Proposal(A, B, 2, 1_700_000_000, LEGS, b"s" * 65, RuleTerms(1, may_owe=True)),
            payloads.proposal_from,
        ),
        (payloads.Approval(A, B, 1, C), payloads.approval_from),
        (payloads.Retirement(A, B), payloads.retirement_from),
    ],
)
def test_payload_survives_being_stored(payload: payloads.Payload, read: Any) -> None:
    assert read(payloads.to_json(payload)) == payload
