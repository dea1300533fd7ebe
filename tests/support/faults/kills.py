"""Killed at random moments, and at each named step."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from fenzhang import crashpoints
from support.faults.processes import until
from support.faults.rig import Rig, Scenario
from support.faults.system import DATABASE, NODE, PROCESSES, SQLITE

OWNER = {
    crashpoints.AFTER_ACCEPT: "api",
    crashpoints.AFTER_SIGN: "submission",
    crashpoints.AFTER_STORE: "submission",
    crashpoints.AFTER_BROADCAST: "submission",
    crashpoints.AFTER_MINE: "submission",
    crashpoints.IN_MIRROR: "mirror",
}
"""Which process passes a crash point."""
_SETTLE_EVERY = 10


def _victims(rig: Rig) -> list[str]:
    known = [*PROCESSES, NODE] if rig.system.kind == SQLITE else [*PROCESSES, NODE, DATABASE]
    count = rig.chosen.choice((1, 1, 2, 3, len(known)))
    return rig.chosen.sample(known, count)


async def random_kills(rig: Rig) -> int:
    """One or several parts at once, whatever they are doing, also while they come back from the last time."""
    kills = 0
    for number in range(1, rig.rounds + 1):
        async with rig.under_traffic(orders=6):
            await asyncio.sleep(rig.chosen.uniform(0.0, 2.5))
            victims = _victims(rig)
            await asyncio.gather(*(rig.system.kill(victim) for victim in victims))
            kills += len(victims)
        rig.say(f"kill round {number}: {', '.join(sorted(victims))}")
        if number % _SETTLE_EVERY == 0:
            await rig.settle()
    return kills


async def named_steps(rig: Rig) -> int:
    """All three processes at their named steps side by side; in the campaign each step alone as well."""
    deaths = 0
    for _ in range(rig.rounds):
        points = rig.chosen.sample(crashpoints.POINTS, len(crashpoints.POINTS))
        deaths += await _die_at(rig, points)
        if rig.rounds > 1:
            for point in points:
                deaths += await _die_at(rig, [point])
    return deaths


async def _die_at(rig: Rig, points: Sequence[str]) -> int:
    """Let the owner of each step die there, one step per run, while orders come."""
    processes = rig.system.processes
    for point in points:
        processes[OWNER[point]].crashes.append(f"{point}:{rig.chosen.randint(1, 2)}")
    dying = {OWNER[point]: processes[OWNER[point]] for point in points}
    async with rig.endless_traffic():
        for process in dying.values():
            process.kill()
        await until(lambda: not any(process.crashes for process in dying.values()), "dying there", 180.0)
    rig.say(f"died {', '.join(points)}")
    await rig.settle()
    return len(points)


RANDOM = Scenario("kill", "kill -9 at random moments, singly and together", random_kills, 3, 100)
"""The one whose rounds the campaign's caller chooses."""
SCENARIOS = (
    RANDOM,
    Scenario("steps", "kill -9 at each named step, singly and together", named_steps, 1, 3),
)
