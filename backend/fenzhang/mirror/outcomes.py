"""Instructions reach their state: settled or rejected, by what the chain recorded about them and nothing else.

An event is matched to an instruction by id and by what it says: a foreign authorization that uses the id of one of
our instructions for something else does not settle it. What settled on chain is settled, whatever was thought
before; a rejection never replaces it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row, Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.chain.codec import decode_revert
from fenzhang.chain.events import AuthorizationRejected, LogPosition
from fenzhang.domain.errors import InvalidSignature
from fenzhang.domain.records import RecordKind
from fenzhang.mirror.reading import Outcome
from fenzhang.store import payloads
from fenzhang.store.bulk import chunks, update_rows
from fenzhang.store.feed import Change
from fenzhang.store.reasons import reason_to_json
from fenzhang.store.tables import (
    SETTLEMENT_TYPES,
    TERMINAL_STATES,
    Authorization,
    Instruction,
    InstructionState,
    Transaction,
)

_TYPE_OF = {
    RecordKind.CAPTURE: "CAPTURE",
    RecordKind.SPLIT: "SPLIT",
    RecordKind.RELEASE: "RELEASE",
    RecordKind.RETURN: "RETURN",
}
_SETTLEMENT = [kind.value for kind in SETTLEMENT_TYPES]


@dataclass(slots=True)
class Verdicts:
    """New states of instructions by seq, and the transitions to announce."""

    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    changes: dict[int, Change] = field(default_factory=dict)
    instructions: dict[int, Any] = field(default_factory=dict)
    """The instructions' rows as they were, by seq."""

    def settle(self, instruction: Any, at: LogPosition) -> None:
        """The chain did it."""
        self._set(instruction, InstructionState.SETTLED, at, None)

    def reject(self, instruction: Any, at: LogPosition, reason: bytes) -> None:
        """The chain refused it."""
        self._set(instruction, InstructionState.REJECTED, at, reason_to_json(decode_revert(reason)))

    def state_of(self, instruction: Any) -> str:
        """State of an instruction row after the verdicts so far."""
        row = self.rows.get(instruction.seq)
        return str(row["state"] if row else instruction.state)

    def _set(
        self, instruction: Any, state: InstructionState, at: LogPosition, reason: dict[str, Any] | None
    ) -> None:
        self.instructions[instruction.seq] = instruction
        self.rows[instruction.seq] = {
            "seq": instruction.seq,
            "state": state.value,
            "reason": reason,
            "block_number": at.block_number,
            "tx_hash": at.tx_hash,
        }
        self.changes[instruction.seq] = Change(instruction.platform_id, instruction.seq, state)

    async def write(self, session: AsyncSession) -> None:
        """Store the states. In order of seq, so that two writers of instructions cannot wait for each other."""
        rows = [self.rows[seq] for seq in sorted(self.rows)]
        rejected = [row for row in rows if row["reason"] is not None]
        settled = [
            {name: value for name, value in row.items() if name != "reason"}
            for row in rows
            if row["reason"] is None
        ]
        await update_rows(session, Instruction, "seq", settled, clear=["reason"])
        await update_rows(session, Instruction, "seq", rejected)


def instruction_columns() -> Select[Any]:
    """What matching needs of an instruction, with its authorization's signer."""
    return select(
        Instruction.seq,
        Instruction.id,
        Instruction.type,
        Instruction.platform_id,
        Instruction.order_id,
        Instruction.payload,
        Instruction.state,
        Instruction.request_id,
        Authorization.signer,
        Authorization.digest,
    ).outerjoin(Authorization, Authorization.id == Instruction.authorization_id)


async def judge(
    session: AsyncSession, outcomes: Sequence[Outcome | AuthorizationRejected], verdicts: Verdicts
) -> None:
    """Add to `verdicts` what the outcomes, in order, mean for instructions."""
    by_id = await _by_id(session, outcomes)
    by_digest = await _by_digest(session, outcomes)
    own = await _own_transactions(session, outcomes)
    for outcome in outcomes:
        if isinstance(outcome, Outcome):
            for row in by_id.get(outcome.id, ()):
                _apply(outcome, row, verdicts)
            continue
        forgeable = isinstance(decode_revert(outcome.reason), InvalidSignature)
        if forgeable and outcome.at.tx_hash not in own:
            # Anybody can relay a copy with a broken signature; that says nothing about the authorization.
            continue
        for row in by_digest.get(outcome.digest, ()):
            if verdicts.state_of(row) not in TERMINAL_STATES:
                verdicts.reject(row, outcome.at, outcome.reason)


def _apply(outcome: Outcome, row: Any, verdicts: Verdicts) -> None:
    if verdicts.state_of(row) == InstructionState.SETTLED or not _is_about(outcome, row):
        return
    if outcome.reason is None:
        verdicts.settle(row, outcome.at)
    else:
        verdicts.reject(row, outcome.at, outcome.reason)


def _is_about(outcome: Outcome, row: Any) -> bool:
    if row.type != _TYPE_OF.get(outcome.kind) or row.order_id != outcome.order_id:
        return False
    if outcome.kind is RecordKind.CAPTURE and outcome.reason is None:
        return payloads.capture_from(row.payload) == outcome.capture
    # A release settles what is held; its instruction names no amount.
    if outcome.kind is not RecordKind.RELEASE and row.payload["amount"] != outcome.amount:
        return False
    expected = row.platform_id if outcome.reason is None else row.signer
    return bool(expected == outcome.signer)


async def _by_id(
    session: AsyncSession, outcomes: Sequence[Outcome | AuthorizationRejected]
) -> dict[bytes, list[Row[Any]]]:
    ids = sorted({outcome.id for outcome in outcomes if isinstance(outcome, Outcome)})
    found: dict[bytes, list[Row[Any]]] = defaultdict(list)
    for chunk in chunks(ids):
        query = instruction_columns().where(Instruction.id.in_(chunk), Instruction.type.in_(_SETTLEMENT))
        for row in await session.execute(query):
            found[row.id].append(row)
    return found


async def _by_digest(
    session: AsyncSession, outcomes: Sequence[Outcome | AuthorizationRejected]
) -> dict[bytes, list[Row[Any]]]:
    digests = sorted({outcome.digest for outcome in outcomes if isinstance(outcome, AuthorizationRejected)})
    found: dict[bytes, list[Row[Any]]] = defaultdict(list)
    for chunk in chunks(digests):
        query = instruction_columns().where(Authorization.digest.in_(chunk)).order_by(Instruction.seq)
        for row in await session.execute(query):
            found[row.digest].append(row)
    return found


async def _own_transactions(
    session: AsyncSession, outcomes: Sequence[Outcome | AuthorizationRejected]
) -> set[bytes]:
    """Hashes of those transactions with a refused authorization that are ours."""
    hashes = sorted(
        {outcome.at.tx_hash for outcome in outcomes if isinstance(outcome, AuthorizationRejected)}
    )
    own: set[bytes] = set()
    for chunk in chunks(hashes):
        own |= set(
            (await session.execute(select(Transaction.hash).where(Transaction.hash.in_(chunk)))).scalars()
        )
    return own
