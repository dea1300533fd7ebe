"""A market that pays out: what is payable to four participants, and cycles that anchor the mirrored journal."""

from __future__ import annotations

from fenzhang.ledger.links import head
from pipeline.harness import Pipeline
from support.clearing import Desk
from support.parties import COURIER, MERCHANT, PAIR, PROMOTER, SUPPLIER, Party

EVERYBODY = (MERCHANT, PROMOTER, COURIER, SUPPLIER)


async def market(pipeline: Pipeline) -> Desk:
    """Each of four has 500 coming to it, and it is mirrored."""
    world = pipeline.world
    for pair in (EVERYBODY[:2], EVERYBODY[2:]):
        order = world.captured(1_000, rule=PAIR, bindings=tuple(each.id for each in pair))
        world.did(world.split(order.order_id, 1_000))
    await pipeline.follow()
    return Desk(world)


async def close(pipeline: Pipeline, desk: Desk, *sums: tuple[Party, int]) -> bytes:
    """Close the next cycle, which anchors the head of the journal as it is mirrored; its id."""
    await pipeline.follow()
    async with pipeline.database.read() as session:
        link = await head(session)
    return desk.close(*sums, journal_head=link.hash)
