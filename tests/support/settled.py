"""A day of settled orders in the database, as the mirror would have left it, and a draft to try on it."""

from __future__ import annotations

from typing import Any

from fenzhang.domain.allocation import Allocation, allocate
from fenzhang.domain.identifiers import order_id, rule_id
from fenzhang.domain.money import MAX_AMOUNT
from fenzhang.domain.records import RecordKind
from fenzhang.domain.rules import ROOT, Leg, LegKind, RuleTerms, roles_of
from fenzhang.store import payloads, tables
from support.api import MALL, RETAIL, SHOP, SIMPLE, Api, order, participant, rule_row

NET = (
    Leg(ROOT, LegKind.FIXED, 250, recipient=participant("logistics-001")),
    Leg(ROOT, LegKind.REMAINDER),
    Leg(1, LegKind.SHARE, 100, role="promoter"),
    Leg(1, LegKind.SHARE, 400, 10, 30_000, role="platform"),
    Leg(1, LegKind.REMAINDER, role="merchant"),
)
"""The retail rule anew: a fixed carrier, and shares of what is left after it."""
HOLDERS = {
    "platform": MALL,
    "logistics": participant("logistics-001"),
    "promoter": participant("promoter-001"),
    "merchant": participant("merchant-001"),
}
DAY = 1_794_355_200
"""2026-11-11 in UTC."""


class Mirror:
    """Writes rows of settled records, as the mirror does."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.last = 0

    async def block(self, number: int, timestamp: int) -> None:
        """A block."""
        block = tables.Block(number=number, hash=bytes([number] * 32), parent_hash=b"", timestamp=timestamp)
        await self.api.add(block)

    async def record(  # noqa: PLR0917 -- in the order of the columns
        self,
        block: int,
        kind: RecordKind,
        order_no: str,
        amount: int,
        name: str = "",
        split: str | None = None,
        leaves: tuple[Allocation, ...] = (),
        instruction_id: bytes | None = None,
    ) -> None:
        """A settled record; `name` is the instruction's reference, `split` that of the split it takes back from.

        `instruction_id` is its real id, where that matters.
        """
        self.last += 1
        number = order_id(MALL, order_no)
        row = tables.Record(
            id=self.last,
            kind=int(kind),
            instruction_id=instruction_id or (order_id(MALL, name) if name else number),
            order_id=number,
            split_id=None if split is None else order_id(MALL, split),
            amount=amount,
            leaf=bytes(32),
            batch=1,
            leaf_index=self.last,
            block_number=block,
            tx_hash=bytes(32),
            log_index=0,
        )
        shares = [
            tables.Allocation(record_id=self.last, leaf=place, recipient=leaf.recipient, amount=leaf.amount)
            for place, leaf in enumerate(leaves)
        ]
        await self.api.add(row, *shares)

    async def capture(
        self, block: int, order_no: str, amount: int, legs: tuple[Leg, ...] = RETAIL, **columns: Any
    ) -> None:
        """An order of the retail rule, unless `columns` say otherwise, with all roles of `legs` bound."""
        values: dict[str, Any] = {
            "platform_id": MALL,
            "merchant": HOLDERS["merchant"],
            "rule_id": rule_id(MALL, "retail-standard"),
            "rule_version": 1,
            "currency": "CNY",
        }
        bound = b"".join(HOLDERS[role] for role in roles_of(legs))
        row = tables.Order(
            order_id=order_id(MALL, order_no),
            bindings=bound,
            captured=amount,
            held=0,
            head=bytes(32),
            **values | columns,
        )
        await self.api.add(row)
        await self.record(block, RecordKind.CAPTURE, order_no, amount)

    async def split(
        self, block: int, order_no: str, name: str, amount: int, legs: tuple[Leg, ...] = RETAIL
    ) -> None:
        """A split of an order by the legs of its version."""
        leaves = tuple(allocate(legs, amount, HOLDERS))
        await self.record(block, RecordKind.SPLIT, order_no, amount, name, leaves=leaves)


async def settle_a_day(api: Api) -> None:
    """The retail rule with a second version proposed, and orders of the day: two of the first version, one huge."""
    chain = Mirror(api)
    terms = payloads.terms_to_json(RuleTerms(max_share_out=4_000))
    second = rule_row(MALL, "retail-standard", 2, NET, approved=False, effective_from=DAY, terms=terms)
    await api.add(second, rule_row(MALL, "big", legs=SIMPLE), rule_row(SHOP, "retail-standard"))
    for number, time in ((1, DAY - 1), (2, DAY), (3, DAY + 86_399), (4, DAY + 86_400)):
        await chain.block(number, time)
    for body in (order("order-1"), order("order-2")):
        assert (await api.mall.post("/v1/orders", json=body)).status_code == 202
    await chain.capture(1, "day-before", 10_000)
    await chain.capture(2, "order-1", 10_000)
    await chain.split(2, "order-1", "split-1", 10_000)
    await chain.capture(3, "order-2", 1_000)
    await chain.split(4, "order-2", "split-2", 1_000)
    takes = tuple(Allocation(leaf.recipient, 10) for leaf in allocate(RETAIL, 1_000, HOLDERS))
    await chain.record(4, RecordKind.RETURN, "order-2", 40, "return-2", "split-2", takes)
    await chain.split(4, "day-before", "split-0", 10_000)
    big: dict[str, Any] = {"rule_id": rule_id(MALL, "big"), "legs": SIMPLE}
    for name in ("huge-1", "huge-2"):
        await chain.capture(4, name, MAX_AMOUNT, **big)
        await chain.split(4, name, f"{name}-split", MAX_AMOUNT, SIMPLE)
