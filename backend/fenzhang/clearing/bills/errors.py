"""Why there is no bill."""

from __future__ import annotations

from fenzhang.domain.errors import FenzhangError, InvalidInput


class InvalidBill(InvalidInput):
    """There is no such bill: it is a platform's, one of its merchants', or one of its participants'."""

    code = "invalid_bill"


class DayNotFinal(FenzhangError):
    """The day is not over on the chain, or so lately that a reorganisation could change it."""

    code = "day_not_final"


class BillDoesNotAddUp(FenzhangError):
    """The totals of a bill are not those of the ledger: something is wrong with the database. See reconcile."""

    code = "bill_does_not_add_up"
