"""How a process that stays runs: Python's garbage collector, turns of its threads, and memory of its C library."""

from __future__ import annotations

import ctypes
import gc
import sys

_ALLOCATIONS = 10_000
"""Containers between two looks at the youngest. The default is 700, and one batch of rows makes ten thousands."""

_SWITCH_S = 0.002
"""After which a thread must let go of the interpreter. SQLite's thread needs it for microseconds, twenty times per
group of requests, and by default would wait 5 ms for it each time that the event loop is busy."""

_M_ARENA_MAX = -8
"""Option of glibc's mallopt."""


def settle_in() -> None:
    """Call it when everything is loaded: that is not looked at again, and collections become rare.

    Reference counts free nearly everything here. By default the collector takes a fifth of the time of a loaded
    process, walking rows that are all in use.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS, 10, 10)
    sys.setswitchinterval(_SWITCH_S)
    _share_one_arena()


def _share_one_arena() -> None:
    """Let all threads allocate from one arena. glibc gives each its own, which keeps what was freed in it: 30 MB.

    Threads that work for the interpreter seldom want memory at the same moment.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return  # another C library
    mallopt(_M_ARENA_MAX, 1)
