"""A signed request as a whole: which of its instructions a signature covers, and whether the chain can take it so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.domain.records import Capture, Instruction
from fenzhang.intake.errors import AuthorizationMissing, ReturnNotFirst
from fenzhang.intake.requests import ClientSignature
from fenzhang.intake.rows import NewInstruction
from fenzhang.intake.signatures import Verifier
from fenzhang.intake.size import TransactionSize
from fenzhang.intake.snapshot import Snapshot
from fenzhang.store import tables


@dataclass(frozen=True, slots=True)
class Signatures:
    """What came signed: `authorization` covers splits, releases and returns, `attestation` captures, in order."""

    authorization: ClientSignature | None = None
    attestation: ClientSignature | None = None

    def __bool__(self) -> bool:
        return self.authorization is not None or self.attestation is not None


@dataclass(frozen=True, slots=True)
class Fresh:
    """A new item of a request: its place there, its row, which is not inserted yet, and what goes on chain."""

    index: int
    row: NewInstruction
    payload: Capture | Instruction


async def sign(
    session: AsyncSession,
    snapshot: Snapshot,
    items: Sequence[Fresh],
    verifier: Verifier,
    signatures: Signatures,
) -> None:
    """Store the signatures and bind the rows of `items` to them, for ever.

    Raises SignatureRefused, AuthorizationExpired, NonceTaken, AuthorizationMissing, AuthorizationTooLarge and
    ReturnNotFirst.
    """
    if signatures.authorization is not None:
        signed = [(item, item.payload) for item in items if isinstance(item.payload, Instruction)]
        name = signatures.authorization.field
        _check_covers(name, signed)
        _check_first(signed)
        _check_size(name, snapshot, [payload for _, payload in signed])
        instructions = [payload for _, payload in signed]
        row = await verifier.authorize(
            session, snapshot.platform, signatures.authorization, instructions, snapshot.now
        )
        await _attach(session, row, [item.row for item, _ in signed])
    if signatures.attestation is not None:
        attested = [(item, item.payload) for item in items if isinstance(item.payload, Capture)]
        name = signatures.attestation.field
        _check_covers(name, attested)
        _check_size(name, snapshot, [payload for _, payload in attested])
        captures = [payload for _, payload in attested]
        row = await verifier.attest(session, signatures.attestation, captures, snapshot.now)
        await _attach(session, row, [item.row for item, _ in attested])


async def _attach(
    session: AsyncSession, row: tables.Authorization, instructions: Sequence[NewInstruction]
) -> None:
    session.add(row)
    await session.flush()
    for position, instruction in enumerate(instructions):
        instruction.authorization_id = row.id
        instruction.position = position


def _check_covers(name: str, covered: Sequence[object]) -> None:
    if not covered:
        raise AuthorizationMissing(name, "nothing in the request is covered by it")


def _check_size(name: str, snapshot: Snapshot, payloads: Sequence[Capture | Instruction]) -> None:
    size = TransactionSize()
    for payload in payloads:
        if isinstance(payload, Capture):
            size.add_capture(payload, snapshot.shape(payload.rule_id, payload.rule_version))
        else:
            order = snapshot.orders[payload.order_id]
            size.add(payload, order, snapshot.shape(order.rule_id, order.rule_version))
    size.check(name)


def _check_first(signed: Sequence[tuple[Fresh, Instruction]]) -> None:
    seen: set[bytes] = set()
    for item, instruction in signed:
        if instruction.kind.opens_past and instruction.order_id in seen:
            raise ReturnNotFirst(
                f"items[{item.index}]",
                "a return or refund cannot stand behind another instruction of its order under one signature",
                item=item.index,
            )
        seen.add(instruction.order_id)
