"""One node and one deployed world for all tests of the contracts; each test starts from the same state."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fenzhang.devnet import ephemeral_node
from support.node import HandNode
from support.world import World, build_world

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test of the contracts needs the node."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.node)


@pytest.fixture(scope="session")
def built_world() -> Iterator[World]:
    """The world as it was built. Tests take `world`, or save and restore it themselves."""
    with ephemeral_node(automine=False) as running:
        node = HandNode(running.url)
        yield build_world(node)
        node.close()


@pytest.fixture
def world(built_world: World) -> Iterator[World]:
    """The built world for one test, brought back afterwards."""
    saved = built_world.save()
    yield built_world
    built_world.restore(saved)
