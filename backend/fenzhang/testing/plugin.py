"""pytest fixtures: a local chain, and a whole deployed system. Installed with fenzhang, nothing needs to be imported.

def test_my_shop(fenzhang_system):
    with fenzhang_system.platform("my-shop") as shop:
        shop.enrol_participant("merchant-1")
        ...

Both live as long as the test session and leave nothing behind. They need the anvil binary; a test that asks for one
where there is none fails with what to install.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

# Nothing of fenzhang is imported before a fixture is used: a project that does not use them pays nothing for them.
if TYPE_CHECKING:
    from fenzhang.devnet import RunningNode
    from fenzhang.testing.system import LocalSystem

BLOCK_TIME_S = 0.5
"""Seconds between blocks of the system's chain: quick enough to wait for, slow enough to be like a real one."""


@pytest.fixture(scope="session")
def fenzhang_devnet() -> Iterator[RunningNode]:
    """A fresh chain without contracts, with a block for every transaction."""
    from fenzhang.devnet import ephemeral_node

    with ephemeral_node() as node:
        yield node


@pytest.fixture(scope="session")
def fenzhang_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSystem]:
    """Chain, contracts, database, API, submission and mirror, all running."""
    from fenzhang.local.spawned import spawned_system
    from fenzhang.local.supervisor import UpOptions
    from fenzhang.testing.system import LocalSystem

    home = tmp_path_factory.mktemp("fenzhang")
    options = UpOptions(home=home, port=0, node_port=0, block_time_s=BLOCK_TIME_S)
    with spawned_system(options) as endpoints:
        yield LocalSystem(endpoints)
