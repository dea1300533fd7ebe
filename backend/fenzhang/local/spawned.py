"""A whole system as one child process (`fenzhang up`): what the demo and tests of other projects run."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from fenzhang.devnet.processes import die_with_parent
from fenzhang.local.children import last_lines
from fenzhang.local.home import Home
from fenzhang.local.supervisor import Endpoints, UpFailed, UpOptions

START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 90.0


@contextlib.contextmanager
def spawned_system(options: UpOptions) -> Iterator[Endpoints]:
    """Bring a system up in a child process, and end it with the block. Errors in coming up raise UpFailed.

    The child does not outlive this process, however it ends (on Linux; elsewhere the next run on the same home ends
    it).
    """
    home = Home(options.home.absolute())
    home.path.mkdir(parents=True, exist_ok=True)
    log = home.path / "up.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            _command(options, home.path),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            # The database of this system, and not one that the environment names for another.
            env={**os.environ, "FENZHANG_DATABASE_URL": options.database_url},
            # A Ctrl-C is for this process, which then ends the child in its own time.
            start_new_session=True,
            preexec_fn=die_with_parent(),  # noqa: PLW1509 -- called before this process has threads
        )
    try:
        yield _await_ready(process, log)
    finally:
        stop(process)


def _command(options: UpOptions, home: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "fenzhang", "up", "--json"),
        *("--home", str(home)),
        *("--port", str(options.port)),
        *("--node-port", str(options.node_port)),
        *("--block-time", f"{options.block_time_s:g}"),
        *(("--fresh",) if options.fresh else ()),
        *(() if options.snapshots else ("--no-snapshots",)),
    ]


def _await_ready(process: subprocess.Popen[bytes], log: Path) -> Endpoints:
    if process.stdout is None:
        raise UpFailed("its output is not connected")
    line = _read_line(process.stdout, time.monotonic() + START_TIMEOUT_S)
    if not line.endswith(b"\n"):
        said = last_lines(log).removeprefix("fenzhang: ")
        raise UpFailed(said or f"not ready within {START_TIMEOUT_S:g} s", log=str(log))
    found = json.loads(line)
    return Endpoints(
        api=found["api"],
        rpc=found["rpc"],
        deployment=Path(found["deployment"]),
        apps=Path(found["apps"]),
        home=Path(found["home"]),
    )


def _read_line(stream: IO[bytes], deadline: float) -> bytes:
    """What the child says until its first newline, its end, or the deadline."""
    line = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while not line.endswith(b"\n") and selector.select(max(0.0, deadline - time.monotonic())):
            piece = os.read(stream.fileno(), 65_536)
            if not piece:
                break
            line += piece
    return line


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a system in order; a second interruption meanwhile kills it."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_TIMEOUT_S)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.send_signal(signal.SIGTERM)  # the second one makes it kill its children
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5.0)
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
