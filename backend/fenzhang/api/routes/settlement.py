"""Orders, splits, releases, returns and refunds, one by one and in batches: all on one path."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Depends, Request

from fenzhang.api.auth import allow
from fenzhang.api.documentation import READ, WRITE, operation
from fenzhang.api.present import answer_of, order_answer, status_of_write, with_leaves, written
from fenzhang.api.responses import OrjsonResponse
from fenzhang.api.routing import SecuredRoute
from fenzhang.api.schemas.answers import BatchAnswer, InstructionAnswer, OrderAnswer
from fenzhang.api.schemas.settlement import (
    AttestationBody,
    AuthorizationBody,
    InstructionBatch,
    OrderBatch,
    OrderBody,
    RefundBody,
    ReleaseBody,
    ReturnBody,
    SplitBatch,
    SplitBody,
)
from fenzhang.api.services import services_of
from fenzhang.api.sharing import share_out_of
from fenzhang.api.types import Reference
from fenzhang.api.waiting import SeenState, Wait, awaited
from fenzhang.domain.errors import FenzhangError
from fenzhang.domain.rules import roles_of
from fenzhang.intake import reading, settlement
from fenzhang.intake.actor import Actor, Scope
from fenzhang.intake.conditions import condition_of_order
from fenzhang.intake.errors import UnknownOrderReference
from fenzhang.intake.freezes import freezes_of
from fenzhang.intake.requests import SettlementRequest
from fenzhang.intake.signing import Signatures
from fenzhang.store import payloads
from fenzhang.store.tables import InstructionType, RuleVersion

router = APIRouter(route_class=SecuredRoute, tags=["Settlement"])
Platform = Annotated[Actor, Depends(allow(Scope.PLATFORM))]
_PLATFORM = (Scope.PLATFORM,)
_ONE = operation({202: InstructionAnswer, 200: InstructionAnswer}, *WRITE, scopes=_PLATFORM)
_MANY = operation({202: BatchAnswer, 200: BatchAnswer}, *WRITE, scopes=_PLATFORM)
_GET = operation({200: InstructionAnswer}, *READ, scopes=_PLATFORM)


# ------------------------------------------------------------------------------ the one path


async def _accept(
    request: Request,
    actor: Actor,
    asked: Sequence[SettlementRequest | FenzhangError],
    authorization: AuthorizationBody | None = None,
    attestation: AttestationBody | None = None,
    *,
    attestation_field: str = "authorization",
) -> list[settlement.Answer]:
    signatures = Signatures(
        None if authorization is None else authorization.signature_given(),
        None if attestation is None else attestation.signature_given(attestation_field),
    )
    if not signatures:
        return await services_of(request).gather(actor, asked)
    return await services_of(request).write(
        lambda session, verifier: settlement.accept(session, actor, asked, verifier, signatures)
    )


async def _accept_one(
    request: Request,
    actor: Actor,
    asked: SettlementRequest,
    authorization: AuthorizationBody | None = None,
    attestation: AttestationBody | None = None,
) -> OrjsonResponse:
    [answer] = await _accept(request, actor, [asked], authorization, attestation)
    if isinstance(answer, FenzhangError):
        raise answer
    return written(answer)


def _batch(answers: Sequence[settlement.Answer]) -> OrjsonResponse:
    return OrjsonResponse({"items": [answer_of(answer) for answer in answers]}, status_of_write(answers))


# ------------------------------------------------------------------------------ writes


@router.post("/v1/orders", **_ONE)
async def capture(request: Request, body: OrderBody, actor: Platform) -> OrjsonResponse:
    """Capture an order: its money was received through the payment channel, and can be split once it is SETTLED."""
    return await _accept_one(request, actor, body.request(), attestation=body.authorization)


@router.post("/v1/orders/batch", **_MANY)
async def capture_batch(request: Request, body: OrderBatch, actor: Platform) -> OrjsonResponse:
    """Capture up to 1,000 orders. 202 if at least one was new; each item is answered by itself."""
    return _batch(await _accept(request, actor, body.requests(), attestation=body.authorization))


@router.post("/v1/splits", **_ONE)
async def split(request: Request, body: SplitBody, actor: Platform) -> OrjsonResponse:
    """Split an amount of an order by its rule version. Whether the order holds enough, the chain decides."""
    return await _accept_one(request, actor, body.request(), body.authorization)


@router.post("/v1/splits/batch", **_MANY)
async def split_batch(request: Request, body: SplitBatch, actor: Platform) -> OrjsonResponse:
    """Up to 1,000 splits. 202 if at least one was new; each item is answered by itself."""
    return _batch(await _accept(request, actor, body.requests(), body.authorization))


@router.post("/v1/releases", **_ONE)
async def release(request: Request, body: ReleaseBody, actor: Platform) -> OrjsonResponse:
    """Close an order: what it still holds goes to its merchant."""
    return await _accept_one(request, actor, body.request(), body.authorization)


@router.post("/v1/returns", **_ONE)
async def return_(request: Request, body: ReturnBody, actor: Platform) -> OrjsonResponse:
    """Take an amount back from a split; it is held by the order again."""
    return await _accept_one(request, actor, body.request(), body.authorization)


@router.post("/v1/refunds", **_ONE)
async def refund(request: Request, body: RefundBody, actor: Platform) -> OrjsonResponse:
    """Give an amount of an order back to its buyer, in one step: held money first, then all leaves in proportion."""
    return await _accept_one(request, actor, body.request(), body.authorization)


@router.post("/v1/instructions/batch", **_MANY)
async def batch(request: Request, body: InstructionBatch, actor: Platform) -> OrjsonResponse:
    """Up to 1,000 captures, splits, releases, returns and refunds in order. An item may refer to those before it."""
    answers = await _accept(
        request,
        actor,
        body.requests(),
        body.authorization,
        body.attestation,
        attestation_field="attestation",
    )
    return _batch(answers)


# ------------------------------------------------------------------------------ reads


@router.get("/v1/orders/{reference}", **operation({200: OrderAnswer}, *READ, scopes=_PLATFORM))
async def get_order(
    request: Request, reference: Reference, actor: Platform, wait: Wait = 0, state: SeenState = None
) -> OrjsonResponse:
    """An order: what it holds, and everything written about it. `wait` waits for its capture."""
    services = services_of(request)
    if wait > 0:
        # An order may be known from the chain alone; then there is nothing to wait for.
        with suppress(UnknownOrderReference):
            kind = InstructionType.CAPTURE
            await awaited(services, actor.namespace, kind, reference, wait=wait, state=state)
    async with services.database.read() as session:
        found = await reading.order_named(session, actor.namespace, reference)
        terms = reading.terms_of(found)
        rule = await session.get(RuleVersion, (actor.namespace, terms.rule_id, terms.rule_version))
        roles = [] if rule is None else roles_of(payloads.legs_from_json(rule.legs))
        recipients = [leaf.recipient for leaves in found.leaves.values() for leaf in leaves]
        names = await reading.references_of(
            session, actor.namespace, [*recipients, terms.merchant, *terms.bindings]
        )
        share_out = await share_out_of(session, actor.namespace, terms, rule)
    return OrjsonResponse(order_answer(reference, found, terms, roles, names) | {"share_out": share_out})


@router.get("/v1/splits/{reference}", **_GET)
async def get_split(
    request: Request, reference: Reference, actor: Platform, wait: Wait = 0, state: SeenState = None
) -> OrjsonResponse:
    """A split, and when it is SETTLED its allocations with what is still returnable."""
    return await _get(request, actor, InstructionType.SPLIT, reference, wait=wait, state=state)


@router.get("/v1/releases/{reference}", **_GET)
async def get_release(
    request: Request, reference: Reference, actor: Platform, wait: Wait = 0, state: SeenState = None
) -> OrjsonResponse:
    """A release, and when it is SETTLED what the merchant received."""
    return await _get(request, actor, InstructionType.RELEASE, reference, wait=wait, state=state)


@router.get("/v1/returns/{reference}", **_GET)
async def get_return(
    request: Request, reference: Reference, actor: Platform, wait: Wait = 0, state: SeenState = None
) -> OrjsonResponse:
    """A return, and when it is SETTLED what each leaf gave back."""
    return await _get(request, actor, InstructionType.RETURN, reference, wait=wait, state=state)


@router.get("/v1/refunds/{reference}", **_GET)
async def get_refund(
    request: Request, reference: Reference, actor: Platform, wait: Wait = 0, state: SeenState = None
) -> OrjsonResponse:
    """A refund, and when it is SETTLED what was held of it and what each leaf of the order gave."""
    return await _get(request, actor, InstructionType.REFUND, reference, wait=wait, state=state)


async def _get(
    request: Request, actor: Actor, kind: InstructionType, reference: str, *, wait: float, state: str | None
) -> OrjsonResponse:
    services = services_of(request)
    found = await awaited(services, actor.namespace, kind, reference, wait=wait, state=state)
    async with services.database.read() as session:
        leaves = await reading.leaves_of(session, [found])
        recipients = [leaf.recipient for shares in leaves.values() for leaf in shares]
        names = await reading.references_of(session, actor.namespace, recipients)
        freezes = await freezes_of(session, [found.id] if kind is InstructionType.SPLIT else [])
        condition = await condition_of_order(session, found.order_id)
    return OrjsonResponse(with_leaves(found, leaves, names, freezes, condition))
