"""Suspense positions: what `resolve` had to do, and what became of the money and of the leaf of its record."""

from __future__ import annotations

from typing import Any

from fenzhang.audit.differences import Code, Findings
from fenzhang.audit.model import Model
from fenzhang.audit.reading import Transaction
from fenzhang.audit.tape import NOWHERE
from fenzhang.chain.abi import currency_text
from fenzhang.chain.eventtypes import HeirNamed, SuspenseResolved
from fenzhang.chain.evidence import content_of_resolution, record_leaf
from fenzhang.domain.records import NOTHING, ParticipantStatus, RecordKind
from fenzhang.domain.suspense import suspense_id


def resolution_event(arguments: tuple[Any, ...], model: Model) -> SuspenseResolved:
    """The event of a `resolve`: who gets what waits for whom, all of it."""
    currency, participant = currency_text(arguments[0]), arguments[1]
    heir = model.world.heir_of(participant) or NOTHING
    waiting = model.world.positions[currency, suspense_id(participant)]
    return SuspenseResolved(NOWHERE, currency, participant, heir, max(waiting, 0))


def take_up_resolution(event: SuspenseResolved, at: Transaction, model: Model, findings: Findings) -> None:
    """Move the money in the model, add the record's leaf to the batch, and report what was nobody's to do."""
    world, suspense = model.world, suspense_id(event.participant)
    waiting = world.positions[event.currency, suspense]
    active = world.status_of(event.heir) is ParticipantStatus.ACTIVE
    if not active or event.heir != world.heir_of(event.participant) or event.amount != waiting:
        findings.report(
            Code.SUSPENSE_TRANSITION,
            f"what waited for participant 0x{event.participant.hex()} was resolved otherwise than it may be",
            at,
            participant=event.participant,
            currency=event.currency,
            expected={"heir": world.heir_of(event.participant), "amount": waiting},
            found=event,
        )
    world.positions[event.currency, suspense] -= event.amount
    world.positions[event.currency, event.heir] += event.amount
    model.paid |= {suspense, event.heir}
    content = content_of_resolution(event.currency, event.heir)
    model.open.leaves.append(
        record_leaf(RecordKind.RESOLUTION, event.participant, NOTHING, event.amount, content)
    )
    findings.count("records")


def take_up_heir(event: HeirNamed, at: Transaction, model: Model, findings: Findings) -> None:
    """Take up who stands in for a closed participant, and report it if that one was not closed."""
    world = model.world
    known = event.heir in world.participants and event.heir != event.participant
    if world.status_of(event.participant) is not ParticipantStatus.CLOSED or not known:
        findings.report(
            Code.SUSPENSE_TRANSITION,
            f"an heir was named for participant 0x{event.participant.hex()}, and one of the two may not be it",
            at,
            participant=event.participant,
            found=event,
        )
    world.heirs[event.participant] = event.heir
