"""Start, stop, look at and reset the devnet of a home folder."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from fenzhang.devnet.binary import find_anvil
from fenzhang.devnet.config import CHAIN_ID, HISTORY_BLOCKS, DevnetConfig, Mining, default_home
from fenzhang.devnet.errors import (
    AnvilMissing,
    DevnetError,
    NodeUnreachable,
    PortTaken,
    StartFailed,
    StateUnreadable,
    StopFailed,
    WrongChain,
)
from fenzhang.devnet.processes import port_is_free
from fenzhang.devnet.rpc import latest_block
from fenzhang.devnet.spec import Spec
from fenzhang.devnet.statedir import RunningNode, StateDirectory

_STOP_TIMEOUT_S = 60.0
_POLL_S = 0.02


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DevnetStatus:
    """What is known about the devnet of a home folder."""

    running: bool
    """A node holds the state's lock."""
    node: RunningNode | None
    """The running node; None if none runs, or if it is just starting or stopping."""
    block: int | None
    """Number of the newest block, None if the node does not answer."""
    snapshot_bytes: int | None
    """Size of the snapshot on disk, None if there is none."""
    snapshot_age_s: float | None
    """Seconds since it was written."""


def start(config: DevnetConfig | None = None) -> RunningNode:
    """Start a node that outlives this process, on the state that is there.

    Args:
        config: how; the defaults of `DevnetConfig` if not given.

    Raises:
        AnvilMissing, AnvilNotExecutable: no binary.
        DevnetRunning: a node already runs on this state.
        PortTaken: something else listens on the port.
        WrongChain, StateUnreadable: the stored state cannot be continued.
        StartFailed: the node ended or gave no answer in time.
    """
    node, _ = _launch(config or DevnetConfig(), parent=None)
    return node


@contextlib.contextmanager
def child_node(config: DevnetConfig | None = None) -> Iterator[RunningNode]:
    """A node that ends with the block, or with this process however it ends. Errors as `start`."""
    node, process = _launch(config or DevnetConfig(), parent=os.getpid())
    try:
        yield node
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def ephemeral_node(
    block_time: float | None = None,
    *,
    automine: bool = True,
    chain_id: int = CHAIN_ID,
    history_blocks: int = HISTORY_BLOCKS,
) -> Iterator[RunningNode]:
    """A fresh chain on a free port that leaves nothing behind: what a test wants. Errors as `start`.

    Args:
        block_time: seconds between blocks; None makes blocks by transaction or by hand.
        automine: without a block time, a block for every transaction; False leaves it to `evm_mine`.
        chain_id: another id than the devnet's, for tests of what must be refused.
        history_blocks: how many states it keeps; those of blocks that a snapshot took back count as well.
    """
    mining = Mining.INTERVAL if block_time is not None else Mining.INSTANT if automine else Mining.MANUAL
    with tempfile.TemporaryDirectory(prefix="fenzhang-node-") as home:
        config = DevnetConfig(
            home=Path(home),
            port=0,
            mining=mining,
            block_time_s=block_time or 1.0,
            chain_id=chain_id,
            history_blocks=history_blocks,
            persist=False,
        )
        with child_node(config) as node:
            yield node


def stop(home: Path | None = None, *, timeout_s: float = _STOP_TIMEOUT_S) -> bool:
    """End the node of a home folder after its last snapshot.

    Args:
        home: the folder; `default_home()` if not given.
        timeout_s: seconds it may take.

    Returns:
        Whether there was one.

    Raises:
        StopFailed: it still runs after `timeout_s`.
    """
    directory = StateDirectory(home or default_home())
    was_running = directory.locked()
    deadline = time.monotonic() + timeout_s
    asked: RunningNode | None = None
    while directory.locked():
        node = directory.read_node()
        if node is not None and node != asked:
            # Without its keeper (killed, and no Linux to take anvil along) anvil itself is told.
            asked = node if node.keeper.send(signal.SIGTERM) or node.anvil.send(signal.SIGTERM) else None
        if time.monotonic() > deadline:
            raise StopFailed(directory.home, timeout_s)
        time.sleep(_POLL_S)
    return was_running


def status(home: Path | None = None) -> DevnetStatus:
    """Look at the devnet of a home folder without changing anything."""
    directory = StateDirectory(home or default_home())
    running = directory.locked()
    node = directory.read_node() if running else None
    if node is not None and not node.anvil.alive():
        node = None
    block: int | None = None
    if node is not None:
        with contextlib.suppress(NodeUnreachable):
            block = latest_block(node.url)[0]
    try:
        stat = directory.snapshot.stat()
    except FileNotFoundError:
        return DevnetStatus(running=running, node=node, block=block, snapshot_bytes=None, snapshot_age_s=None)
    return DevnetStatus(
        running=running,
        node=node,
        block=block,
        snapshot_bytes=stat.st_size,
        snapshot_age_s=max(0.0, time.time() - stat.st_mtime),
    )


def reset(home: Path | None = None) -> bool:
    """Stop the node of a home folder if one runs, and delete its chain.

    Returns:
        Whether there was anything to delete or stop.

    Raises:
        StopFailed: the node does not stop.
        DevnetRunning: somebody started another one in between.
    """
    directory = StateDirectory(home or default_home())
    if not directory.path.is_dir():
        return False
    stop(directory.home)
    descriptor = directory.acquire()
    try:
        directory.clear()
    finally:
        os.close(descriptor)
    return True


def _launch(config: DevnetConfig, *, parent: int | None) -> tuple[RunningNode, subprocess.Popen[bytes]]:
    """Start a keeper and wait for its one answer."""
    config = dataclasses.replace(config, home=config.home.absolute())
    binary = find_anvil()
    directory = StateDirectory(config.home)
    lock = directory.acquire()
    try:
        directory.claim_chain(config.chain_id)
        directory.forget_node()
        if config.port and not port_is_free(config.host, config.port):
            raise PortTaken(config.host, config.port)
        reader, writer = os.pipe()
        with os.fdopen(reader, "rb", buffering=0) as answer:
            try:
                spec = Spec(config=config, binary=binary, lock=lock, answer=writer, parent=parent)
                process = _spawn_keeper(spec, directory)
            finally:
                os.close(writer)
            try:
                _await_answer(answer.fileno(), config, directory)
            except BaseException:
                process.kill()
                process.wait()
                raise
    finally:
        os.close(lock)
    if parent is None:
        process.wait()
    node = directory.read_node()
    if node is None:
        process.kill()
        process.wait()
        raise StartFailed("the node ended at once", directory.log)
    return node, process


def _spawn_keeper(spec: Spec, directory: StateDirectory) -> subprocess.Popen[bytes]:
    with directory.log.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "fenzhang.devnet.keeper", spec.dumps()],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(spec.lock, spec.answer),
            cwd=directory.path,
            start_new_session=True,
        )


def _await_answer(descriptor: int, config: DevnetConfig, directory: StateDirectory) -> None:
    """Read the keeper's line and turn a refusal into the error it names."""
    line = b""
    deadline = time.monotonic() + config.start_timeout_s + 10.0
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise StartFailed("the keeper gave no answer", directory.log)
        piece = os.read(descriptor, 65_536)
        if not piece:
            raise StartFailed("the keeper ended without an answer", directory.log)
        line += piece
    answer = json.loads(line)
    if not answer["ok"]:
        while os.read(descriptor, 65_536):
            pass  # until the keeper has ended, and with it its hold on the state
        raise _error(answer["code"], answer["message"])


def _error(code: str, message: str) -> DevnetError:
    """The keeper's error, with its class and message, without its own constructor."""
    kinds: tuple[type[DevnetError], ...] = (StartFailed, StateUnreadable, WrongChain, PortTaken, AnvilMissing)
    kind = next((kind for kind in kinds if kind.code == code), StartFailed)
    error = kind.__new__(kind)
    DevnetError.__init__(error, message)
    return error
