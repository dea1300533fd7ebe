"""Bills of a pipeline, and chains that come to other days."""

from __future__ import annotations

import csv
import json
from io import BytesIO, StringIO
from typing import Any
from zoneinfo import ZoneInfo

from fenzhang.clearing.bills.formats import BillFormat
from fenzhang.clearing.bills.lines import BillKind, Subject
from fenzhang.clearing.bills.making import Bill, make
from fenzhang.domain.days import Day
from fenzhang.domain.records import Authorization
from fenzhang.store.session import Database
from pipeline.harness import Pipeline
from support.parties import MALL, PAIR, STRANGER, Party, ident

SHANGHAI = ZoneInfo("Asia/Shanghai")
OF_MALL = Subject(BillKind.PLATFORM, MALL.id, MALL.name)


def of_merchant(who: Party, platform: Party = MALL) -> Subject:
    """The bill of a merchant."""
    return Subject(BillKind.MERCHANT, platform.id, platform.name, who.id, who.name)


def of_participant(who: Party, platform: Party = MALL) -> Subject:
    """The bill of a participant."""
    return Subject(BillKind.PARTICIPANT, platform.id, platform.name, who.id, who.name)


def today(pipeline: Pipeline, zone: ZoneInfo = SHANGHAI) -> Day:
    """The day of the chain's newest block."""
    return Day.at(pipeline.world.node.now, zone)


async def reach(pipeline: Pipeline, timestamp: int) -> None:
    """A block of this time, mirrored."""
    pipeline.world.node.next_block_at(timestamp)
    pipeline.mine()
    await pipeline.follow()


async def content(
    database: Database, subject: Subject, day: Day, form: BillFormat = BillFormat.JSONL, depth: int = 0
) -> bytes:
    """A bill's bytes, whose hash and size are as said."""
    out = BytesIO()
    made = await make(database, Bill(subject, day, form), depth, out)
    assert made.size == len(out.getvalue())
    assert out.getvalue().count(b"\n") == made.lines + (form is BillFormat.CSV)
    return out.getvalue()


async def lines(database: Database, subject: Subject, day: Day) -> list[dict[str, Any]]:
    """A bill's lines; those of CSV say the same."""
    found = [json.loads(line) for line in (await content(database, subject, day)).splitlines()]
    text = (await content(database, subject, day, BillFormat.CSV)).decode()
    assert list(csv.DictReader(StringIO(text, newline=""))) == [
        {name: _as_text(value) for name, value in line.items()} for line in found
    ]
    return found


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def of_kind(found: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Those lines that tell of one thing, such as RECORD."""
    return [line for line in found if line["line"] == kind]


async def settled(pipeline: Pipeline, *what: Any, signed: Authorization | None = None) -> list[int]:
    """Accepted, and decided by the chain."""
    seqs = await pipeline.accept(*what, signed=signed)
    await pipeline.settle_all()
    return seqs


async def traffic(pipeline: Pipeline) -> None:
    """Two orders in two currencies, one of which is split, partly returned, refunded and released; and failures."""
    world = pipeline.world
    world.set_currency("JPY", enabled=True)
    one, two = world.capture(10_000, rule=PAIR), world.capture(7_001, rule=PAIR, currency="JPY")
    split, other = world.split(one.order_id, 6_001), world.split(two.order_id, 7_001)
    await settled(pipeline, one, two, split, other)
    await settled(pipeline, world.give_back(one.order_id, split.id, 1_001), world.split(one.order_id, 99_999))
    await settled(pipeline, world.refund(one.order_id, 2_000), world.split(ident("order", "unknown"), 5))
    await settled(pipeline, world.release(one.order_id), world.capture(5, rule=PAIR, merchant=STRANGER))
    late = world.authorize(world.split(two.order_id, 1), deadline=1)
    await settled(pipeline, *late.instructions, signed=late)


async def over(pipeline: Pipeline, day: Day, blocks: int = 1) -> None:
    """The chain has come to the end of a day."""
    await reach(pipeline, max(day.end, pipeline.world.node.now + 1))
    pipeline.mine(blocks - 1)
    await pipeline.follow()
