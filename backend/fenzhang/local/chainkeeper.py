"""The supervisor's chain: started as its child, started again on the same port when it dies."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from fenzhang.devnet import (
    DevnetConfig,
    DevnetError,
    DevnetRunning,
    RunningNode,
    StartFailed,
    child_node,
    status,
)
from fenzhang.devnet.processes import ProcessId
from fenzhang.local.children import Backoff


@dataclass(slots=True)
class ChainKeeper:
    """Runs the devnet of a home folder, or uses the one that runs there already and then leaves it running."""

    config: DevnetConfig
    _node: RunningNode | None = None
    _own: bool = True
    _stack: ExitStack = field(default_factory=ExitStack)
    _backoff: Backoff = field(default_factory=Backoff)
    _due: float | None = None

    @property
    def node(self) -> RunningNode:
        """The node that was started last. Raises StartFailed before the first one."""
        if self._node is None:
            raise StartFailed("it was not started")
        return self._node

    @property
    def identity(self) -> ProcessId | None:
        """The process whose end ends the node, None for a node that is somebody else's."""
        return self._node.keeper if self._own and self._node is not None else None

    def start(self) -> RunningNode:
        """Start the node, or find the one that runs. Raises DevnetError."""
        try:
            self._node = self._stack.enter_context(child_node(self.config))
        except DevnetRunning:
            running = status(self.config.home).node
            # A node that was the supervisor's own and died may hold its lock for another moment.
            if running is None or self._node is not None:
                raise
            self._node, self._own = running, False
        # What follows knows the node by this address, so a later one gets the same port.
        self.config = replace(self.config, port=self._node.port)
        self._backoff.started()
        self._due = None
        return self._node

    def look_after(self, say: Callable[[str], None]) -> bool:
        """Start the node again if it died and its backoff is over. Returns whether another one runs now."""
        if not self._own or self._node is None or self._node.anvil.alive():
            return False
        if self._due is None:
            pause_s = self._backoff.next_s()
            self._due = time.monotonic() + pause_s
            say(f"the node ended, see {self._node.log}; it is started again")
        if time.monotonic() < self._due:
            return False
        self._stack.close()
        try:
            self.start()
        except DevnetError as error:
            say(f"the node does not start: {error.message}")
            self._due = time.monotonic() + max(self._backoff.next_s(), 0.5)
            return False
        return True

    def end(self) -> None:
        """Stop the node after a last snapshot, if it is the supervisor's own."""
        self._stack.close()

    def kill(self) -> None:
        """End the node at once."""
        if self._own and self._node is not None:
            self._node.keeper.send(signal.SIGKILL)
            self._node.anvil.send(signal.SIGKILL)
