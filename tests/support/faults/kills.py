"""Killed at random moments, and at each named step."""

from __future__ import annotations

import asyncio

from fenzhang import crashpoints
from support.faults.processes import Process
from support.faults.rig import Rig, Scenario
from support.faults.system import DATABASE, NODE, SQLITE

PROCESSES = ("api", "submission", "mirror")
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


def _start_to_crash(rig: Rig, point: str) -> Process:
    process = rig.system.processes[OWNER[point]]
    process.wanted = False
    process.kill()
    process.start(rig.system.crash_variable(point, rig.chosen.randint(1, 2)))
    process.killed = True
    return process


async def named_steps(rig: Rig) -> int:
    """At each named step alone, and then at one of the API's, submission's and mirror's together."""
    deaths = 0
    for _ in range(rig.rounds):
        for point in crashpoints.POINTS:
            await _crash(rig, [point])
            deaths += 1
    submission = [point for point in crashpoints.POINTS if OWNER[point] == "submission"]
    for _ in range(rig.rounds):
        together = [crashpoints.AFTER_ACCEPT, rig.chosen.choice(submission), crashpoints.IN_MIRROR]
        await _crash(rig, together)
        deaths += len(together)
    return deaths


async def _crash(rig: Rig, points: list[str]) -> None:
    """Start the owners of these steps so that they die there, and wait until they have."""
    async with rig.endless_traffic():
        dying = [(_start_to_crash(rig, point), point) for point in points]
        await asyncio.gather(*(process.crash_at(point) for process, point in dying))
    rig.say(f"died {', '.join(points)}")
    await rig.settle()


RANDOM = Scenario("kill", "kill -9 at random moments, singly and together", random_kills, 3, 100)
"""The one whose rounds the campaign's caller chooses."""
SCENARIOS = (
    RANDOM,
    Scenario("steps", "kill -9 at each named step, singly and together", named_steps, 1, 3),
)
