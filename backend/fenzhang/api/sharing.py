"""What may still leave an order's merchant, for orders under a cap."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.api.present import share_out_answer
from fenzhang.domain.rules import smaller_cap
from fenzhang.intake import reading
from fenzhang.intake.reading import Terms
from fenzhang.intake.snapshot import platform_of
from fenzhang.store import payloads
from fenzhang.store.tables import RuleVersion


async def cap_of(session: AsyncSession, platform_id: bytes, rule: RuleVersion | None) -> int:
    """The cap of orders by this rule version now, in basis points; 0 for none. Raises UnknownPlatform."""
    of_rule = 0 if rule is None else payloads.terms_from_json(rule.terms).max_share_out
    return smaller_cap(of_rule, (await platform_of(session, platform_id)).max_share_out)


async def share_out_of(
    session: AsyncSession, platform_id: bytes, terms: Terms, rule: RuleVersion | None
) -> dict[str, int] | None:
    """The cap of an order and what is left of it; None without a cap. Raises UnknownPlatform."""
    cap = await cap_of(session, platform_id, rule)
    if not cap:
        return None
    return share_out_answer(
        cap, terms.amount, await reading.share_out_of(session, terms.order_id, terms.merchant)
    )
