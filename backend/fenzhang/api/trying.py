"""A draft of a rule tried on settled orders: what is asked in the platform's words, and the answer in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.api.changes import what_if_answer
from fenzhang.api.schemas.changes import WhatIfBody
from fenzhang.domain.errors import InvalidInput
from fenzhang.domain.identifiers import hex_id
from fenzhang.domain.rules import Leg
from fenzhang.intake import rules
from fenzhang.intake.errors import UnknownRule
from fenzhang.intake.reading import references_of, references_of_instructions
from fenzhang.intake.snapshot import is_id, platform_of
from fenzhang.ledger.whatif import Question, WhatIf, what_if
from fenzhang.store import payloads
from fenzhang.store.session import Database
from fenzhang.store.tables import InstructionType, RuleVersion


def version_among(found: Sequence[RuleVersion], version: int, field: str = "") -> RuleVersion:
    """A version among all of its rule. Raises UnknownRule, naming `field` if there is one."""
    one = next((row for row in found if row.version == version), None)
    if one is None:
        raise UnknownRule(f"{found[0].reference} version {version}", field)
    return one


async def question_of(
    session: AsyncSession, found: Sequence[RuleVersion], body: WhatIfBody, *, named: bool
) -> Question:
    """What `body` asks about the rule with the versions `found`.

    Unless `named`, who asks is not the platform, and names recipients by their ids: the answer would tell whose the
    references are. Raises UnknownRule, InvalidInput, InvalidRule, UnknownParticipant, ParticipantNotActive.
    """
    platform_id, rule_id = found[0].platform_id, found[0].rule_id
    legs: Sequence[Leg]
    if body.version is not None:
        legs = payloads.legs_from_json(version_among(found, body.version, "version").legs)
    else:
        asked = [leg.named() for leg in body.legs or ()]
        for index, leg in enumerate(asked):
            if not named and leg.recipient is not None and not is_id(leg.recipient):
                raise InvalidInput(f"legs[{index}].recipient", "name a platform's recipient by its 0x id")
        legs = await rules.resolve_legs(session, await platform_of(session, platform_id), asked)
    return Question(platform_id, rule_id, legs, body.period, body.limit)


async def tried(database: Database, question: Question, *, named: bool) -> dict[str, Any]:
    """What came of it; with the platform's references of participants and orders if `named`.

    Raises DatabaseUnavailable.
    """
    result = await what_if(database, question)
    participants: dict[bytes, str] = {}
    orders: dict[bytes, str] = {}
    if named:
        async with database.read() as session:
            participants = await references_of(session, question.platform_id, {who for _, who in result.sums})
            orders = await _orders_named(session, question.platform_id, result)
    return {
        "rule_id": hex_id(question.rule_id),
        "captured_from": question.period.begin,
        "captured_before": question.period.end,
        **what_if_answer(result, participants, orders),
    }


async def _orders_named(session: AsyncSession, platform_id: bytes, result: WhatIf) -> dict[bytes, str]:
    """The platform's own references of the orders that are examples, by id."""
    wanted = {order_id for missing in result.not_replayed.values() for order_id in missing.examples}
    named = await references_of_instructions(session, platform_id, wanted)
    return {
        number: reference for (kind, number), reference in named.items() if kind == InstructionType.CAPTURE
    }
