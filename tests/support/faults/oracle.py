"""What must hold when the dust has settled, read past the proxies from the database and from the chain."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

from sqlalchemy import func, select

from fenzhang.audit.verification import verify
from fenzhang.chain.node import NodeClient
from fenzhang.ledger.reconcile import reconciliation
from fenzhang.replay.standing import CAPTURED, HELD, REFUNDED, read_standing
from fenzhang.store import tables
from fenzhang.store.errors import DatabaseUnavailable
from fenzhang.store.session import Database
from fenzhang.store.tables import InstructionState, InstructionType, TransactionState
from support.faults.system import FaultSystem
from support.faults.traffic import CURRENCY, Traffic

SETTLE_S = 300.0
_OPEN = (InstructionState.ACCEPTED.value, InstructionState.SUBMITTED.value)
_LIVE = (TransactionState.SIGNED.value, TransactionState.SENT.value)
_REJECTION = 4
_POLL_S = 0.1


async def settled(system: FaultSystem, timeout_s: float = SETTLE_S) -> float:
    """Wait until every instruction has its outcome on the node's own chain. Returns how long it took.

    Raises TimeoutError that says what is still open.
    """
    began = time.monotonic()
    state = "nothing could be read"
    async with system.database() as database, system.node() as node:
        while time.monotonic() - began < timeout_s:
            try:
                state = await _unsettled(database, node)
            except DatabaseUnavailable as error:
                state = error.message
            if not state:
                return time.monotonic() - began
            await asyncio.sleep(_POLL_S)
    raise TimeoutError(f"after {timeout_s:g} s: {state}")


async def _unsettled(database: Database, node: NodeClient) -> str:
    """What is still open, "" for nothing."""
    head = await node.block("latest")
    async with database.read() as session:
        query = select(tables.Instruction.state, func.count()).group_by(tables.Instruction.state)
        states: dict[str, int] = dict(list(await session.execute(query)))
        live_query = select(func.count()).where(tables.Transaction.state.in_(_LIVE))
        live = (await session.execute(live_query)).scalar_one()
        tip_query = select(tables.Block).order_by(tables.Block.number.desc()).limit(1)
        tip = (await session.execute(tip_query)).scalar()
    waiting = {state: count for state, count in states.items() if state in _OPEN}
    if waiting or live:
        return f"{waiting} instructions, {live} live transactions"
    if tip is None or head is None:
        return "there is no block"
    there = await node.block(tip.number)
    if there is None or there.hash != tip.hash or head.number - tip.number > 2:
        return f"the mirror is at block {tip.number}, the node at {head.number}"
    return ""


async def judge(system: FaultSystem, traffic: Traffic) -> list[str]:
    """Everything that is not as it must be; empty when nothing was lost, doubled or invented."""
    try:
        await settled(system)
    except TimeoutError as error:
        return [f"not settled {error}", *system.ended()]
    found = [*traffic.refused, *system.ended()]
    async with system.database() as database, NodeClient(system.rpc, 60.0) as node:
        found += await _check_states(database, traffic)
        found += await _check_records(database)
        found += await _check_raws(database, system)
        compared = await reconciliation(database, node, system.deployment)
        found += [f"reconcile: {difference}" for difference in compared.differences]
        audit = await verify(node, system.deployment)
        if not audit.held:
            found.append(f"verify: {audit.to_json()}")
        found += await _check_money(database, node, system, traffic)
    return found


async def _rows(database: Database, *columns: Any) -> list[Any]:
    async with database.read() as session:
        return list((await session.execute(select(*columns))).all())


async def _check_states(database: Database, traffic: Traffic) -> list[str]:
    """Each write that was answered is there once, in the state that the model says."""
    names = {platform.id: platform.name for platform in traffic.everybody}
    instruction = tables.Instruction
    rows = await _rows(
        database, instruction.platform_id, instruction.type, instruction.reference, instruction.state
    )
    kinds = {kind.value for kind in tables.SETTLEMENT_TYPES}
    there = {
        (names[row.platform_id], InstructionType(row.type), row.reference): row.state
        for row in rows
        if row.type in kinds and row.platform_id in names
    }
    expected = {
        (name, InstructionType(kind.value), reference): state.value
        for (name, kind, reference), state in traffic.model.states.items()
    }
    lost = [f"lost: {key}" for key in expected.keys() - there.keys()]
    invented = [f"never answered: {key}" for key in there.keys() - expected.keys()]
    wrong = [
        f"{key} is {there[key]} and should be {state}"
        for key, state in expected.items()
        if there.get(key, state) != state
    ]
    return sorted(lost + invented + wrong)


async def _check_records(database: Database) -> list[str]:
    """What is settled is recorded once on the canonical chain, and the feed's last word is the instruction's state."""
    record, instruction, completion = tables.Record, tables.Instruction, tables.Completion
    settled_once: Counter[bytes] = Counter()
    for row in await _rows(database, record.instruction_id, record.kind, record.canonical):
        if row.canonical and row.kind != _REJECTION:
            settled_once[row.instruction_id] += 1
    last = {
        row.instruction_seq: row.state
        for row in sorted(await _rows(database, completion.id, completion.instruction_seq, completion.state))
    }
    kinds = {kind.value for kind in tables.SETTLEMENT_TYPES}
    found = []
    for row in await _rows(database, instruction.seq, instruction.id, instruction.type, instruction.state):
        if row.type in kinds and settled_once[row.id] != (row.state == InstructionState.SETTLED.value):
            found.append(f"instruction {row.seq} is {row.state} and recorded {settled_once[row.id]} times")
        if last.get(row.seq) != row.state:
            found.append(f"instruction {row.seq} is {row.state}, the feed says {last.get(row.seq)}")
    return found


async def _check_raws(database: Database, system: FaultSystem) -> list[str]:
    """The node was never shown a transaction that is not stored; and stored is one per sender and nonce."""
    stored = {"0x" + row.raw.hex() for row in await _rows(database, tables.Transaction.raw)}
    unknown = system.node_proxy.raws - stored
    return [f"{len(unknown)} transactions were sent that are not stored"] if unknown else []


async def _check_money(
    database: Database, node: NodeClient, system: FaultSystem, traffic: Traffic
) -> list[str]:
    """The chain holds exactly what the model says, name by name."""
    participant = tables.Participant
    rows = await _rows(database, participant.id, participant.platform_id, participant.reference)
    found = []
    for platform in traffic.everybody:
        names = {row.id: row.reference for row in rows if row.platform_id == platform.id}
        standing = (await read_standing(node, system.deployment, [platform.id], names)).get(CURRENCY)
        expected = {name: amount for name, amount in traffic.model.money[platform.name].items() if amount}
        there = (
            {}
            if standing is None
            else {
                name: amount
                for name, amount in {
                    **standing.positions,
                    HELD: standing.held,
                    REFUNDED: standing.refunded,
                    CAPTURED: standing.captured,
                }.items()
                if amount
            }
        )
        if there != expected:
            wrong = {
                name: (expected.get(name, 0), there.get(name, 0))
                for name in expected.keys() | there.keys()
                if expected.get(name, 0) != there.get(name, 0)
            }
            found.append(f"money of {platform.name}, expected and found: {wrong}")
    return found
