"""What can be wrong with what is asked of a break."""

from __future__ import annotations

from fenzhang.domain.errors import FenzhangError, InvalidInput


class UnknownBreak(FenzhangError):
    """There is no break of this number."""

    code = "unknown_break"

    def __init__(self, number: int) -> None:
        super().__init__(f"there is no break {number}", break_id=number)


class BreakConflict(FenzhangError):
    """It does not go with what was said about a break before."""

    code = "break_conflict"


class BreakResolved(BreakConflict):
    """The break is resolved, and nothing more can be said about it."""

    code = "break_resolved"


class BreakNotExplained(BreakConflict):
    """A break is explained before a person resolves it."""

    code = "break_not_explained"


class InvalidCorrection(InvalidInput):
    """What is named as the correction does not exist, or does not make up for the break."""

    code = "invalid_correction"


class InvalidNote(InvalidInput):
    """A note has characters that are none, or space at an end."""

    code = "invalid_note"


class ReconciliationBusy(FenzhangError):
    """Another process compares the same. Trying again helps."""

    code = "reconciliation_busy"


class BreakReferenceTaken(BreakConflict):
    """The reference was used before, for something else."""

    code = "reference_conflict"
