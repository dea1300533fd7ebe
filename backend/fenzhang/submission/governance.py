"""Enrolments, suspensions and rules: one transaction each, from whoever the contracts let do it.

They keep their order of acceptance where it matters. What one key sends stays in order by its nonces; an instruction
that needs what another key's earlier one does waits until that one is mirrored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.chain import governance as calls
from fenzhang.chain.deployments import Deployment
from fenzhang.chain.eip712 import condition_digest, confirmation_digest, retirement_digest
from fenzhang.chain.schedules import content_hash_of, propose_schedule_call
from fenzhang.domain.records import NOTHING
from fenzhang.store import keys, payloads
from fenzhang.store.tables import CLEARING_TYPES, Instruction, InstructionType, Transaction
from fenzhang.submission.clearing import clearing_call
from fenzhang.submission.keyring import Keyring
from fenzhang.submission.picking import ACCEPTED
from fenzhang.submission.tracking import LIVE_STATES

SENDER = {
    InstructionType.ENROLL: keys.REGISTRAR,
    InstructionType.SUSPEND: keys.REGISTRAR,
    InstructionType.RESUME: keys.REGISTRAR,
    InstructionType.CLOSE: keys.REGISTRAR,
    InstructionType.PLACE: keys.REGISTRAR,
    InstructionType.CONSENT: keys.REGISTRAR,
    InstructionType.CAP: keys.GUARDIAN,
    InstructionType.HEIR: keys.GUARDIAN,
    InstructionType.RESOLVE: keys.SUBMITTER,
    InstructionType.PROPOSE: keys.SUBMITTER,
    InstructionType.APPROVE: keys.APPROVER,
    InstructionType.VETO: keys.GUARDIAN,
    InstructionType.RETIRE: keys.SUBMITTER,
    InstructionType.FREEZE: keys.GUARDIAN,
    InstructionType.UNFREEZE: keys.SECOND_GUARDIAN,
    InstructionType.CONDITION: keys.SUBMITTER,
    InstructionType.CONFIRMATION: keys.SUBMITTER,
    **dict.fromkeys(CLEARING_TYPES, keys.SUBMITTER),
}
"""Label of the key that sends each type. Proposals and retirements carry the platform's signature: any key may. So do
conditions, and confirmations that of their confirmer; closings and reports that of the clearing bank."""
TYPES = [kind.value for kind in SENDER]


@dataclass(frozen=True, slots=True)
class Request:
    """A governance instruction: what it changes, and what it needs to be there before."""

    seq: int
    platform_id: bytes
    sender: str
    kind: InstructionType
    payload: dict[str, Any]
    changes: frozenset[bytes]
    needs: frozenset[bytes]

    def must_follow(self, earlier: Request) -> bool:
        """Whether it may go out only after `earlier`, of another key, has been mirrored."""
        if self.sender == earlier.sender:
            return False
        return not earlier.changes.isdisjoint(self.changes | self.needs) or not self.changes.isdisjoint(
            earlier.needs
        )


@dataclass(frozen=True, slots=True)
class Call:
    """A contract call: to whom, and with which calldata."""

    to: bytes
    data: bytes


async def pick_requests(session: AsyncSession, room: int, senders: Sequence[str]) -> list[Request]:
    """The next requests that may go out now, at most `room`, sent by one of `senders`."""
    waiting = _columns().where(Instruction.state == ACCEPTED, Instruction.type.in_(TYPES))
    rows = (await session.execute(waiting.order_by(Instruction.seq).limit(4 * room + 256))).all()
    if not rows:
        return []
    unfinished = [_request(row) for row in await session.execute(_in_flight())]
    ready: list[Request] = []
    for row in rows:
        request = _request(row)
        if (
            len(ready) < room
            and request.sender in senders
            and not any(request.must_follow(earlier) for earlier in unfinished)
        ):
            ready.append(request)
        unfinished.append(request)
    return ready


async def count_in_flight(session: AsyncSession) -> int:
    """Governance transactions that are not mirrored yet."""
    return len((await session.execute(_in_flight())).all())


def _columns() -> Select[Any]:
    return select(Instruction.seq, Instruction.platform_id, Instruction.type, Instruction.payload)


def _in_flight() -> Select[Any]:
    return (
        _columns()
        .join(Transaction, Transaction.id == Instruction.transaction_id)
        .where(Transaction.state.in_(LIVE_STATES), Instruction.type.in_(TYPES))
    )


def _request(row: Any) -> Request:
    kind = InstructionType(row.type)
    payload = row.payload
    match kind:
        case (
            InstructionType.ENROLL
            | InstructionType.SUSPEND
            | InstructionType.RESUME
            | InstructionType.CLOSE
            | InstructionType.CONSENT
            | InstructionType.CAP
            | InstructionType.RESOLVE
        ):
            changes = {bytes.fromhex(payload["participant"][2:])}
            needs = {row.platform_id}
        case InstructionType.FREEZE | InstructionType.UNFREEZE:
            freeze = payloads.freeze_change_from(payload)
            changes = {freeze.participant or (freeze.order_id or b"") + (freeze.split_id or b"")}
            needs = {row.platform_id}
        case InstructionType.CONDITION | InstructionType.CONFIRMATION:
            platform, condition, confirmer = (
                bytes.fromhex(payload[name][2:]) for name in ("platform", "condition_id", "confirmer")
            )
            changes, needs = {platform + condition}, {platform, confirmer} - {NOTHING}
        case InstructionType.PLACE | InstructionType.HEIR:
            # Both: what else happens to the other one may depend on the order of the two.
            other = "parent" if kind is InstructionType.PLACE else "heir"
            changes = {bytes.fromhex(payload[name][2:]) for name in ("participant", other)}
            needs = {row.platform_id}
        case InstructionType.CLOSE_CYCLE | InstructionType.TAKE | InstructionType.REPORT:
            changes, needs = {bytes.fromhex(payload["cycle_id"][2:])}, set()
        case _:
            platform, rule = (bytes.fromhex(payload[name][2:]) for name in ("platform", "rule_id"))
            changes = {platform + rule}
            needs = {platform}
    return Request(
        row.seq, row.platform_id, SENDER[kind], kind, payload, frozenset(changes), frozenset(needs)
    )


async def call_of(
    session: AsyncSession, keyring: Keyring, deployment: Deployment, kind: str, payload: dict[str, Any]
) -> Call:
    """The contract call that a request asks for. Raises SigningKeyMissing for an unsigned one of a foreign key."""
    match InstructionType(kind):
        case InstructionType.PROPOSE:
            proposal = payloads.proposal_from(payload)
            return Call(deployment.rule_book, await _propose(session, keyring, deployment, proposal))
        case InstructionType.RETIRE:
            retirement = payloads.retirement_from(payload)
            return Call(deployment.rule_book, await _retire(session, keyring, deployment, retirement))
        case InstructionType.APPROVE | InstructionType.VETO as decision:
            return Call(deployment.rule_book, _decision_call(decision, payload))
        case (
            InstructionType.RESOLVE
            | InstructionType.CLOSE_CYCLE
            | InstructionType.TAKE
            | InstructionType.REPORT
        ) as asked:
            return Call(deployment.clearing_house, await clearing_call(session, asked, payload))
        case (
            InstructionType.FREEZE
            | InstructionType.UNFREEZE
            | InstructionType.CONDITION
            | InstructionType.CONFIRMATION
        ) as what:
            return await _stopping_call(session, keyring, deployment, what, payload)
        case other:
            return Call(deployment.participant_registry, _participant_call(other, payload))


def _decision_call(kind: InstructionType, payload: dict[str, Any]) -> bytes:
    if kind is InstructionType.VETO:
        veto = payloads.veto_from(payload)
        return calls.veto_call(veto.platform, veto.rule_id, veto.version, veto.content_hash, veto.reason)
    wanted = payloads.approval_from(payload)
    return calls.approve_call(wanted.platform, wanted.rule_id, wanted.version, wanted.content_hash)


async def _stopping_call(
    session: AsyncSession,
    keyring: Keyring,
    deployment: Deployment,
    kind: InstructionType,
    payload: dict[str, Any],
) -> Call:
    """What stops orders: freezes and conditions."""
    if kind in {InstructionType.FREEZE, InstructionType.UNFREEZE}:
        return _freeze_call(deployment, payloads.freeze_change_from(payload))
    call = _open if kind is InstructionType.CONDITION else _confirm
    return Call(deployment.conditions, await call(session, keyring, deployment, payload))


def _freeze_call(deployment: Deployment, wanted: payloads.FreezeChange) -> Call:
    reason, frozen = wanted.reason, wanted.frozen
    if wanted.participant is not None:
        data = calls.set_participant_frozen_call(wanted.participant, reason, frozen=frozen)
        return Call(deployment.participant_registry, data)
    data = calls.set_order_frozen_call(wanted.order_id or b"", wanted.split_id or b"", reason, frozen=frozen)
    return Call(deployment.conditions, data)


_STANDING_CALLS = {
    InstructionType.SUSPEND: calls.suspend_call,
    InstructionType.RESUME: calls.resume_call,
    InstructionType.CLOSE: calls.close_call,
}


def _enroll_call(wanted: payloads.Enrollment) -> bytes:
    if wanted.platform is not None:
        return calls.enroll_recipient_call(wanted.participant, wanted.platform)
    return calls.enroll_call(wanted.participant, wanted.authority or calls.NO_AUTHORITY)


def _participant_call(kind: InstructionType, payload: dict[str, Any]) -> bytes:
    match kind:
        case InstructionType.ENROLL:
            return _enroll_call(payloads.enrollment_from(payload))
        case InstructionType.SUSPEND | InstructionType.RESUME | InstructionType.CLOSE:
            return _STANDING_CALLS[kind](payloads.standing_change_from(payload).participant)
        case InstructionType.PLACE:
            placement = payloads.placement_from(payload)
            return calls.place_call(placement.participant, placement.parent)
        case InstructionType.CONSENT:
            consent = payloads.consent_change_from(payload)
            return calls.set_consent_call(consent.participant, consent.platform, granted=consent.granted)
        case InstructionType.HEIR:
            naming = payloads.heir_naming_from(payload)
            return calls.name_heir_call(naming.participant, naming.heir)
        case InstructionType.CAP:
            cap = payloads.cap_from(payload)
            return calls.set_max_share_out_call(cap.participant, cap.max_share_out)
        case _:
            raise ValueError(f"{kind} is settled by SplitLedger")


async def _open(
    session: AsyncSession, keyring: Keyring, deployment: Deployment, payload: dict[str, Any]
) -> bytes:
    opening = payloads.condition_opening_from(payload)
    terms = (opening.platform, opening.condition_id, opening.needed, opening.deadline, opening.confirmer)
    signature = opening.signature
    if not signature:
        key = await keyring.get(session, keys.platform_label(opening.platform))
        signature = key.sign_digest(condition_digest(deployment.condition_domain(), *terms))
    return calls.open_condition_call(*terms, signature)


async def _confirm(
    session: AsyncSession, keyring: Keyring, deployment: Deployment, payload: dict[str, Any]
) -> bytes:
    wanted = payloads.condition_confirmation_from(payload)
    signature = wanted.signature
    if not signature:
        key = await keyring.get(session, keys.platform_label(wanted.confirmer))
        domain = deployment.condition_domain()
        signature = key.sign_digest(confirmation_digest(domain, wanted.platform, wanted.condition_id))
    return calls.confirm_condition_call(wanted.platform, wanted.condition_id, signature)


async def _propose(
    session: AsyncSession, keyring: Keyring, deployment: Deployment, proposal: payloads.Proposal
) -> bytes:
    signature = proposal.signature
    if not signature:
        key = await keyring.get(session, keys.platform_label(proposal.platform))
        signature = key.sign_digest(deployment.rule_domain().digest(content_hash_of(proposal)))
    if proposal.entries:
        return propose_schedule_call(
            platform=proposal.platform,
            version=proposal.version,
            effective_from=proposal.effective_from,
            entries=proposal.entries,
            signature=signature,
        )
    return calls.propose_call(
        platform=proposal.platform,
        rule_id=proposal.rule_id,
        version=proposal.version,
        effective_from=proposal.effective_from,
        legs=proposal.legs,
        signature=signature,
        terms=proposal.terms,
    )


async def _retire(
    session: AsyncSession, keyring: Keyring, deployment: Deployment, retirement: payloads.Retirement
) -> bytes:
    signature = retirement.signature
    if not signature:
        key = await keyring.get(session, keys.platform_label(retirement.platform))
        digest = retirement_digest(deployment.rule_domain(), retirement.platform, retirement.rule_id)
        signature = key.sign_digest(digest)
    return calls.retire_call(retirement.platform, retirement.rule_id, signature)
