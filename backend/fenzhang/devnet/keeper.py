"""The process that keeps one anvil: its parent, its snapshots, its orderly end.

Anvil can save its state by itself (`--state`, `--state-interval`), but not in a way that survives a SIGKILL: it
truncates the file and writes it anew, and it reads blocks and accounts at different moments, so that a file written
under load holds accounts that are ahead of the blocks (measured: one dump in ten with 1 s blocks). The keeper takes the
state by `anvil_dumpState` between two blocks, and replaces the snapshot atomically.

It runs as `python -m fenzhang.devnet.keeper SPEC` with nothing but the standard library and is told by SPEC (JSON) what
to start. It answers once, with one JSON line on a pipe, that the node is ready or why it is not.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from fenzhang.devnet.config import anvil_arguments
from fenzhang.devnet.errors import DevnetError, NodeUnreachable, StartFailed, StateUnreadable, WrongChain
from fenzhang.devnet.processes import die_with_parent, free_port, identify
from fenzhang.devnet.rpc import call, latest_block
from fenzhang.devnet.spec import Spec
from fenzhang.devnet.statedir import RunningNode, StateDirectory

_TICK_S = 0.05
_PORT_ATTEMPTS = 5
_SNAPSHOT_ATTEMPTS = 20
_SNAPSHOT_SHARE = 9
"""Rest this many times the length of a snapshot before the next: a tenth of the time at most."""
_RPC_TIMEOUT_S = 60.0
_ANVIL_STOP_S = 10.0


class Keeper:
    """Starts anvil, keeps its snapshots and ends with it."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._directory = StateDirectory(spec.config.home)
        self._stopping = False
        self._saved: str | None = None  # hash of the newest block in the snapshot

    def run(self) -> int:
        """Until anvil ends, a signal comes or the parent is gone.

        Returns:
            The exit code: 0 after an orderly stop.

        Raises:
            DevnetError: the node did not start.
        """
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        anvil, node = self._start()
        try:
            self._directory.write_node(node)
            self._answer({"ok": True})
            os.close(self._spec.answer)
            self._watch(anvil, node)
            return self._finish(anvil, node)
        finally:
            if anvil.poll() is None:
                anvil.kill()
                anvil.wait()
            self._directory.forget_node()

    def fail(self, error: DevnetError) -> None:
        """Answer that there is no node, and why."""
        self._answer({"ok": False, "code": error.code, "message": str(error)})

    def _answer(self, answer: dict[str, object]) -> None:
        with contextlib.suppress(OSError):  # whoever asked may be gone; the node is still worth having
            os.write(self._spec.answer, json.dumps(answer).encode() + b"\n")

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _should_stop(self) -> bool:
        parent = self._spec.parent
        return self._stopping or (parent is not None and os.getppid() != parent)

    def _start(self) -> tuple[subprocess.Popen[bytes], RunningNode]:
        """Run anvil on the chosen port, or on a free one, and wait until it answers for the right chain."""
        config = self._spec.config
        with self._directory.unpacked_snapshot() as state:
            for attempt in range(_PORT_ATTEMPTS):
                port = config.port or free_port(config.host)
                offset = self._directory.log.stat().st_size
                anvil = self._spawn(port, state)
                node = self._node(anvil, port)
                try:
                    self._await_ready(anvil, node)
                except DevnetError:
                    anvil.kill()
                    anvil.wait()
                    said = self._log_since(offset)
                    if "in use" in said and not config.port and attempt + 1 < _PORT_ATTEMPTS:
                        continue  # somebody took the free port in between
                    if state is not None and "--load-state" in said:
                        raise StateUnreadable(self._directory.snapshot, said) from None
                    if said:
                        raise StartFailed(said, self._directory.log) from None
                    raise
                return anvil, node
        raise StartFailed("no free port stayed free")

    def _spawn(self, port: int, state: Path | None) -> subprocess.Popen[bytes]:
        cache = self._directory.path / "cache"
        arguments = anvil_arguments(self._spec.config, port=port, cache=cache, state=state)
        with self._directory.log.open("ab") as log:
            return subprocess.Popen(
                [str(self._spec.binary), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(self._spec.lock,),
                cwd=self._directory.path,
                preexec_fn=die_with_parent(),  # noqa: PLW1509 - this process has no threads
            )

    def _node(self, anvil: subprocess.Popen[bytes], port: int) -> RunningNode:
        config = self._spec.config
        shown = f"[{config.host}]" if ":" in config.host else config.host
        return RunningNode(
            url=f"http://{shown}:{port}",
            host=config.host,
            port=port,
            chain_id=config.chain_id,
            mining=config.mining,
            block_time_s=config.block_time_s,
            anvil=identify(anvil.pid),
            keeper=identify(os.getpid()),
            home=config.home,
            log=self._directory.log,
            persist=config.persist,
        )

    def _await_ready(self, anvil: subprocess.Popen[bytes], node: RunningNode) -> None:
        deadline = time.monotonic() + self._spec.config.start_timeout_s
        while True:
            if anvil.poll() is not None:
                raise StartFailed(f"anvil ended with code {anvil.returncode}", self._directory.log)
            if self._should_stop():
                raise StartFailed("stopped while starting", self._directory.log)
            try:
                found = int(call(node.url, "eth_chainId"), 16)
            except NodeUnreachable:
                if time.monotonic() > deadline:
                    waited_s = self._spec.config.start_timeout_s
                    raise StartFailed(f"no answer within {waited_s:g} s", self._directory.log) from None
                time.sleep(_TICK_S / 5)
                continue
            if found != node.chain_id:
                raise WrongChain(self._directory.path, expected=node.chain_id, found=found)
            if anvil.poll() is None:  # else it was another node's answer on that port
                return

    def _log_since(self, offset: int) -> str:
        with self._directory.log.open("rb") as log:
            log.seek(offset)
            return " ".join(log.read().decode(errors="replace").split())[:500]

    def _watch(self, anvil: subprocess.Popen[bytes], node: RunningNode) -> None:
        """Take snapshots until it is time to stop or anvil is gone."""
        due = time.monotonic()
        while not self._should_stop():
            with contextlib.suppress(subprocess.TimeoutExpired):
                anvil.wait(_TICK_S)
                return
            if node.persist and time.monotonic() >= due:
                began = time.monotonic()
                saved = self._save(node)
                took_s = time.monotonic() - began
                # One that failed is missed: the older the snapshot, the more a SIGKILL loses.
                rest_s = took_s * (_SNAPSHOT_SHARE if saved else 1)
                due = time.monotonic() + max(self._spec.config.snapshot_interval_s, rest_s)

    def _finish(self, anvil: subprocess.Popen[bytes], node: RunningNode) -> int:
        """The last snapshot, then anvil's end."""
        if anvil.poll() is not None:
            _say(f"anvil ended by itself with code {anvil.returncode}")
            return 1
        saved = True
        if node.persist:
            with contextlib.suppress(NodeUnreachable):
                call(
                    node.url, "evm_setIntervalMining", 0
                )  # also ends automine: no block after the last snapshot
            self._saved = None  # cheat methods change the state without a block
            saved = self._save(node)
        anvil.terminate()
        try:
            anvil.wait(_ANVIL_STOP_S)
        except subprocess.TimeoutExpired:
            anvil.kill()
            anvil.wait()
        return 0 if saved else 1

    def _save(self, node: RunningNode) -> bool:
        """Replace the snapshot if there is a new block; says whether the snapshot is up to date."""
        try:
            if latest_block(node.url)[1] == self._saved:
                return True
            automine = bool(call(node.url, "anvil_getAutomine"))
            if automine:
                call(node.url, "evm_setAutomine", False)  # noqa: FBT003 - positional by JSON-RPC
            try:
                taken = _dump_between_blocks(node.url)
            finally:
                if automine:
                    call(node.url, "evm_setAutomine", True)  # noqa: FBT003 - positional by JSON-RPC
            if taken is None:
                _say("no snapshot, blocks came faster than the state could be read")
                return False
            self._saved, state = taken
            self._directory.write_snapshot(state)
        except (NodeUnreachable, OSError) as error:
            _say(f"no snapshot: {error}")
            return False
        return True


def _dump_between_blocks(url: str) -> tuple[str, bytes] | None:
    """A state that belongs to its newest block: dumped while no block was made.

    Returns:
        Hash of that block and the gzipped JSON state, or None if blocks came too fast each time.

    Raises:
        NodeUnreachable: the node does not answer.
    """
    before = latest_block(url)[1]
    for _ in range(_SNAPSHOT_ATTEMPTS):
        state: Any = call(url, "anvil_dumpState", timeout_s=_RPC_TIMEOUT_S)
        after = latest_block(url)[1]
        if before == after:
            return after, bytes.fromhex(state.removeprefix("0x"))
        before = after
    return None


def _say(message: str) -> None:
    """One line for the log, which is where standard error goes."""
    sys.stderr.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} keeper: {message}\n")
    sys.stderr.flush()


def main() -> int:
    """Entry point of the process."""
    spec = Spec.loads(sys.argv[1])
    if spec.parent is None and os.fork():
        os._exit(0)  # the starter waits for this one; the keeper belongs to nobody
    if spec.parent is None:
        os.setsid()
    keeper = Keeper(spec)
    try:
        return keeper.run()
    except DevnetError as error:
        _say(f"{error}")
        keeper.fail(error)
        return 1


if __name__ == "__main__":
    sys.exit(main())
