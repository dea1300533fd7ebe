"""The one way in for captures, splits, releases, returns and refunds, however many come in a request.

Nothing is committed here. Several API processes may accept at the same time: the unique key of a reference decides
who was first, and whoever was second finds the first one's row and answers as if it had come later.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.domain import records
from fenzhang.domain.errors import FenzhangError
from fenzhang.domain.records import Capture
from fenzhang.intake.actor import Actor
from fenzhang.intake.build import build
from fenzhang.intake.errors import AuthorizationMixed, NoSigningKey, ReferenceConflict
from fenzhang.intake.requests import SettlementRequest, content_hash
from fenzhang.intake.rows import COLUMNS, InstructionRow, NewInstruction
from fenzhang.intake.signatures import Verifier
from fenzhang.intake.signing import Fresh, Signatures, sign
from fenzhang.intake.snapshot import Snapshot, load, order_ids_of, platform_of
from fenzhang.store import keys, locks, payloads
from fenzhang.store.bulk import insert_tuples
from fenzhang.store.errors import DatabaseUnavailable
from fenzhang.store.tables import Instruction, InstructionState, InstructionType

_ATTEMPTS = 4
_UNSIGNED = Signatures()


@dataclass(frozen=True, slots=True)
class Outcome:
    """An instruction that is durably known once the caller has committed; `created` if this request brought it."""

    instruction: InstructionRow
    created: bool


Answer = Outcome | FenzhangError


@dataclass(slots=True)
class Draft:
    """What a pass over the request came to: an answer per item, and the new ones among them, not inserted yet."""

    snapshot: Snapshot
    answers: list[Answer] = field(default_factory=list)
    fresh: list[Fresh] = field(default_factory=list)


async def accept(
    session: AsyncSession,
    actor: Actor,
    requests: Sequence[SettlementRequest | FenzhangError],
    verifier: Verifier,
    signatures: Signatures = _UNSIGNED,
    *,
    request_ids: Sequence[str | None] | None = None,
) -> list[Answer]:
    """Accept `requests` of the actor's platform in order: one outcome, or the reason of the refusal, per item.

    An item that is a reason already (malformed) keeps its place. With `signatures` it is all or nothing, and the first
    reason is raised. `request_ids` tell which HTTP request brought each item; by default it is the actor's.
    Raises also UnknownPlatform and DatabaseUnavailable.
    """
    asked = [request for request in requests if not isinstance(request, FenzhangError)]
    await locks.lock_stripes(session, await order_ids_of(session, actor.namespace, asked))
    for _ in range(_ATTEMPTS):
        draft = await draw_up(session, actor, requests, signatures, request_ids=request_ids)
        try:
            async with session.begin_nested():
                if signatures:
                    await _sign(session, draft, verifier, signatures)
                await insert(session, [draft])
        except IntegrityError:
            # Somebody else has just used one of these references or nonces: look again.
            continue
        return draft.answers
    raise DatabaseUnavailable("others keep writing the same references; try again")


async def draw_up(
    session: AsyncSession,
    actor: Actor,
    requests: Sequence[SettlementRequest | FenzhangError],
    signatures: Signatures = _UNSIGNED,
    *,
    request_ids: Sequence[str | None] | None = None,
) -> Draft:
    """What `accept` would answer, as the database stands; nothing is written. Raises UnknownPlatform."""
    platform = await platform_of(session, actor.namespace)
    asked = [request for request in requests if not isinstance(request, FenzhangError)]
    draft = Draft(await load(session, platform, asked))
    brought = list(zip(requests, request_ids or [actor.request_id] * len(requests), strict=True))
    _evaluate(draft, actor, brought, await _Keys.load(session, platform.id), signatures)
    return draft


async def insert(session: AsyncSession, drafts: Iterable[Draft]) -> None:
    """Write the new rows of drafts. Raises IntegrityError where a reference is not new any more."""
    values = attrgetter(*COLUMNS)
    rows = [values(item.row) for draft in drafts for item in draft.fresh]
    await insert_tuples(session, Instruction, COLUMNS, rows)


@dataclass(frozen=True, slots=True)
class _Keys:
    """Which keys the keystore has for instructions that come unsigned."""

    attestor: bool
    platform: bool

    @classmethod
    async def load(cls, session: AsyncSession, platform_id: bytes) -> _Keys:
        label = keys.platform_label(platform_id)
        found = {key.label for key in await keys.by_labels(session, [keys.ATTESTOR, label])}
        return cls(attestor=keys.ATTESTOR in found, platform=label in found)

    def require(self, kind: InstructionType) -> None:
        if not (self.attestor if kind is InstructionType.CAPTURE else self.platform):
            signer = "the attestor" if kind is InstructionType.CAPTURE else "the platform"
            raise NoSigningKey(
                f"the keystore has no key of {signer}: send the request signed", type=kind.value
            )


def _evaluate(
    draft: Draft,
    actor: Actor,
    brought: Sequence[tuple[SettlementRequest | FenzhangError, str | None]],
    has_key: _Keys,
    signatures: Signatures,
) -> None:
    snapshot = draft.snapshot
    for index, (request, request_id) in enumerate(brought):
        try:
            if isinstance(request, FenzhangError):
                raise request
            answer = _known(snapshot, request)
            if answer is None:
                fresh = Fresh(index, *_build(snapshot, actor, request, request_id))
                is_capture = request.type is InstructionType.CAPTURE
                if not (signatures.attestation if is_capture else signatures.authorization):
                    has_key.require(request.type)
                snapshot.remember(fresh.row, fresh.payload)
                draft.fresh.append(fresh)
                answer = Outcome(fresh.row, created=True)
            draft.answers.append(answer)
        except FenzhangError as refusal:
            if signatures:
                refusal.values.setdefault("item", index)
                raise
            draft.answers.append(refusal)


def _known(snapshot: Snapshot, request: SettlementRequest) -> Outcome | None:
    known = snapshot.known.get((request.type, request.reference))
    if known is None:
        return None
    if known.content_hash != content_hash(request.content()):
        raise ReferenceConflict(request.type, request.reference)
    return Outcome(known, created=False)


def _build(
    snapshot: Snapshot, actor: Actor, request: SettlementRequest, request_id: str | None
) -> tuple[NewInstruction, Capture | records.Instruction]:
    payload = build(snapshot, request)
    content = request.content()
    digest = content_hash(content)
    if request.type is InstructionType.RETURN:
        content["out_order_no"] = snapshot.split(content["out_split_no"]).content["out_order_no"]
    if isinstance(payload, Capture):
        selected = snapshot.selection(payload.facts, payload.currency, payload.amount)
        if selected is not None:
            content |= {"out_rule_no": selected.rule, "schedule": selected.content()}
    row = NewInstruction(
        id=payload.order_id if isinstance(payload, Capture) else payload.id,
        type=request.type.value,
        platform_id=snapshot.platform.id,
        app_id=actor.client_id,
        reference=request.reference,
        order_id=payload.order_id,
        content=content,
        content_hash=digest,
        payload=payloads.to_json(payload),
        state=InstructionState.ACCEPTED.value,
        accepted_at=snapshot.now,
        request_id=request_id,
    )
    return row, payload


async def _sign(session: AsyncSession, draft: Draft, verifier: Verifier, signatures: Signatures) -> None:
    if not draft.fresh:
        return  # a repetition: signed instructions stay with the authorization they first came with
    if len(draft.fresh) != len(draft.answers):
        fresh = {item.index for item in draft.fresh}
        raise AuthorizationMixed(
            "some of these instructions are accepted already; sign the others alone",
            accepted_items=[index for index in range(len(draft.answers)) if index not in fresh],
        )
    await sign(session, draft.snapshot, draft.fresh, verifier, signatures)
