"""One running system per database for all fault tests; one that did not survive is replaced."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest
import pytest_asyncio

from support.faults.campaign import Result, play, prepared_rig
from support.faults.rig import Rig, Scenario
from support.faults.system import POSTGRES, SQLITE

SEED = 20_261


@dataclass(slots=True)
class Player:
    """Plays scenarios on a shared system."""

    kind: str
    _rig: Rig | None = None
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def play(self, scenario: Scenario) -> Result:
        """Play the short version of a scenario."""
        if self._rig is None:
            self._rig = await self._stack.enter_async_context(prepared_rig(self.kind, SEED, print, scenario))
        result = await play(self._rig, scenario, scenario.short, SEED)
        if not result.survived:
            await self.close()
        return result

    async def close(self) -> None:
        """End the system."""
        self._rig = None
        await self._stack.aclose()


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="session",
    params=[SQLITE, pytest.param(POSTGRES, marks=pytest.mark.postgres)],
)
async def player(request: pytest.FixtureRequest) -> AsyncIterator[Player]:
    """A player on each database."""
    playing = Player(request.param)
    yield playing
    await playing.close()
