"""`fenzhang up`: what is killed comes back, what is stopped stops in order, and nothing is done twice or lost."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from fenzhang import devnet
from fenzhang.chain.deployments import load
from fenzhang.chain.node import NodeClient
from fenzhang.client import Client
from fenzhang.devnet.processes import ProcessId
from fenzhang.ledger.reconcile import reconcile
from fenzhang.local.home import NODE, SUPERVISOR, Home
from fenzhang.local.spawned import spawned_system
from fenzhang.local.supervisor import UpFailed, UpOptions
from fenzhang.replay.run import Progress, Replay
from fenzhang.store.session import Database
from support.replaying import replayed
from support.scenarios import MARKET_DAY, cut, expected_of

pytestmark = [pytest.mark.node, pytest.mark.fault, pytest.mark.slow]
FAST = 0.3
"""Seconds between blocks."""
ALL = {SUPERVISOR, "api", "submission", "mirror", NODE}


def _options(home: Path, database_url: str = "") -> UpOptions:
    return UpOptions(home=home, port=0, node_port=0, block_time_s=FAST, database_url=database_url)


def _until(true: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def _gone(processes: dict[str, ProcessId]) -> bool:
    return not any(process.alive() for process in processes.values())


async def test_whatever_is_killed_in_the_middle_of_a_replay_nothing_is_done_twice(
    tmp_path: Path, empty_database_url: str
) -> None:
    scenario = cut(MARKET_DAY, tmp_path / "scenario", range(200))
    expected = expected_of(scenario)
    home = Home(tmp_path / "home")
    options = _options(home.path, empty_database_url)
    sent = asyncio.Event()
    with spawned_system(options) as endpoints:
        run = Replay(
            scenario=scenario,
            api=endpoints.api,
            credentials=endpoints.apps,
            progress=Progress(sent=lambda _: sent.set()),
        )
        playing = asyncio.create_task(run.run())
        await sent.wait()
        # The processes one after the other, which the supervisor starts again, and then the supervisor itself.
        for victim in ("api", "submission", "mirror", NODE):
            before = home.running()
            assert before[victim].send(signal.SIGKILL)
            await asyncio.to_thread(_until, partial(_started_again, home, victim, before[victim]))
        running = home.running()
        assert set(running) == ALL
        assert running[SUPERVISOR].send(signal.SIGKILL)
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)

    with spawned_system(options) as endpoints:
        report = await replayed(endpoints, scenario)
        async with Database(empty_database_url) as database, NodeClient(endpoints.rpc) as node:
            differences = await reconcile(database, node, load(endpoints.deployment))
        again = await replayed(endpoints, scenario)

    assert _gone(running)
    assert report.counts == expected.counts
    assert report.to_json()["positions"] == expected.plain_positions()
    assert differences == []
    assert (again.fresh, again.standing) == (0, report.standing)


def _started_again(home: Home, name: str, before: ProcessId) -> bool:
    now = home.running().get(name)
    return now is not None and now != before


def _checked(home: Home) -> None:
    """`verify` and `reconcile` find what runs in the home folder, and say what they found."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FENZHANG_")}
    node = devnet.status(home.path).node
    assert node is not None
    for command in ("verify", "reconcile"):
        done = subprocess.run(
            [sys.executable, "-m", "fenzhang", command, "--json"],
            env=environment | {"FENZHANG_HOME": str(home.path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == f"node {node.url}, deployment {home.deployment}\n"
        assert json.loads(done.stdout)["differences"] == []


def test_one_home_from_its_first_start_to_a_fresh_one_that_is_killed(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with spawned_system(_options(home.path)) as endpoints:
        running = home.running()
        with pytest.raises(UpFailed, match="another `fenzhang up` uses"), spawned_system(_options(home.path)):
            pass
        with Client(endpoints.api) as client:
            assert client.is_ready(), "the one that was there is not disturbed"
        _checked(home)
    assert set(running) == ALL
    assert _gone(running)
    assert home.running() == {}
    assert not devnet.status(home.path).running

    devnet.reset(home.path)
    with (
        pytest.raises(UpFailed, match="`fenzhang up --fresh` begins anew"),
        spawned_system(_options(home.path)),
    ):
        pass
    assert not devnet.status(home.path).running, "nothing is left running"

    # Begun anew by hand, and interrupted twice.
    command = [sys.executable, "-m", "fenzhang", "up", "--fresh", "--home", str(home.path)]
    ports = ["--port", "0", "--node-port", "0", "--block-time", str(FAST)]
    with subprocess.Popen(
        [*command, *ports], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        shown = [process.stdout.readline() for _ in range(8)]
        running = home.running()
        process.send_signal(signal.SIGINT)
        assert process.stderr.readline() == "fenzhang: stopping; once more to kill\n"
        process.send_signal(signal.SIGINT)
        process.wait(10)
    assert shown[0].startswith("API          http://127.0.0.1:")
    assert shown[5] == f"check        FENZHANG_HOME={home.path} fenzhang verify\n"
    assert shown[-1] == "Everything runs. Ctrl-C ends it.\n"
    assert process.returncode == 130
    assert set(running) == ALL
    _until(lambda: _gone(running))
    assert not devnet.status(home.path).running


def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.path.mkdir()
    with closing(sqlite3.connect(home.path / "fenzhang.db")) as database, database:
        database.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        database.execute("INSERT INTO alembic_version VALUES ('9999')")

    with (
        pytest.raises(UpFailed, match="the database belongs to a newer version of fenzhang"),
        spawned_system(_options(home.path)),
    ):
        pass

    assert not devnet.status(home.path).running


def test_a_port_that_is_taken_is_named(tmp_path: Path, fenzhang_devnet: devnet.RunningNode) -> None:
    options = UpOptions(home=tmp_path / "home", port=fenzhang_devnet.port, node_port=0)

    with (
        pytest.raises(UpFailed, match=f"port {fenzhang_devnet.port} on 127.0.0.1 is taken"),
        spawned_system(options),
    ):
        pass
