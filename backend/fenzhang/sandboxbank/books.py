"""The sandbox bank's books: double entry in a SQLite file that is nobody else's.

Every movement is a journal entry whose postings add up to zero, so the balances of a currency always do. Money comes
from outside through the bank's own account of that currency.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path
from threading import RLock
from typing import Final, Literal, NamedTuple

from fenzhang.clearing.model import (
    AccountNumber,
    AccountScheme,
    BankAccount,
    PayoutFile,
    PayoutOrder,
    PayoutState,
    PayoutStatus,
)
from fenzhang.domain.errors import InvalidInput
from fenzhang.sandboxbank.faults import Faults

AccountState = Literal["open", "closed", "returns"]
"""Payouts to a closed account fail; one that returns is paid, and the money comes back."""

NO_SUCH_ACCOUNT, CLOSED, OTHER_HOLDER, NO_COVER = "AC01", "AC04", "BE01", "AM04"
UNKNOWN_DEBTOR, WRONG_CURRENCY, SAME_MESSAGE_ID, SAME_END_TO_END_ID = "AC02", "AM03", "DU01", "DU04"
"""Reasons of ISO 20022's external code list."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS accounts (
    id TEXT PRIMARY KEY, scheme TEXT NOT NULL, number TEXT NOT NULL, holder TEXT NOT NULL, currency TEXT NOT NULL,
    customer TEXT NOT NULL, state TEXT NOT NULL,
    balance INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS messages (
    message_id TEXT PRIMARY KEY, sha256 BLOB NOT NULL, content BLOB NOT NULL, look_at REAL NOT NULL,
    refused TEXT, looked_at REAL);
CREATE TABLE IF NOT EXISTS payments (
    number INTEGER PRIMARY KEY, end_to_end_id TEXT NOT NULL UNIQUE, message_id TEXT NOT NULL, debtor TEXT NOT NULL,
    creditor TEXT NOT NULL, creditor_name TEXT NOT NULL, currency TEXT NOT NULL, amount INTEGER NOT NULL,
    state TEXT NOT NULL, reason TEXT, due_at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS payments_by_message ON payments (message_id);
CREATE INDEX IF NOT EXISTS payments_due ON payments (due_at) WHERE state = 'PENDING';
CREATE TABLE IF NOT EXISTS journal (
    number INTEGER PRIMARY KEY, booked_at REAL NOT NULL, booked_on TEXT NOT NULL, reference TEXT NOT NULL UNIQUE,
    message_id TEXT, end_to_end_id TEXT, reason TEXT);
CREATE TABLE IF NOT EXISTS postings (
    journal INTEGER NOT NULL REFERENCES journal, account TEXT NOT NULL REFERENCES accounts, amount INTEGER NOT NULL,
    PRIMARY KEY (account, journal)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS signed (
    end_to_end_id TEXT PRIMARY KEY, currency TEXT NOT NULL, amount INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS faults (id INTEGER PRIMARY KEY CHECK (id = 1), content TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The bank's answer to a file."""

    message_id: str
    refused: str | None = None
    """Reason code, None if it is taken."""


@dataclass(frozen=True, slots=True)
class Account:
    """An account of the bank."""

    id: str
    number: AccountNumber
    currency: str


@dataclass(frozen=True, slots=True)
class Movement:
    """A posting on an account, with what is known about it."""

    number: int
    booked_on: date
    amount: int
    reference: str
    message_id: str | None
    end_to_end_id: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class PaymentStory:
    """What the bank knows of a payout that it signed for, minor units."""

    signed_amount: int
    paid_amount: int | None
    """What left the debtor's account, None if nothing did."""
    came_back: bool
    failed: bool


class _Due(NamedTuple):
    """A payment to be made: columns of `payments`."""

    number: int
    end_to_end_id: str
    message_id: str
    debtor: str
    creditor: str
    creditor_name: str
    currency: str
    amount: int


class Books:
    """One SQLite file. `clock` gives Unix seconds. Safe to use from several threads of one process."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = RLock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    # ------------------------------------------------------------------------------------------ set-up

    def open_account(
        self, account: BankAccount, currency: str, *, customer: str = "", state: AccountState = "open"
    ) -> None:
        """Open an account, or change holder, customer and state of one; its currency stays. Raises InvalidInput."""
        with self._write() as sql:
            known = sql.execute(
                "SELECT currency FROM accounts WHERE id = ?", (_id(account.account),)
            ).fetchone()
            if known is not None and known[0] != currency:
                raise InvalidInput("currency", "the account has another one")
            sql.execute(
                "INSERT INTO accounts (id, scheme, number, holder, currency, customer, state)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
                " holder = excluded.holder, customer = excluded.customer, state = excluded.state",
                (
                    _id(account.account),
                    account.account.scheme,
                    account.account.number,
                    account.holder,
                    currency,
                    customer,
                    state,
                ),
            )

    def deposit(self, account: AccountNumber, amount: int, reference: str) -> None:
        """Money from outside, once per reference. Raises InvalidInput."""
        with self._write() as sql:
            if sql.execute("SELECT 1 FROM journal WHERE reference = ?", (reference,)).fetchone():
                return
            found = sql.execute("SELECT currency FROM accounts WHERE id = ?", (_id(account),)).fetchone()
            if found is None:
                raise InvalidInput("number", "no such account")
            outside = f"outside-{found[0]}"
            sql.execute(
                "INSERT OR IGNORE INTO accounts (id, scheme, number, holder, currency, customer, state)"
                " VALUES (?, 'OTHER', ?, 'outside', ?, '', 'open')",
                (outside, outside, found[0]),
            )
            self._book(outside, _id(account), amount, reference)

    def faults(self) -> Faults:
        """Those in force."""
        with self._lock:
            found = self._connection.execute("SELECT content FROM faults").fetchone()
        return Faults.model_validate_json(found[0]) if found else Faults()

    def set_faults(self, faults: Faults) -> None:
        """From now on."""
        with self._write() as sql:
            sql.execute("INSERT OR REPLACE INTO faults VALUES (1, ?)", (faults.model_dump_json(),))

    # ------------------------------------------------------------------------------------------ files

    def take(self, file: PayoutFile, content: bytes) -> Outcome:
        """Take a file, once: the same bytes get the same answer, other bytes with its message id are refused."""
        with self._write() as sql:
            digest = sha256(content).digest()
            known = sql.execute(
                "SELECT sha256, refused FROM messages WHERE message_id = ?", (file.message_id,)
            ).fetchone()
            if known is not None:
                return Outcome(file.message_id, known[1] if known[0] == digest else SAME_MESSAGE_ID)
            later = self._clock() + self.faults().take_after_s
            sql.execute(
                "INSERT INTO messages (message_id, sha256, content, look_at) VALUES (?, ?, ?, ?)",
                (file.message_id, digest, content, later),
            )
            if later > self._clock():
                return Outcome(file.message_id)
            return Outcome(file.message_id, self._look(file))

    def advance(self, read: Callable[[bytes], PayoutFile]) -> None:
        """Do what is due: look at files that were taken, pay what is to be paid. `read` reads a stored file."""
        with self._write() as sql:
            now = self._clock()
            waiting = sql.execute(
                "SELECT content FROM messages WHERE looked_at IS NULL AND look_at <= ? ORDER BY look_at",
                (now,),
            ).fetchall()
            for (content,) in waiting:
                file = read(content)
                refused = self._look(file)
                if (
                    refused is not None
                ):  # it was answered as taken, so this is the only place where that can be said
                    self._add_payments(file, "FAILED", refused, now)
            due = sql.execute(
                "SELECT number, end_to_end_id, message_id, debtor, creditor, creditor_name, currency, amount"
                " FROM payments WHERE state = 'PENDING' AND due_at <= ? ORDER BY number",
                (now,),
            ).fetchall()
            for payment in due:
                self._pay(_Due(*payment))

    def statuses(self, end_to_end_ids: Sequence[str]) -> dict[str, PayoutStatus]:
        """What the bank knows of payouts."""
        found = dict.fromkeys(end_to_end_ids, PayoutStatus(PayoutState.NOT_KNOWN))
        with self._lock:
            for each in found:
                row = self._connection.execute(
                    "SELECT state, reason FROM payments WHERE end_to_end_id = ?", (each,)
                ).fetchone()
                if row is not None:
                    found[each] = PayoutStatus(PayoutState(row[0]), row[1])
        return found

    def payouts_of(self, message_id: str) -> dict[str, PayoutStatus]:
        """Those of a file that was looked at and not refused."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT end_to_end_id, state, reason FROM payments WHERE message_id = ? ORDER BY number",
                (message_id,),
            ).fetchall()
        return {row[0]: PayoutStatus(PayoutState(row[1]), row[2]) for row in rows}

    def sign_for(self, payouts: Iterable[tuple[str, str, int]]) -> None:
        """Remember payouts (end-to-end id, currency, amount) of a cycle that is about to be signed."""
        with self._write() as sql:
            sql.executemany("INSERT OR IGNORE INTO signed VALUES (?, ?, ?)", payouts)

    def story_of(self, end_to_end_id: str) -> PaymentStory | None:
        """What became of a payout that was signed for; None if it was not."""
        with self._lock:
            row = self._connection.execute(
                "SELECT signed.amount, payments.amount, payments.currency = signed.currency, payments.state,"
                " (SELECT count(*) FROM journal WHERE end_to_end_id = signed.end_to_end_id AND reason IS NULL),"
                " (SELECT count(*) FROM journal WHERE end_to_end_id = signed.end_to_end_id"
                " AND reason IS NOT NULL)"
                " FROM signed LEFT JOIN payments USING (end_to_end_id) WHERE signed.end_to_end_id = ?",
                (end_to_end_id,),
            ).fetchone()
        if row is None:
            return None
        signed, amount, same_currency, state, paid, back = row
        # In another currency it is another amount, whatever the number.
        left = (amount if same_currency else -1) if paid else None
        return PaymentStory(signed, left, came_back=bool(back), failed=state == PayoutState.FAILED)

    def changes(self) -> int:
        """Grows with everything that is written."""
        with self._lock:
            return self._connection.total_changes

    def outcomes(self) -> list[Outcome]:
        """Of all files that were looked at, in the order in which they were."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT message_id, refused FROM messages WHERE looked_at IS NOT NULL ORDER BY looked_at"
            ).fetchall()
        return [Outcome(*row) for row in rows]

    # ------------------------------------------------------------------------------------------ reading

    def accounts_of(self, customer: str) -> list[Account]:
        """A customer's accounts."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT id, scheme, number, currency FROM accounts WHERE customer = ? AND customer <> '' ORDER BY id",
                (customer,),
            ).fetchall()
        return [Account(row[0], AccountNumber(AccountScheme(row[1]), row[2]), row[3]) for row in rows]

    def customers(self) -> list[str]:
        """All who have statements made."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT DISTINCT customer FROM accounts WHERE customer <> '' ORDER BY customer"
            ).fetchall()
        return [row[0] for row in rows]

    def balance(self, account: str, before: date | None = None) -> int:
        """Booked balance, of the end of all days before `before` if it is given."""
        with self._lock:
            [total] = self._connection.execute(
                "SELECT coalesce(sum(amount), 0) FROM postings JOIN journal ON number = journal"
                " WHERE account = ? AND (? IS NULL OR booked_on < ?)",
                (account, before and before.isoformat(), before and before.isoformat()),
            ).fetchone()
        return int(total)

    def movements(self, account: str, since: date, until: date, booked_before: float) -> list[Movement]:
        """Of the days from `since` to `until`, as far as they were booked before a moment."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT number, booked_on, amount, reference, message_id, end_to_end_id, reason FROM postings"
                " JOIN journal ON number = journal WHERE account = ? AND booked_on BETWEEN ? AND ?"
                " AND booked_at <= ? ORDER BY number",
                (account, since.isoformat(), until.isoformat(), booked_before),
            ).fetchall()
        return [Movement(row[0], date.fromisoformat(row[1]), *row[2:]) for row in rows]

    def totals(self) -> dict[str, int]:
        """Per currency the sum of all balances, which is zero."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT currency, sum(amount) FROM postings JOIN accounts ON id = account GROUP BY currency"
            ).fetchall()
        return dict(rows)

    def times_paid(self) -> dict[str, int]:
        """Per end-to-end id how often its debit was booked."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT end_to_end_id, count(*) FROM journal WHERE end_to_end_id IS NOT NULL AND reason IS NULL"
                " GROUP BY end_to_end_id"
            ).fetchall()
        return dict(rows)

    # ------------------------------------------------------------------------------------------ inside

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def _look(self, file: PayoutFile) -> str | None:
        """Refuse a file with a reason, or take its payouts."""
        sql = self._connection
        refused = self._refusal(file)
        sql.execute(
            "UPDATE messages SET refused = ?, looked_at = ? WHERE message_id = ?",
            (refused, self._clock(), file.message_id),
        )
        if refused is None:
            day = datetime.combine(file.execution_date, datetime.min.time(), UTC).timestamp()
            due_at = max(day, self._clock() + self.faults().pay_after_s)
            self._add_payments(file, "PENDING", None, due_at)
        return refused

    def _add_payments(self, file: PayoutFile, state: str, reason: str | None, due_at: float) -> None:
        """Those that are there already stay as they are."""
        self._connection.executemany(
            "INSERT OR IGNORE INTO payments (end_to_end_id, message_id, debtor, creditor, creditor_name, currency,"
            " amount, state, reason, due_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            ((*_payment(file, payout), state, reason, due_at) for payout in file.payouts),
        )

    def _refusal(self, file: PayoutFile) -> str | None:
        sql = self._connection
        debtor = sql.execute(
            "SELECT currency, customer FROM accounts WHERE id = ?", (_id(file.debtor.account),)
        ).fetchone()
        if debtor is None or not debtor[1]:
            return UNKNOWN_DEBTOR
        if debtor[0] != file.currency:
            return WRONG_CURRENCY
        known = "SELECT 1 FROM payments WHERE end_to_end_id = ?"
        if any(sql.execute(known, (payout.end_to_end_id,)).fetchone() for payout in file.payouts):
            return SAME_END_TO_END_ID
        return None

    def _pay(self, due: _Due) -> None:
        found = self._connection.execute(
            "SELECT holder, state FROM accounts WHERE id = ? AND currency = ?", (due.creditor, due.currency)
        ).fetchone()
        reason = None
        if found is None:
            reason = NO_SUCH_ACCOUNT
        elif found[1] == "closed":
            reason = CLOSED
        elif found[0] != due.creditor_name:
            reason = OTHER_HOLDER
        elif self._covers(due.debtor) < due.amount:
            reason = NO_COVER
        else:
            told = {"message_id": due.message_id, "end_to_end_id": due.end_to_end_id}
            self._book(due.debtor, due.creditor, due.amount, f"P{due.number}", **told)
            if found[1] == "returns":
                reason = CLOSED
                self._book(due.creditor, due.debtor, due.amount, f"R{due.number}", reason=reason, **told)
        self._connection.execute(
            "UPDATE payments SET state = ?, reason = ? WHERE number = ?",
            (PayoutState.FAILED if reason else PayoutState.PAID, reason, due.number),
        )

    def _book(
        self,
        debit: str,
        credit: str,
        amount: int,
        reference: str,
        *,
        message_id: str | None = None,
        end_to_end_id: str | None = None,
        reason: str | None = None,
    ) -> None:
        """Move money from one account to another."""
        now = self._clock()
        number = self._connection.execute(
            "INSERT INTO journal (booked_at, booked_on, reference, message_id, end_to_end_id, reason)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (
                now,
                datetime.fromtimestamp(now, UTC).date().isoformat(),
                reference,
                message_id,
                end_to_end_id,
                reason,
            ),
        ).lastrowid
        for account, change in ((debit, -amount), (credit, amount)):
            self._connection.execute("INSERT INTO postings VALUES (?, ?, ?)", (number, account, change))
            self._connection.execute(
                "UPDATE accounts SET balance = balance + ? WHERE id = ?", (change, account)
            )

    def _covers(self, account: str) -> int:
        """Its balance, kept beside the postings so that a long file need not add them up for each payout."""
        [balance] = self._connection.execute(
            "SELECT balance FROM accounts WHERE id = ?", (account,)
        ).fetchone()
        return int(balance)


def _id(account: AccountNumber) -> str:
    return f"{account.scheme}:{account.number}"


def _payment(file: PayoutFile, payout: PayoutOrder) -> tuple[object, ...]:
    return (
        payout.end_to_end_id,
        file.message_id,
        _id(file.debtor.account),
        _id(payout.creditor.account),
        payout.creditor.holder,
        file.currency,
        payout.amount,
    )
