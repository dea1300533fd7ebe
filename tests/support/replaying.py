"""Playing a scenario in a test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from fenzhang.chain.deployments import load
from fenzhang.local.supervisor import Endpoints
from fenzhang.replay.run import Replay, ReplayReport
from fenzhang.replay.scenario import Scenario


async def replayed(endpoints: Endpoints, scenario: Scenario, credentials: Path | None = None) -> ReplayReport:
    """Play a scenario on a system."""
    run = Replay(
        scenario=scenario,
        api=endpoints.api,
        credentials=credentials or endpoints.apps,
        rpc=endpoints.rpc,
        deployment=load(endpoints.deployment),
    )
    return await run.run()


def demo(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `fenzhang demo` to its end."""
    command = [sys.executable, "-m", "fenzhang", "demo", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
