"""Conditions' rows as what the specification decides by."""

from __future__ import annotations

from fenzhang.domain.conditions import Condition
from fenzhang.domain.records import NOTHING, InstructionKind
from fenzhang.store import tables

Key = tuple[bytes, bytes]
"""Platform and condition id."""
WAITING_TYPES = frozenset(kind.name for kind in InstructionKind if kind.needs_condition)
"""Types of instructions that wait for the condition of their order."""


def condition_of(row: tables.Condition) -> Condition:
    """A condition as the mirror has it."""
    confirmer = row.confirmer or NOTHING
    return Condition(row.needed, row.deadline, confirmer, row.count, row.confirmed)
