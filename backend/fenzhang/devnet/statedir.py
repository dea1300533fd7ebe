"""The folder of one chain: its lock, its snapshot, what runs on it.

lock            locked by the keeper and by anvil as long as either lives; the only proof that a node runs
chain.json      which chain the snapshot belongs to (anvil's own state does not say)
state.json.gz   the last snapshot
node.json       pids and port of the running node; meaningful only while the lock is held
node.log        what keeper and anvil had to say
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import gzip
import json
import os
import shutil
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fenzhang.devnet.config import Mining
from fenzhang.devnet.errors import DevnetRunning, StateUnreadable, WrongChain
from fenzhang.devnet.processes import ProcessId

_LOCK_ATTEMPTS = 5  # somebody who only asks whether a node runs holds the lock for a moment

_FILES = (
    "chain.json",
    "state.json.gz",
    "state.json.gz.new",
    "state.json",
    "node.json",
    "node.json.new",
    "node.log",
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RunningNode:
    """A node that answered when it was started, or was found running."""

    url: str
    """JSON-RPC over HTTP. The WebSocket is at the same port."""
    host: str
    port: int
    chain_id: int
    mining: Mining
    block_time_s: float
    """Seconds between blocks; means nothing unless `mining` is INTERVAL."""
    anvil: ProcessId
    keeper: ProcessId
    """Parent of anvil: writes the snapshots, passes a stop on."""
    home: Path
    log: Path
    persist: bool

    @property
    def pid(self) -> int:
        """Process id of anvil itself."""
        return self.anvil.pid

    @property
    def ws_url(self) -> str:
        """JSON-RPC over WebSocket."""
        return "ws" + self.url.removeprefix("http")

    def to_json(self) -> dict[str, object]:
        """Plain values, as written to node.json and printed."""
        plain = dataclasses.asdict(self)
        plain |= {"anvil": list(self.anvil), "keeper": list(self.keeper)}
        plain |= {"home": str(self.home), "log": str(self.log)}
        return plain

    @classmethod
    def from_json(cls, text: str) -> RunningNode:
        """The reverse of `to_json`.

        Raises:
            ValueError, KeyError, TypeError: the text is something else.
        """
        plain = json.loads(text)
        plain |= {"anvil": ProcessId(*plain["anvil"]), "keeper": ProcessId(*plain["keeper"])}
        plain |= {"home": Path(plain["home"]), "log": Path(plain["log"]), "mining": Mining(plain["mining"])}
        return cls(**plain)


@dataclasses.dataclass(frozen=True, slots=True)
class StateDirectory:
    """`home/devnet` and the names in it."""

    home: Path

    @property
    def path(self) -> Path:
        """The folder itself."""
        return self.home / "devnet"

    @property
    def snapshot(self) -> Path:
        """Anvil's state as gzipped JSON."""
        return self.path / "state.json.gz"

    @property
    def log(self) -> Path:
        """Output of the keeper and of anvil."""
        return self.path / "node.log"

    @property
    def _node(self) -> Path:
        return self.path / "node.json"

    def acquire(self) -> int:
        """Lock the folder, making it if need be; the lock lasts until the last copy of the descriptor is closed.

        Returns:
            The descriptor, for the node to inherit.

        Raises:
            DevnetRunning: a node has it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        for _ in range(_LOCK_ATTEMPTS):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return descriptor
            time.sleep(0.02)
        os.close(descriptor)
        node = self.read_node()
        raise DevnetRunning(self.home, node.url if node else None)

    def locked(self) -> bool:
        """Whether a node runs on this state."""
        try:
            descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def claim_chain(self, chain_id: int) -> None:
        """Write down whose state this is, or check it against what is written.

        Raises:
            WrongChain: the state is another chain's.
            StateUnreadable: chain.json is not what this class writes.
        """
        file = self.path / "chain.json"
        try:
            found = json.loads(file.read_text())["chain_id"]
        except FileNotFoundError:
            _replace(file, json.dumps({"chain_id": chain_id}).encode() + b"\n")
            return
        except (ValueError, KeyError, TypeError) as error:
            raise StateUnreadable(file, str(error)) from error
        if found != chain_id:
            raise WrongChain(self.path, expected=chain_id, found=found)

    def write_snapshot(self, gzipped: bytes) -> None:
        """Replace the snapshot as a whole: after a crash there is the old one or the new one, never a piece."""
        _replace(self.snapshot, gzipped)

    @contextlib.contextmanager
    def unpacked_snapshot(self) -> Iterator[Path | None]:
        """The snapshot as the JSON file that anvil loads, gone again afterwards; None if there is no snapshot.

        Raises:
            StateUnreadable: the snapshot is damaged.
        """
        if not self.snapshot.exists():
            yield None
            return
        plain = self.path / "state.json"
        try:
            with gzip.open(self.snapshot) as packed:
                state = json.load(packed)
            _keep_first_genesis(state)
            with plain.open("w") as unpacked:
                json.dump(state, unpacked)
        except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError) as error:
            plain.unlink(missing_ok=True)
            raise StateUnreadable(self.snapshot, str(error)) from error
        try:
            yield plain
        finally:
            plain.unlink(missing_ok=True)

    def write_node(self, node: RunningNode) -> None:
        """Say what runs here."""
        _replace(self._node, json.dumps(node.to_json()).encode() + b"\n")

    def read_node(self) -> RunningNode | None:
        """What ran here last, None if nothing is written or it cannot be read."""
        try:
            return RunningNode.from_json(self._node.read_text())
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def forget_node(self) -> None:
        """Nothing runs here any more."""
        self._node.unlink(missing_ok=True)

    def clear(self) -> None:
        """Delete the chain. The caller holds the lock; the lock file stays, for whoever waits on it."""
        for name in _FILES:
            (self.path / name).unlink(missing_ok=True)
        shutil.rmtree(self.path / "cache", ignore_errors=True)


def _keep_first_genesis(state: dict[str, Any]) -> None:
    """Leave the chain's own block 0 in a state of anvil, which is the oldest.

    Each start makes a block 0 of its own before the state is loaded, and the next dump has both. A node that loads
    several takes any of them for its first block, so that the chain would look like another one.
    """
    genesis = [block for block in state["blocks"] if int(block["header"]["number"], 16) == 0]
    oldest = min((int(block["header"]["timestamp"], 16) for block in genesis), default=0)
    state["blocks"] = [
        block
        for block in state["blocks"]
        if int(block["header"]["number"], 16) or int(block["header"]["timestamp"], 16) == oldest
    ]


def _replace(path: Path, content: bytes) -> None:
    """Write a file so that a crash leaves the old or the new content on disk."""
    new = path.with_name(path.name + ".new")
    with new.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
