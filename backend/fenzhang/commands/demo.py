"""`fenzhang demo`: a fresh system, a whole scenario through it, and every check there is."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fenzhang.domain.errors import FenzhangError

if TYPE_CHECKING:
    from fenzhang.local.businessday import BusinessDay
    from fenzhang.local.dayreport import DayEnd
    from fenzhang.local.examination import Examination
    from fenzhang.local.supervisor import Endpoints
    from fenzhang.replay.run import ReplayReport
    from fenzhang.replay.scenario import Scenario

FOUND_SOMETHING = 1
"""Exit code when something is undecided, or a check found a difference."""
_DEFAULT_SCENARIO = Path("tests") / "scenarios" / "market_day"
"""Within the checkout."""


class ScenarioMissing(FenzhangError):
    """There is no scenario to play."""

    code = "scenario_missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOutcome:
    """What a demo came to. `phases` is seconds by name, in order."""

    played: ReplayReport
    ended: DayEnd
    examined: Examination
    phases: dict[str, float]

    @property
    def clean(self) -> bool:
        """Whether everything is decided and paid, what differs is explained, and nothing else was found."""
        return self.played.complete and self.ended.clean and self.examined.clean

    def to_json(self) -> dict[str, Any]:
        """The report."""
        return {
            **self.played.to_json(),
            "end_of_day": self.ended.to_json(),
            **self.examined.to_json(),
            "clean": self.clean,
            "phases": {name: round(seconds, 3) for name, seconds in self.phases.items()},
        }


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("demo")(demo)


def demo(
    *,
    scenario: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="Folder to play instead of tests/scenarios/market_day.",
            show_default=False,
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write a JSON report to this file.", show_default=False)
    ] = None,
    home: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the demo's own chain and database, begun anew each time. "
            "Default: demo in FENZHANG_HOME or .fenzhang here.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Start a fresh system, play a scenario through its API, pay out at the end of its day, check everything, stop it.

    Exit code 0: all decided, paid, and as the scenario expects it; reconciliation and verification are clean.
    1: not so. 2: mistakes in the scenario.
    """
    from fenzhang.commands import demo_text
    from fenzhang.commands.replay import read_scenario, write_report
    from fenzhang.devnet import default_home
    from fenzhang.local.home import Home

    folder = scenario or _default_scenario()
    found = read_scenario(folder)
    own = Home((home or default_home() / "demo").absolute())
    with _interruptible(), own.held("demo"):
        own.stop_leftovers(supervisor=True)
        outcome = _play(found, own.path)
    if report is not None:
        write_report(report, {"scenario": str(folder), **outcome.to_json()})
    demo_text.print_end(outcome, own.path, report)
    if not outcome.clean:
        raise typer.Exit(FOUND_SOMETHING)


def _play(scenario: Scenario, home: Path) -> DemoOutcome:
    from fenzhang.commands import demo_text
    from fenzhang.local.businessday import BusinessDay
    from fenzhang.local.spawned import spawned_system
    from fenzhang.local.supervisor import UpOptions

    began = time.monotonic()
    demo_text.print_begin(scenario, home)
    with spawned_system(UpOptions(home=home, port=0, node_port=0, fresh=True)) as endpoints:
        started = time.monotonic()
        demo_text.print_started(endpoints, started - began)
        day = BusinessDay.begin(endpoints.rpc)
        played = asyncio.run(_replay(scenario, endpoints))
        replayed = time.monotonic()
        demo_text.print_played(played)
        ended = _end_day(scenario, endpoints, day)
        demo_text.print_day_end(ended)
        examined = asyncio.run(_examine(endpoints))
        demo_text.print_examined(examined)
        stopping = time.monotonic()
    stopped = time.monotonic()
    reading = replayed - started - played.prepare_seconds - played.seconds
    phases = {
        "start": started - began,
        "set up platforms": played.prepare_seconds,
        "play orders": played.seconds,
        "read and compare": reading,
        **ended.seconds,
        **examined.seconds,
        "stop": stopped - stopping,
        "total": stopped - began,
    }
    return DemoOutcome(played=played, ended=ended, examined=examined, phases=phases)


def _end_day(scenario: Scenario, endpoints: Endpoints, day: BusinessDay) -> DayEnd:
    """Noon, evening and the next morning, with a bank of its own."""
    from fenzhang.commands import demo_text
    from fenzhang.local.afternoon import afternoon_of
    from fenzhang.local.bankside import bank_beside
    from fenzhang.local.dayend import DayCloser, day_plan

    plan = asyncio.run(day_plan(scenario, endpoints, day))
    demo_text.print_day(plan)
    more = afternoon_of(scenario)
    with bank_beside(endpoints, plan.calendars) as bank_url:
        afternoon = None if more is None else partial(_replay, more, endpoints)
        closer = DayCloser(plan, bank_url, afternoon)
        return asyncio.run(closer.run())


async def _replay(scenario: Scenario, endpoints: Endpoints) -> ReplayReport:
    from fenzhang.chain.deployments import load
    from fenzhang.commands.approvallock import set_approval_lock
    from fenzhang.commands.replay_text import watching
    from fenzhang.replay.run import Replay

    run = Replay(
        scenario=scenario,
        api=endpoints.api,
        credentials=endpoints.apps,
        rpc=endpoints.rpc,
        deployment=load(endpoints.deployment),
        set_lock=partial(set_approval_lock, endpoints.rpc, endpoints.deployment),
    )
    with watching(run) as progress:
        run.progress = progress
        return await run.run()


async def _examine(endpoints: Endpoints) -> Examination:
    from fenzhang.local.examination import examine
    from fenzhang.settings import Settings

    # The demo's database is its own, whatever the environment names for others.
    settings = Settings(
        home=endpoints.home, database_url="", rpc_url=endpoints.rpc, deployment=endpoints.deployment
    )
    return await examine(endpoints, settings)


def _default_scenario() -> Path:
    """The scenario of the checkout that this package belongs to, or of the one around the working directory."""
    for folder in (Path.cwd(), *Path.cwd().parents, *Path(__file__).parents):
        if (folder / _DEFAULT_SCENARIO).is_dir():
            return folder / _DEFAULT_SCENARIO
    raise ScenarioMissing(f"there is no {_DEFAULT_SCENARIO} here: name a folder with --scenario")


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM and a lost terminal end the demo as Ctrl-C does: in order."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
