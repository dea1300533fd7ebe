"""The local chain, with a real node: it starts, lasts, and never runs twice on one state."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from web3 import Web3

from fenzhang.devnet import (
    CHAIN_ID,
    DevnetConfig,
    DevnetRunning,
    Mining,
    PortTaken,
    RunningNode,
    StartFailed,
    StateUnreadable,
    WrongChain,
    child_node,
    dev_account,
    ephemeral_node,
    reset,
    start,
    status,
    stop,
)
from fenzhang.devnet.rpc import call, latest_block

pytestmark = pytest.mark.node

ADMIN = dev_account("admin")
SOMEBODY = "0x00000000000000000000000000000000000f3212"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home folder whose node is gone after the test, whatever happened."""
    yield tmp_path
    reset(tmp_path)


def config(home: Path, mining: Mining = Mining.INTERVAL, **options: Any) -> DevnetConfig:
    """A devnet on a free port; blocks and snapshots come faster than by default, to wait less."""
    fast = DevnetConfig(home=home, port=0, mining=mining, block_time_s=0.2, snapshot_interval_s=0.2)
    return dataclasses.replace(fast, **options)


def block(node: RunningNode, number: int) -> dict[str, Any]:
    """A block with the hashes of its transactions."""
    found: dict[str, Any] = call(node.url, "eth_getBlockByNumber", hex(number), False)  # noqa: FBT003 - JSON-RPC
    return found


def transfer(node: RunningNode, value: int, **fees: int) -> str:
    """Send wei to SOMEBODY from the admin, for free; returns the transaction's hash."""
    fields = {
        "nonce": int(call(node.url, "eth_getTransactionCount", ADMIN.address, "pending"), 16),
        "chainId": node.chain_id,
        "gas": 21_000,
        "to": Web3.to_checksum_address(SOMEBODY),
        "value": value,
        **(fees or {"gasPrice": 0}),
    }
    signed = Account.from_key(ADMIN.private_key).sign_transaction(fields)
    sent = call(node.url, "eth_sendRawTransaction", Web3.to_hex(signed.raw_transaction))
    assert isinstance(sent, str)
    return sent


def balance(node: RunningNode) -> int:
    """Wei that SOMEBODY has."""
    return int(call(node.url, "eth_getBalance", SOMEBODY, "latest"), 16)


def wait_until(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    """Poll until a condition holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def settled(node: RunningNode, transaction: str) -> int:
    """Wait for a transaction; returns the number of its block."""
    wait_until(lambda: call(node.url, "eth_getTransactionReceipt", transaction))
    receipt = call(node.url, "eth_getTransactionReceipt", transaction)
    assert receipt["status"] == "0x1"
    return int(receipt["blockNumber"], 16)


def saved_since(home: Path, moment: float) -> bool:
    """Whether there is a snapshot younger than a time."""
    file = home / "devnet" / "state.json.gz"
    return file.exists() and file.stat().st_mtime > moment


def test_a_node_runs_with_the_documented_chain_id_accounts_and_free_gas(home: Path) -> None:
    node = start(config(home))

    assert int(call(node.url, "eth_chainId"), 16) == CHAIN_ID == 20261
    assert int(call(node.url, "eth_gasPrice"), 16) == 0
    settled(node, transfer(node, 1))
    settled(node, transfer(node, 1, maxFeePerGas=0, maxPriorityFeePerGas=0))
    assert balance(node) == 2
    found = status(home)
    assert found.running
    assert found.node == node
    assert found.block is not None
    os.kill(node.pid, 0)


def test_the_state_survives_a_stop(home: Path) -> None:
    node = start(config(home))
    sent = transfer(node, 7)
    number = settled(node, sent)
    genesis = block(node, 0)["hash"]

    assert stop(home)
    assert not status(home).running
    assert not stop(home)
    again = start(config(home))

    assert balance(again) == 7
    assert int(call(again.url, "eth_getTransactionReceipt", sent)["blockNumber"], 16) == number
    assert block(again, 0)["hash"] == genesis
    wait_until(lambda: latest_block(again.url)[0] > number)
    assert settled(again, transfer(again, 1)) > number


def test_the_first_block_is_the_same_however_often_the_node_is_started(home: Path) -> None:
    found = []
    for _ in range(5):
        node = start(config(home))
        found.append(block(node, 0)["hash"])
        stop(home)

    assert found == found[:1] * 5


def test_the_last_transaction_before_a_stop_is_kept_in_instant_mode(home: Path) -> None:
    node = start(config(home, Mining.INSTANT, snapshot_interval_s=3600.0))
    transfer(node, 5)
    call(node.url, "anvil_setStorageAt", SOMEBODY, "0x0", "0x" + "11" * 32)

    stop(home)
    again = start(config(home, Mining.INSTANT))

    assert balance(again) == 5
    assert call(again.url, "eth_getStorageAt", SOMEBODY, "0x0", "latest") == "0x" + "11" * 32


@pytest.mark.fault
def test_the_state_survives_a_killed_node(home: Path) -> None:
    node = start(config(home))
    settled(node, transfer(node, 9))
    moment = time.time()
    wait_until(lambda: saved_since(home, moment))

    os.kill(node.pid, signal.SIGKILL)
    wait_until(lambda: not status(home).running)
    again = start(config(home))

    assert balance(again) == 9
    assert again.pid != node.pid


@pytest.mark.fault
def test_the_state_survives_a_killed_keeper_and_the_node_dies_with_it(home: Path) -> None:
    node = start(config(home))
    settled(node, transfer(node, 9))
    moment = time.time()
    wait_until(lambda: saved_since(home, moment))

    assert node.keeper.send(signal.SIGKILL)
    if sys.platform == "linux":
        wait_until(lambda: not status(home).running)
        assert not node.anvil.alive()
    else:
        stop(home)

    assert balance(start(config(home))) == 9


@pytest.mark.fault
@pytest.mark.parametrize("mining", [Mining.INTERVAL, Mining.INSTANT])
def test_a_node_killed_under_load_comes_back_with_accounts_that_match_its_blocks(
    home: Path, mining: Mining
) -> None:
    node = start(config(home, mining, block_time_s=0.05, snapshot_interval_s=0.05))
    over = threading.Event()

    def load() -> None:
        with contextlib.suppress(Exception):
            while not over.is_set():
                transfer(node, 1)

    sender = threading.Thread(target=load)
    sender.start()
    try:
        wait_until(lambda: balance(node) > 30)
        moment = time.time()
        wait_until(lambda: saved_since(home, moment))
        os.kill(node.pid, signal.SIGKILL)
    finally:
        over.set()
        sender.join()
    wait_until(lambda: not status(home).running)
    again = start(config(home, Mining.MANUAL))

    blocks = [block(again, number) for number in range(latest_block(again.url)[0] + 1)]
    mined = sum(len(found["transactions"]) for found in blocks)
    nonce = int(call(again.url, "eth_getTransactionCount", ADMIN.address, "latest"), 16)
    assert all(child["parentHash"] == parent["hash"] for parent, child in itertools.pairwise(blocks))
    assert mined == balance(again) == nonce
    assert mined > 30


def test_a_second_node_on_the_same_state_is_refused(home: Path) -> None:
    node = start(config(home))

    with pytest.raises(DevnetRunning, match=node.url):
        start(config(home))

    assert status(home).node == node
    assert latest_block(node.url)[0] >= 0


def test_two_nodes_started_at_once_on_one_state_leave_one(home: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from fenzhang.devnet import DevnetConfig, DevnetRunning, start\n"
        "try: start(DevnetConfig(home=Path(sys.argv[1]), port=0))\n"
        "except DevnetRunning: sys.exit(9)"
    )
    racers = [subprocess.Popen([sys.executable, "-c", code, str(home)]) for _ in range(3)]

    codes = sorted(racer.wait(30) for racer in racers)

    assert codes == [0, 9, 9]
    assert status(home).running


def test_free_ports_differ_and_a_taken_port_is_refused(home: Path, tmp_path: Path) -> None:
    node = start(config(home))
    with ephemeral_node() as other:
        assert other.port != node.port

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=str(port)):
            start(config(tmp_path / "second", port=port))
    assert not status(tmp_path / "second").running


def test_a_state_of_another_chain_is_refused(home: Path) -> None:
    start(config(home, chain_id=5))
    stop(home)

    with pytest.raises(WrongChain, match="chain 5, not 20261"):
        start(config(home))

    assert not status(home).running


def test_a_damaged_state_is_named_and_a_reset_cures_it(home: Path) -> None:
    start(config(home))
    stop(home)
    file = home / "devnet" / "state.json.gz"
    file.write_bytes(file.read_bytes()[:-20])

    with pytest.raises(StateUnreadable, match=r"state\.json\.gz"):
        start(config(home))

    assert not status(home).running
    assert reset(home)
    assert latest_block(start(config(home)).url)[0] <= 1


def test_a_node_that_ends_at_once_is_reported_with_what_it_said(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = home / "anvil"
    broken.write_text("#!/bin/sh\necho 'no such luck' >&2\nexit 7\n")
    broken.chmod(0o755)
    monkeypatch.setenv("FENZHANG_ANVIL", str(broken))

    with pytest.raises(StartFailed, match="no such luck"):
        start(config(home))

    assert not status(home).running


def test_instant_mode_mines_each_transaction_at_once() -> None:
    with ephemeral_node() as node:
        assert node.mining is Mining.INSTANT
        for expected in (1, 2, 3):
            assert settled(node, transfer(node, 1)) == expected


def test_manual_mode_mines_when_told() -> None:
    with ephemeral_node(automine=False) as node:
        first, second = transfer(node, 1), transfer(node, 1)
        assert latest_block(node.url)[0] == 0
        call(node.url, "evm_mine")
        assert settled(node, first) == settled(node, second) == 1


def test_a_reorganisation_of_some_blocks_is_possible() -> None:
    with ephemeral_node(automine=False) as node:
        for _ in range(12):
            call(node.url, "evm_mine")
        transfer(node, 1)
        for _ in range(6):
            call(node.url, "evm_mine")
        before = latest_block(node.url)
        assert balance(node) == 1

        call(node.url, "anvil_reorg", 8, [])

        after = latest_block(node.url)
        assert after[0] == before[0]
        assert after[1] != before[1]
        assert balance(node) == 0


def test_an_ephemeral_node_leaves_nothing_behind() -> None:
    with ephemeral_node(block_time=0.2) as node:
        assert node.home.exists()
    assert not node.home.exists()
    assert not node.anvil.alive()
    assert not node.keeper.alive()


@pytest.mark.fault
def test_a_child_node_does_not_outlive_its_parent(home: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from fenzhang.devnet import DevnetConfig, child_node\n"
        "with child_node(DevnetConfig(home=Path(sys.argv[1]), port=0, snapshot_interval_s=3600.0)) as node:\n"
        "    print(node.url, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(home)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline().startswith("http://")
        node = status(home).node
        assert node is not None
        number = settled(node, transfer(node, 3))
        parent.kill()
    wait_until(lambda: not status(home).running)

    with child_node(config(home)) as again:
        assert balance(again) == 3
        assert latest_block(again.url)[0] >= number


def test_the_runtime_file_is_what_status_shows(home: Path) -> None:
    node = start(config(home))

    written = json.loads((home / "devnet" / "node.json").read_text())

    assert written["url"] == node.url
    assert RunningNode.from_json(json.dumps(written)) == node
    stop(home)
    assert not (home / "devnet" / "node.json").exists()
