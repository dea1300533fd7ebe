"""The campaign: every scenario on every database, judged after each, and a table of what survived."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from traceback import extract_tb

from support.faults import chain_faults, database_faults, kills, lease_faults, poison
from support.faults.database_faults import DISK_FULL, small_file_system
from support.faults.oracle import judge
from support.faults.overload import OVERLOAD
from support.faults.postgres import Postgres
from support.faults.rig import Rig, Scenario
from support.faults.system import POSTGRES, SQLITE, FaultSystem, running_system
from support.faults.traffic import Traffic

SHARED: tuple[Scenario, ...] = (
    *kills.SCENARIOS,
    *chain_faults.SCENARIOS,
    *database_faults.SCENARIOS,
    *lease_faults.SCENARIOS,
    *poison.SCENARIOS,
    OVERLOAD,
)
"""Scenarios that leave a system behind on which the next one can be played."""
ALL = (*SHARED, DISK_FULL)
_SMALL_MB = {SQLITE: 40, POSTGRES: 96}
"""Room for the database on the file system that gets full. SQLite's log alone may take 16 MB before it is cut."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one scenario on one database."""

    scenario: Scenario
    database: str
    faults: int
    instructions: int
    seconds: float
    problems: Sequence[str] = ()
    figures: dict[str, float] = field(default_factory=dict)
    left_out: str = ""
    """Why it was not tried."""

    @property
    def survived(self) -> bool:
        """Whether nothing was lost, doubled or wrong."""
        return not self.problems


@asynccontextmanager
async def prepared_rig(
    kind: str, seed: int, say: Callable[[str], None], scenario: Scenario | None = None
) -> AsyncIterator[Rig]:
    """A running system with traffic ready to go; for DISK_FULL its database is on a small file system."""
    if scenario is not DISK_FULL:
        async with running_system(kind, seed) as system, _rig(system, seed, say) as rig:
            yield rig
        return
    with small_file_system(_SMALL_MB[kind]) as folder:
        file, server = (folder / "fenzhang.db", None) if kind == SQLITE else (None, Postgres(folder / "pg"))
        if server is not None:
            server.folder.mkdir()
        async with (
            running_system(kind, seed, database_file=file, postgres=server) as system,
            _rig(system, seed, say) as rig,
        ):
            yield rig


@asynccontextmanager
async def _rig(system: FaultSystem, seed: int, say: Callable[[str], None]) -> AsyncIterator[Rig]:
    traffic = Traffic(system, random.Random(seed))
    try:
        await traffic.prepare()
        yield Rig(system, traffic, traffic.chosen, 0, say)
    finally:
        await traffic.close()


async def play(rig: Rig, scenario: Scenario, rounds: int, seed: int) -> Result:
    """Play one scenario and judge. Whatever goes wrong on the way is a problem, not an exception."""
    # Each scenario has chance of its own: played alone it is the same as among others.
    rig.chosen = rig.traffic.chosen = rig.system.node_proxy.chosen = random.Random(f"{seed} {scenario.name}")
    rig.rounds, rig.figures = rounds, {}
    before, began = rig.traffic.sent, time.monotonic()
    faults, problems = 0, []
    try:
        faults = await scenario.run(rig)
    except Exception as error:  # noqa: BLE001 -- a scenario that cannot be finished is a finding like any other
        problems += _named(error)
    rig.system.node_proxy.behave()
    problems += await judge(rig.system, rig.traffic)
    return Result(
        scenario,
        rig.system.kind,
        faults,
        rig.traffic.sent - before,
        time.monotonic() - began,
        problems,
        dict(rig.figures),
    )


def _named(error: Exception) -> list[str]:
    """An error as lines, each of a group by itself."""
    if isinstance(error, ExceptionGroup):
        return [line for each in error.exceptions for line in _named(each)]
    where = " <- ".join(
        f"{f.filename.rpartition('/')[2]}:{f.lineno}" for f in extract_tb(error.__traceback__)[:-4:-1]
    )
    return [f"{type(error).__name__}: {error} ({where})"]


@dataclass(slots=True)
class Campaign:
    """What is to be played. `rounds` is how many rounds of kills; other scenarios have as many as they say."""

    seed: int
    rounds: int
    databases: Sequence[str]
    only: str | None
    say: Callable[[str], None]
    short: bool = False
    """As few rounds as the test suite plays."""
    results: list[Result] = field(default_factory=list)

    async def run(self) -> list[Result]:
        """Play everything. A system that did not survive is replaced before the next scenario."""
        for kind in self.databases:
            scenarios = [s for s in ALL if kind in s.databases and self.only in {None, s.name}]
            waiting = [s for s in scenarios if s is not DISK_FULL]
            while waiting:
                waiting = await self._play_on_one_system(kind, waiting)
            if DISK_FULL in scenarios:
                await self._play_disk_full(kind)
        return self.results

    async def _play_on_one_system(self, kind: str, scenarios: Sequence[Scenario]) -> list[Scenario]:
        """Play until one fails. Returns those that are left."""
        left = list(scenarios)
        self.say(f"=== {kind}: bringing a system up (seed {self.seed})")
        async with prepared_rig(kind, self.seed, self._detail) as rig:
            while left:
                result = await self._play(rig, left.pop(0))
                if not result.survived:
                    break
        return left

    async def _play_disk_full(self, kind: str) -> None:
        self.say(f"=== {kind}: a system with its database on a small file system")
        try:
            async with prepared_rig(kind, self.seed, self._detail, DISK_FULL) as rig:
                await self._play(rig, DISK_FULL)
        except PermissionError as error:
            self.results.append(Result(DISK_FULL, kind, 0, 0, 0.0, left_out=str(error)))
            self.say(f"    left out: {error}")

    async def _play(self, rig: Rig, scenario: Scenario) -> Result:
        kind = rig.system.kind
        self.say(f"--- {kind} {scenario.name}: {scenario.what}")
        rounds = scenario.short if self.short else scenario.full
        if scenario is kills.RANDOM:
            rounds = self.rounds
        result = await play(rig, scenario, rounds, self.seed)
        self.results.append(result)
        verdict = "survived" if result.survived else "FAILED"
        self.say(
            f"    {verdict}: {result.faults} faults, {result.instructions} instructions, {result.seconds:.0f} s"
        )
        for problem in result.problems:
            self.say(f"    {problem}")
        return result

    def _detail(self, line: str) -> None:
        self.say(f"    {line}")


def table(results: Sequence[Result]) -> list[str]:
    """The results as lines of text."""
    rows = [("scenario", "database", "faults", "instructions", "seconds", "result")]
    for result in results:
        verdict = "survived" if result.survived else "FAILED"
        rows.append(
            (
                result.scenario.name,
                result.database,
                str(result.faults),
                str(result.instructions),
                f"{result.seconds:.0f}",
                f"left out: {result.left_out}" if result.left_out else verdict,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    figures = [
        f"{result.database} {result.scenario.name}: {name} {value:.2f}"
        for result in results
        for name, value in result.figures.items()
    ]
    return [*lines, *([""] if figures else []), *figures]
