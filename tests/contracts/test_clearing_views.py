"""What is read of cycles and payouts from a node: by views, and by the standing that a replay shows."""

from __future__ import annotations

from fenzhang.chain.node import NodeClient
from fenzhang.chain.views import ChainView
from fenzhang.domain.clearing import IN_TRANSIT, PAID, LastCycle, OutcomeKind, PayoutState
from fenzhang.replay.standing import CurrencyStanding, read_standing
from support.clearing import Desk
from support.parties import MALL, MERCHANT
from support.world import World


async def test_cycles_and_payouts_are_read_as_the_specification_has_them(world: World) -> None:
    world.did(world.release(world.captured(1_000).order_id))
    desk = Desk(world)
    cycle_id = desk.close((MERCHANT, 600), (MERCHANT, 400), (MERCHANT, 1))
    desk.take(cycle_id, 0)
    desk.take(cycle_id, 1, 2)
    desk.report(cycle_id, (0, OutcomeKind.PAID))
    async with NodeClient(world.node.url) as node:
        view = ChainView(node, world.system.deployment)
        assert await view.cycle_of(cycle_id) == world.twin.world.cycles[cycle_id]
        assert (await view.cycle_of(bytes(32))).number == 0
        assert await view.last_cycle("CNY", "standard") == world.twin.world.last_cycles["CNY", "standard"]
        assert await view.last_cycle("CNY", "late") == LastCycle()
        assert await view.payout_states(cycle_id, [2, 1, 0, 3]) == [
            PayoutState.ENDED,
            PayoutState.IN_TRANSIT,
            PayoutState.PAID,
            PayoutState.NONE,
        ]
        assert await view.positions("CNY", [IN_TRANSIT, PAID, MERCHANT.id]) == [400, 600, 0]


async def test_the_standing_of_a_replay_counts_what_left(world: World) -> None:
    world.did(world.release(world.captured(1_000).order_id))
    desk = Desk(world)
    cycle_id = desk.close((MERCHANT, 600), (MERCHANT, 300))
    desk.take(cycle_id)
    desk.report(cycle_id, (0, OutcomeKind.PAID), (1, OutcomeKind.FAILED))
    async with NodeClient(world.node.url) as node:
        found = await read_standing(node, world.system.deployment, [MALL.id], {MERCHANT.id: "merchant"})
    assert found == {
        "CNY": CurrencyStanding({"merchant": 400}, held=0, refunded=0, captured=1_000, paid_out=600)
    }
    assert found["CNY"].conserved
    assert found["CNY"].to_json()["(paid out)"] == 600
