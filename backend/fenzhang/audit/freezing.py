"""Freezes: what calldata leads to, and whether each was a guardian's to make or to undo."""

from __future__ import annotations

from typing import Any

from fenzhang.audit.differences import Code, Findings
from fenzhang.audit.model import Model
from fenzhang.audit.reading import Transaction
from fenzhang.audit.stories import entry_of_freeze
from fenzhang.audit.tape import NOWHERE
from fenzhang.chain.abi import role_text
from fenzhang.chain.eventtypes import FreezeChanged, ParticipantFreezeChanged
from fenzhang.domain.world import Freeze

FreezeEvent = FreezeChanged | ParticipantFreezeChanged


def freeze_event(arguments: tuple[Any, ...], sender: bytes) -> FreezeEvent:
    """The event of a `setFrozen` of Conditions or the registry by `sender`."""
    *what, frozen, reason = arguments
    why = role_text(reason)
    if len(what) == 1:
        return ParticipantFreezeChanged(NOWHERE, what[0], sender, frozen=frozen, reason=why)
    return FreezeChanged(NOWHERE, what[0], what[1], sender, frozen=frozen, reason=why)


def take_up_freeze(event: FreezeEvent, at: Transaction, model: Model, findings: Findings) -> None:
    """Take up one event into the model, and report it if it cannot follow what was before."""
    world = model.world
    if isinstance(event, FreezeChanged):
        key = (event.order_id, event.split_id)
        known, before = True, world.frozen_orders.pop(key, None)
        model.freezes_seen.add(key)
        model.focus.add(event.order_id, entry_of_freeze(event, at))
        if event.frozen:
            world.frozen_orders[key] = Freeze(event.guardian, event.reason)
        where = {"order": event.order_id}
    else:
        participant = event.participant
        known, before = participant in world.participants, world.frozen_participants.pop(participant, None)
        model.participant_freezes_seen.add(participant)
        if event.frozen:
            world.frozen_participants[participant] = Freeze(event.guardian, event.reason)
        where = {"participant": participant}
    problem = _problem_of(event, before, known=known)
    if problem is not None:
        findings.report(Code.FREEZE_TRANSITION, problem, at, expected=before, found=event, **where)


def _problem_of(event: FreezeEvent, before: Freeze | None, *, known: bool) -> str | None:
    problem = None
    if not known:
        problem = "somebody who was never enrolled was frozen or unfrozen"
    elif not event.reason:
        problem = "something was frozen or unfrozen without a reason"
    elif event.frozen:
        problem = None if before is None else "what was frozen already was frozen again"
    elif before is None:
        problem = "what was not frozen was unfrozen"
    elif before.guardian == event.guardian:
        problem = "a freeze was undone by the account that made it"
    return problem
