"""Which node and which deployment a command takes when none is named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fenzhang.chain.node import NodeClient
from fenzhang.commands.nearby import deployment_file, node_url
from fenzhang.devnet import CHAIN_ID, DevnetConfig, Mining, RunningNode, start, stop
from fenzhang.settings import Settings, SettingsInvalid

FILE = Path("deployments") / f"{CHAIN_ID}.json"


@pytest.fixture(autouse=True)
def _nothing_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "RPC_URL", "DEPLOYMENT", "API_PORT"):
        monkeypatch.delenv(f"FENZHANG_{name}", raising=False)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningNode]:
    """A devnet in the folder where commands look by themselves."""
    home = tmp_path / ".fenzhang"
    yield start(DevnetConfig(home=home, port=0, mining=Mining.MANUAL))
    stop(home)


def test_a_node_that_runs_here_is_found_unless_another_is_named(
    running: RunningNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert node_url(Settings.from_environment(), None) == running.url
    monkeypatch.setenv("FENZHANG_RPC_URL", "http://environment")
    assert node_url(Settings.from_environment(), None) == "http://environment"
    assert node_url(Settings.from_environment(), "http://given") == "http://given"


def test_where_none_runs_it_is_the_usual_address() -> None:
    assert node_url(Settings.from_environment(), None) == "http://127.0.0.1:8545"


async def test_the_deployment_is_that_of_the_home_folder_else_the_one_here(
    running: RunningNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with NodeClient(running.url) as node:

        async def found(given: Path | None = None) -> Path:
            return await deployment_file(Settings.from_environment(), given, node)

        assert await found() == FILE
        at_home = Path(".fenzhang") / FILE
        at_home.parent.mkdir()
        at_home.write_text("{}")
        assert await found() == at_home
        monkeypatch.setenv("FENZHANG_DEPLOYMENT", "environment.json")
        assert await found() == Path("environment.json")
        assert await found(Path("given.json")) == Path("given.json")


def test_a_setting_that_cannot_be_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FENZHANG_API_PORT", "many")
    with pytest.raises(SettingsInvalid, match="FENZHANG_API_PORT: "):
        Settings.from_environment()
