"""Instructions reach their state: settled or rejected, by what the chain recorded about them and nothing else.

An event is matched to an instruction by id and by what it says: a foreign authorization that uses the id of one of
our instructions for something else does not settle it. What settled on chain is settled, whatever was thought
before; a rejection never replaces it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.chain.codec import decode_revert
from fenzhang.chain.events import AuthorizationRejected, LogPosition
from fenzhang.domain.errors import InvalidSignature
from fenzhang.domain.records import RecordKind
from fenzhang.mirror.entries import Outcome
from fenzhang.store import payloads, rejections
from fenzhang.store.bulk import chunks, update_tuples
from fenzhang.store.feed import Change
from fenzhang.store.reasons import reason_to_json
from fenzhang.store.rejections import Rejected
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
    RecordKind.REFUND: "REFUND",
}
_SETTLEMENT = [kind.value for kind in SETTLEMENT_TYPES]


class Asked(NamedTuple):
    """What matching needs of an instruction. A tuple: there is one for every outcome."""

    seq: int
    id: bytes
    type: str
    platform_id: bytes
    order_id: bytes | None
    payload: dict[str, Any]
    state: str
    request_id: str | None
    signer: bytes | None
    """Of its authorization, as is:"""
    digest: bytes | None


class Verdict(NamedTuple):
    """What became of an instruction, and where the chain says so. `reason` is why it was refused."""

    asked: Asked
    state: InstructionState
    at: LogPosition
    reason: dict[str, Any] | None


@dataclass(slots=True)
class Verdicts:
    """The last verdict about each instruction, by seq."""

    by_seq: dict[int, Verdict] = field(default_factory=dict)
    rejections: list[Verdict] = field(default_factory=list)
    """All of them, also those that a later verdict replaced."""

    def settle(self, asked: Asked, at: LogPosition) -> None:
        """The chain did it."""
        self.by_seq[asked.seq] = Verdict(asked, InstructionState.SETTLED, at, None)

    def reject(self, asked: Asked, at: LogPosition, reason: bytes) -> None:
        """The chain refused it."""
        told = reason_to_json(decode_revert(reason))
        verdict = Verdict(asked, InstructionState.REJECTED, at, told)
        self.by_seq[asked.seq] = verdict
        self.rejections.append(verdict)

    def state_of(self, asked: Asked) -> str:
        """State of an instruction after the verdicts so far."""
        verdict = self.by_seq.get(asked.seq)
        return asked.state if verdict is None else verdict.state

    def changes(self) -> list[Change]:
        """The transitions to announce."""
        return [Change(verdict.asked.platform_id, seq, verdict.state) for seq, verdict in self.by_seq.items()]

    async def write(self, session: AsyncSession, times: Mapping[int, int]) -> None:
        """Store the states. In order of seq, so that two writers of instructions cannot wait for each other.

        `times` are those of the blocks (Unix seconds).
        """
        ordered = [self.by_seq[seq] for seq in sorted(self.by_seq)]
        for state in (InstructionState.SETTLED, InstructionState.REJECTED):
            rows = [
                (state.value, told, at.block_number, at.tx_hash, asked.seq)
                for asked, found, at, told in ordered
                if found is state
            ]
            await update_tuples(session, Instruction, _VERDICT_COLUMNS, rows)
        await rejections.append(
            session,
            [
                Rejected(
                    asked.seq, times[at.block_number], at.block_number, at.log_index, at.tx_hash, told or {}
                )
                for asked, _, at, told in self.rejections
            ],
        )


_VERDICT_COLUMNS = ("state", "reason", "block_number", "tx_hash", "seq")


def instruction_columns() -> Select[Any]:
    """The columns of `Asked`, in its order."""
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


@dataclass(frozen=True, slots=True)
class Ahead:
    """Instructions by id that were loaded before the write transaction: all that had a seq up to `last_seq`."""

    last_seq: int
    by_id: Mapping[bytes, list[Asked]]


async def look_ahead(session: AsyncSession, outcomes: Sequence[Outcome | AuthorizationRejected]) -> Ahead:
    """Load the instructions that the outcomes are about, for SQLite, whose write lock the other stages wait for.

    There whoever writes is alone, so that seqs become visible in order. Of what is loaded, only this stage changes what
    matching looks at.
    """
    last_seq = (await session.execute(select(func.max(Instruction.seq)))).scalar() or 0
    return Ahead(last_seq, await _by_id(session, _ids_of(outcomes)))


async def judge(
    session: AsyncSession,
    outcomes: Sequence[Outcome | AuthorizationRejected],
    verdicts: Verdicts,
    ahead: Ahead | None,
) -> None:
    """Add to `verdicts` what the outcomes, in order, mean for instructions."""
    by_id = await _by_id_since(session, outcomes, ahead)
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


def _apply(outcome: Outcome, row: Asked, verdicts: Verdicts) -> None:
    if verdicts.state_of(row) == InstructionState.SETTLED or not _is_about(outcome, row):
        return
    if outcome.reason is None:
        verdicts.settle(row, outcome.at)
    else:
        verdicts.reject(row, outcome.at, outcome.reason)


def _is_about(outcome: Outcome, row: Asked) -> bool:
    if row.type != _TYPE_OF.get(outcome.kind) or row.order_id != outcome.order_id:
        return False
    if outcome.kind is RecordKind.CAPTURE and outcome.reason is None:
        return outcome.capture is not None and row.payload == payloads.to_json(outcome.capture)
    # A release settles what is held; its instruction names no amount.
    if outcome.kind is not RecordKind.RELEASE and row.payload["amount"] != outcome.amount:
        return False
    expected = row.platform_id if outcome.reason is None else row.signer
    return expected == outcome.signer


def _ids_of(outcomes: Sequence[Outcome | AuthorizationRejected]) -> set[bytes]:
    return {outcome.id for outcome in outcomes if isinstance(outcome, Outcome)}


async def _by_id_since(
    session: AsyncSession, outcomes: Sequence[Outcome | AuthorizationRejected], ahead: Ahead | None
) -> Mapping[bytes, list[Asked]]:
    """The instructions by id: those loaded ahead, and those that were accepted since."""
    ids = _ids_of(outcomes)
    if ahead is None or not ids:
        return await _by_id(session, ids)
    since = await session.execute(select(Instruction.id).where(Instruction.seq > ahead.last_seq))
    return {**ahead.by_id, **await _by_id(session, ids.intersection(since.scalars()))}


async def _by_id(session: AsyncSession, ids: Collection[bytes]) -> dict[bytes, list[Asked]]:
    found: dict[bytes, list[Asked]] = defaultdict(list)
    for chunk in chunks(sorted(ids)):
        query = instruction_columns().where(Instruction.id.in_(chunk), Instruction.type.in_(_SETTLEMENT))
        for row in await session.execute(query):
            asked = Asked._make(row)
            found[asked.id].append(asked)
    return found


async def _by_digest(
    session: AsyncSession, outcomes: Sequence[Outcome | AuthorizationRejected]
) -> dict[bytes, list[Asked]]:
    digests = sorted({outcome.digest for outcome in outcomes if isinstance(outcome, AuthorizationRejected)})
    found: dict[bytes, list[Asked]] = defaultdict(list)
    for chunk in chunks(digests):
        query = instruction_columns().where(Authorization.digest.in_(chunk)).order_by(Instruction.seq)
        for row in await session.execute(query):
            asked = Asked._make(row)
            if asked.digest is not None:
                found[asked.digest].append(asked)
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
