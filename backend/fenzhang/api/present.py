"""Rows as answers."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from fenzhang.api.problems import plain, problem_of
from fenzhang.api.responses import OrjsonResponse
from fenzhang.domain.conditions import ConditionState
from fenzhang.domain.errors import FenzhangError
from fenzhang.domain.facts import Facts
from fenzhang.domain.identifiers import hex_id
from fenzhang.domain.records import ParticipantStatus, RecordKind
from fenzhang.domain.rules import roles_of
from fenzhang.domain.sharing import most_share_out
from fenzhang.domain.suspense import suspense_id
from fenzhang.intake import rulestate
from fenzhang.intake.conditions import ConditionReading
from fenzhang.intake.reading import Leaf, OrderReading, Terms
from fenzhang.intake.rows import InstructionRow
from fenzhang.intake.settlement import Answer, Outcome
from fenzhang.intake.snapshot import Selected
from fenzhang.store import feed, payloads
from fenzhang.store.conditions import WAITING_TYPES
from fenzhang.store.tables import (
    Freeze,
    Instruction,
    InstructionState,
    InstructionType,
    Participant,
    RuleVersion,
)
from fenzhang.telemetry import metrics
from fenzhang.telemetry.logs import fields

_NOBODY = bytes(32)
_log = logging.getLogger(__name__)


def instruction_answer(instruction: InstructionRow) -> dict[str, Any]:
    """An instruction: what was asked, and what became of it."""
    answer = {**instruction.content, **_what_became_of(instruction)}
    if instruction.type in _WITH_PAYLOAD:
        answer |= _named(instruction.type, instruction.payload)
    return answer


def completion_answer(entry: feed.Entry) -> orjson.Fragment:
    """A state change with its instruction, as `instruction_answer` has it; the client's content is copied as text.

    The feed repeats every instruction once or twice, so this is the busiest of the answers.
    """
    told = entry.instruction
    rest = _what_became_of(told)
    content = told.content
    if told.type in _WITH_PAYLOAD:
        rest = {**orjson.loads(content), **rest, **_named(told.type, orjson.loads(told.payload))}
        content = "{}"
    head = f'{{"id":{entry.id},"state":"{entry.state}","at":{entry.at},"instruction":'.encode()
    members = orjson.dumps(rest)
    if content != "{}":
        members = content[:-1].encode() + b"," + members[1:]
    return orjson.Fragment(head + members + b"}")


def _what_became_of(told: InstructionRow | feed.Told) -> dict[str, Any]:
    return {
        "type": told.type,
        "id": hex_id(told.id),
        "order_id": None if told.order_id is None else hex_id(told.order_id),
        "state": told.state,
        "reason": plain(told.reason),
        "accepted_at": told.accepted_at,
        "block_number": told.block_number,
        "tx_hash": None if told.tx_hash is None else hex_id(told.tx_hash),
        "request_id": told.request_id,
    }


_WITH_PAYLOAD = frozenset({InstructionType.CAPTURE.value, InstructionType.PROPOSE.value})


def _named(kind: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    """What intake decided for the client: it is named beside what the client asked."""
    if kind == InstructionType.CAPTURE:
        return {"rule_version": payload["rule_version"]}
    if kind == InstructionType.PROPOSE:
        return {name: payload[name] for name in ("version", "effective_from")}
    return {}


def answer_of(answer: Answer) -> dict[str, Any]:
    """An item of a batch: the instruction, or the problem in its place."""
    return problem_of(answer) if isinstance(answer, FenzhangError) else instruction_answer(answer.instruction)


def status_of_write(answers: Sequence[Answer]) -> int:
    """202 when something new was accepted, 200 when everything was known or refused. What is new is counted."""
    created = [answer.instruction for answer in answers if isinstance(answer, Outcome) and answer.created]
    if not created:
        return 200
    metrics.count_by_type(metrics.INSTRUCTIONS_ACCEPTED, [instruction.type for instruction in created])
    level = logging.INFO if len(created) > 1 else logging.DEBUG
    _log.log(level, "accepted %d instructions", len(created), extra=fields(count=len(created)))
    return 202


def written(outcome: Outcome) -> OrjsonResponse:
    """The answer to a write of one instruction."""
    return OrjsonResponse(instruction_answer(outcome.instruction), status_of_write([outcome]))


def leaf_answers(leaves: Sequence[Leaf], names: Mapping[bytes, str]) -> list[dict[str, Any]]:
    """Leaves with what is still returnable. One whose recipient was not active names it all the same."""
    return [
        {
            "leaf": index,
            "participant_id": hex_id(recipient),
            "out_participant_no": names.get(recipient),
            "parked": recipient != leaf.recipient,
            "amount": leaf.amount,
            "returned": leaf.returned,
            "refunded": leaf.refunded,
            "returnable": leaf.amount - leaf.returned - leaf.refunded,
        }
        for index, leaf in enumerate(leaves)
        for recipient in [_recipient_of(leaf, names)]
    ]


def _recipient_of(leaf: Leaf, names: Mapping[bytes, str]) -> bytes:
    for_whom = suspense_id(leaf.recipient)
    return for_whom if leaf.recipient not in names and for_whom in names else leaf.recipient


def freeze_answer(found: Sequence[Freeze], order_id: bytes | None) -> dict[str, Any] | None:
    """The freeze of an order or split of this order, or of a participant (None), among those of one id."""
    for freeze in found:
        if freeze.order_id == order_id:
            return {
                "guardian": hex_id(freeze.guardian),
                "reason": freeze.reason,
                "block_number": freeze.block_number,
                "tx_hash": hex_id(freeze.tx_hash),
            }
    return None


def frozen_thing(freeze: Freeze) -> dict[str, Any]:
    """A freeze with what it is of."""
    kind = "PARTICIPANT" if freeze.order_id is None else "SPLIT"
    return {
        "kind": "ORDER" if freeze.order_id == freeze.target_id else kind,
        "id": hex_id(freeze.target_id),
        "order_id": None if freeze.order_id is None else hex_id(freeze.order_id),
        **(freeze_answer([freeze], freeze.order_id) or {}),
    }


def condition_answer(found: ConditionReading) -> dict[str, Any]:
    """A condition as asked for, or as the mirror has it."""
    row, opening = found.row, found.opening
    asked = {} if opening is None else opening.content
    return {
        "out_condition_no": None if opening is None else opening.reference,
        "condition_id": hex_id(found.condition_id),
        "platform_id": hex_id(found.platform_id),
        "state": found.state.name,
        "needed": asked.get("needed", 0) if row is None else row.needed,
        "deadline": asked["deadline"] if row is None else row.deadline,
        "confirmer": found.confirmer,
        "count": 0 if row is None else row.count,
        "confirmed": row is not None and row.confirmed,
        "opening": None if opening is None else instruction_answer(opening),
    }


def _waits_for(instruction: InstructionRow, condition: ConditionReading | None) -> dict[str, Any]:
    """What keeps a split or release from being sent, if something does."""
    waits = instruction.type in WAITING_TYPES and instruction.state == InstructionState.ACCEPTED
    if condition is None or not waits or condition.state is not ConditionState.OPEN:
        return {}
    opening = condition.opening
    return {"waits_for": hex_id(condition.condition_id) if opening is None else opening.reference}


def with_leaves(
    instruction: Instruction,
    leaves: Mapping[bytes, Sequence[Leaf]],
    names: Mapping[bytes, str],
    freezes: Mapping[bytes, Sequence[Freeze]],
    condition: ConditionReading | None = None,
) -> dict[str, Any]:
    """An instruction with its allocations; only those of a split can be returned. `condition` is its order's."""
    answer = instruction_answer(instruction) | _waits_for(instruction, condition)
    if instruction.type == InstructionType.SPLIT:
        answer["frozen"] = freeze_answer(freezes.get(instruction.id, ()), instruction.order_id)
    found = leaves.get(instruction.id)
    if found is not None:
        shown = leaf_answers(found, names)
        if instruction.type != InstructionType.SPLIT:
            for leaf in shown:
                leaf["returnable"] = 0
        answer["allocations"] = shown
        if instruction.type == InstructionType.REFUND:
            answer["from_held"] = instruction.payload["amount"] - sum(leaf.amount for leaf in found)
    return answer


def order_answer(
    reference: str,
    reading: OrderReading,
    terms: Terms,
    roles: Sequence[str],
    names: Mapping[bytes, str],
) -> dict[str, Any]:
    """An order; before its capture is mirrored, it holds nothing yet."""
    order, capture, condition = reading.order, reading.capture, reading.condition
    return {
        "out_order_no": reference,
        "order_id": hex_id(terms.order_id),
        "state": InstructionState.SETTLED.value if capture is None else capture.state,
        "reason": None if capture is None else plain(capture.reason),
        "currency": terms.currency,
        "merchant": names.get(terms.merchant) or hex_id(terms.merchant),
        "rule_id": hex_id(terms.rule_id),
        "rule_version": terms.rule_version,
        "bindings": {
            role: None if bound == _NOBODY else names.get(bound) or hex_id(bound)
            for role, bound in zip(roles, terms.bindings, strict=False)
        },
        "hold_until": terms.hold_until or None,
        "expires_at": terms.expires_at or None,
        "facts": Facts.unpack(terms.facts).stated(),
        "schedule": None if capture is None else capture.content.get("schedule"),
        "captured": 0 if order is None else order.captured,
        "held": 0 if order is None else order.held,
        # What is returned can be split again, so these may add up to more than was captured.
        "split": plain(reading.totals.get(RecordKind.SPLIT, 0)),
        "returned": plain(reading.totals.get(RecordKind.RETURN, 0)),
        "released": plain(reading.totals.get(RecordKind.RELEASE, 0)),
        "refunded": plain(reading.totals.get(RecordKind.REFUND, 0)),
        "released_by_expiry": plain(reading.expired),
        "refunded_as_missed": plain(reading.missed),
        "condition": None if condition is None else condition_answer(condition),
        "frozen": freeze_answer(reading.freezes.get(terms.order_id, ()), terms.order_id),
        "instructions": [
            with_leaves(i, reading.leaves, names, reading.freezes, condition) for i in reading.instructions
        ],
    }


def share_out_answer(cap: int, captured: int, shared_out: int) -> dict[str, int] | None:
    """What may leave an order's merchant under a cap in basis points, and what did; None without one."""
    if not cap:
        return None
    most = most_share_out(captured, cap)
    return {
        "max_share_out": cap,
        "most": most,
        "shared_out": shared_out,
        "left": max(most - shared_out, 0),
    }


def participant_answer(
    participant: Participant,
    enrolment: InstructionRow | None,
    freezes: Mapping[bytes, Sequence[Freeze]],
) -> dict[str, Any]:
    """A participant."""
    return {
        "out_participant_no": participant.reference,
        "participant_id": hex_id(participant.id),
        "status": ParticipantStatus(participant.status).name,
        "authority": None if participant.authority is None else hex_id(participant.authority),
        "frozen": freeze_answer(freezes.get(participant.id, ()), None),
        "parent_id": None if participant.parent_id is None else hex_id(participant.parent_id),
        "level": participant.level,
        "consents": participant.consents,
        "max_share_out": participant.max_share_out,
        "enrolment": None if enrolment is None else instruction_answer(enrolment),
    }


def version_answer(version: RuleVersion, siblings: Sequence[RuleVersion], now: int) -> dict[str, Any]:
    """A rule version."""
    return {
        "out_rule_no": version.reference,
        "rule_id": hex_id(version.rule_id),
        "version": version.version,
        "state": rulestate.state_of(version, siblings, now).name,
        "effective_from": version.effective_from,
        "content_hash": hex_id(version.content_hash),
        "roles": roles_of(payloads.legs_from_json(version.legs)),
        "legs": version.legs,
        "terms": version.terms,
        "veto": veto_of(version),
    }


def veto_of(version: RuleVersion) -> dict[str, Any] | None:
    """Who vetoed a version, and why; None for one that was not."""
    return version.veto if version.vetoed else None


def selection_answer(chosen: tuple[Selected, Sequence[RuleVersion]] | None, now: int) -> dict[str, Any]:
    """Which entry of a schedule won and why, and the version of its rule that is in force. None: no schedule is."""
    if chosen is None:
        names = ("version", "entry", "criteria", "out_rule_no", "rule_id", "rule")
        return dict.fromkeys(names)
    selected, versions = chosen
    current = rulestate.in_force(versions, now)
    return {
        **selected.content(),
        "out_rule_no": selected.rule if versions else None,
        "rule_id": hex_id(selected.selection.entry.rule_id),
        "rule": None if current is None else version_answer(current, versions, now),
    }


def rule_answer(versions: Sequence[RuleVersion], now: int, lock: int) -> dict[str, Any]:
    """A rule with all its versions. `lock` is the approval lock in seconds."""
    current = rulestate.in_force(versions, now)
    previous = max((version.effective_from for version in versions if not version.vetoed), default=0)
    return {
        "out_rule_no": versions[0].reference,
        "rule_id": hex_id(versions[0].rule_id),
        "platform_id": hex_id(versions[0].platform_id),
        "retired": any(version.retired for version in versions),
        "in_force": None if current is None else current.version,
        "latest": max(version.version for version in versions),
        "approval_lock": lock,
        "earliest_effect": max(now + lock, previous),
        "versions": [version_answer(version, versions, now) for version in versions],
    }
