"""`fenzhang serve all`: API and stages beside each other, each a process that is kept running."""

from __future__ import annotations

import signal
import sys
import threading

import typer

from fenzhang.health.endpoint import child_port
from fenzhang.local.children import Child
from fenzhang.local.supervisor import BANK_STAGES, STAGES
from fenzhang.settings import Settings


def stages() -> tuple[str, ...]:
    """In the order in which they are started; they end in the opposite one."""
    bank_stages = BANK_STAGES if Settings.from_environment().has_bank else ()
    return (*STAGES, *bank_stages, "api")


_LOOK_S = 0.1
_GRACE_S = 15.0


def serve_all() -> None:
    """Run them until SIGINT or SIGTERM; what crashes is started again."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    children = [
        Child(
            name,
            [sys.executable, "-m", "fenzhang", "serve", name],
            {"FENZHANG_METRICS_PORT": child_port(name)},
        )
        for name in stages()
    ]
    try:
        for child in children:
            child.start()
        while not stop.wait(_LOOK_S):
            for child in children:
                child.look_after(lambda line: typer.echo(line, err=True))
    finally:
        for child in reversed(children):
            child.end(_GRACE_S)
