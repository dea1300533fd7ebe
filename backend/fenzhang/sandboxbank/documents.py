"""The sandbox bank's statements and notifications, with the faults that are in force. Balances always add up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from itertools import groupby

from fenzhang.clearing.model import LinePart, LineStatus, Notification, Statement, StatementLine
from fenzhang.sandboxbank.books import Account, Books, Movement
from fenzhang.sandboxbank.faults import Faults


def statements(books: Books, account: Account, since: date, now: float) -> list[Statement]:
    """One for each day with movements from `since` on, today's as far as it has come."""
    faults = books.faults()
    seen_until = now - faults.delay_statements_s
    today = datetime.fromtimestamp(now, UTC)
    moved = books.movements(account.id, since, today.date(), seen_until)
    found: list[Statement] = []
    opening = books.balance(account.id, before=since)
    for day, of_day in groupby(moved, lambda movement: movement.booked_on):
        movements = list(of_day)
        closing = opening + sum(movement.amount for movement in movements)
        found.append(
            Statement(
                statement_id=f"S-{day:%Y%m%d}-{movements[-1].number}",
                created_at=today.replace(microsecond=0),
                account=account.number,
                currency=account.currency,
                first_day=day,
                last_day=day,
                opening=opening,
                closing=closing,
                lines=tuple(_lines(movements, faults)),
            )
        )
        opening = closing
    return found


def notifications(books: Books, account: Account, since: date, now: float) -> list[Notification]:
    """One for each movement from `since` on; two when lines are duplicated."""
    faults = books.faults()
    today = datetime.fromtimestamp(now, UTC)
    moved = books.movements(account.id, since, today.date(), now - faults.delay_statements_s)
    once = faults.model_copy(update={"duplicate_lines": False, "merge_lines": False, "split_lines": False})
    told = [
        Notification(
            notification_id=f"N-{movement.number}",
            created_at=today.replace(microsecond=0),
            account=account.number,
            currency=account.currency,
            lines=tuple(_lines([movement], once)),
        )
        for movement in moved
    ]
    return [each for each in told for _ in range(1 + faults.duplicate_lines)]


def _lines(movements: Sequence[Movement], faults: Faults) -> Iterable[StatementLine]:
    merged: dict[str, list[Movement]] = {}
    for movement in movements:
        is_payout = movement.end_to_end_id is not None and movement.reason is None and movement.amount < 0
        if is_payout and faults.merge_lines:
            merged.setdefault(movement.message_id or "", []).append(movement)
        elif is_payout and faults.split_lines and movement.amount < -1:
            half = movement.amount // 2
            yield from _shown([movement], [half], f"{movement.reference}-1", faults)
            yield from _shown([movement], [movement.amount - half], f"{movement.reference}-2", faults)
        else:
            yield from _shown([movement], [movement.amount], movement.reference, faults)
    for message_id, group in merged.items():
        amounts = [movement.amount for movement in group]
        yield from _shown(group, amounts, group[0].reference, faults, message_id or None)


def _shown(
    movements: Sequence[Movement],
    amounts: Sequence[int],
    reference: str,
    faults: Faults,
    message_id: str | None = None,
) -> Iterable[StatementLine]:
    parts = tuple(
        LinePart(amount, None if faults.drop_references else movement.end_to_end_id, movement.reason)
        for movement, amount in zip(movements, amounts, strict=True)
    )
    day = movements[0].booked_on
    if faults.drop_details:
        parts = ()
    booked = LineStatus.BOOKED
    line = StatementLine(sum(amounts), booked, day, reference, parts, message_id=message_id)
    yield line
    if faults.duplicate_lines and movements[0].end_to_end_id is not None:
        yield line
        taken_back = tuple(LinePart(-part.amount, part.end_to_end_id) for part in parts)
        yield StatementLine(
            -line.amount, booked, day, reference, taken_back, reversal=True, message_id=message_id
        )
