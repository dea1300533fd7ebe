"""How Python runs a process that stays: its garbage collector, and turns of its threads."""

from __future__ import annotations

import gc
import sys

_ALLOCATIONS = 10_000
"""Containers between two looks at the youngest. The default is 700, and one batch of rows makes ten thousands."""

_SWITCH_S = 0.002
"""After which a thread must let go of the interpreter. SQLite's thread needs it for microseconds, twenty times per
group of requests, and by default would wait 5 ms for it each time that the event loop is busy."""


def load_quickly() -> None:
    """Call it before anything large is imported, of which nothing is garbage: looking for some takes a seventh."""
    gc.set_threshold(_ALLOCATIONS, 10, 10)


def settle_in() -> None:
    """Call it when everything is loaded: that is not looked at again, and collections become rare.

    Reference counts free nearly everything here. By default the collector takes a fifth of the time of a loaded
    process, walking rows that are all in use.
    """
    gc.collect()
    gc.freeze()
    load_quickly()
    sys.setswitchinterval(_SWITCH_S)
