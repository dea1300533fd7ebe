"""The page about caps and consent: its example runs as it stands, and prints what the page says."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from fenzhang.audit.verification import AuditReport, verify
from fenzhang.chain.deployments import load
from fenzhang.chain.node import NodeClient
from fenzhang.testing.system import LocalSystem
from support.pages import check_page

pytestmark = [pytest.mark.node, pytest.mark.slow]


def test_the_example_of_the_page_prints_what_the_page_says(
    fenzhang_system: LocalSystem, tmp_path: Path
) -> None:
    check_page("caps-and-consent.md", fenzhang_system, tmp_path)

    assert asyncio.run(_verified(fenzhang_system)).differences == ()


async def _verified(system: LocalSystem) -> AuditReport:
    async with NodeClient(system.rpc) as node:
        return await verify(node, load(system.endpoints.deployment))
