"""The tables of reconciliation: what banks' statements say, and the breaks between what should agree.

Lines and their matches follow from the statements and may be made anew. Breaks live on, and what happened to one stays.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from fenzhang.store.cycletables import Sum
from fenzhang.store.partial import partial_index
from fenzhang.store.tables import Base, Serial


class Comparison(StrEnum):
    """Which two sides are compared."""

    INSTRUCTIONS = "INSTRUCTIONS"
    """What platforms asked for, with the records of the ledger."""
    CHAIN = "CHAIN"
    """The ledger with the chain."""
    BANK = "BANK"
    """The ledger's payouts with the bank's statements."""


class BreakState(StrEnum):
    """Where a break stands."""

    OPEN = "OPEN"
    EXPLAINED = "EXPLAINED"
    """Somebody said what it is; it is still there."""
    RESOLVED = "RESOLVED"
    """It is gone, or nothing more is to be done about it. Terminal."""


class Owner(StrEnum):
    """Who has to look at a break."""

    PLATFORM = "platform"
    BANK = "clearing bank"
    OPERATOR = "operator"


class BreakEventKind(StrEnum):
    """What happened to a break."""

    OPENED = "OPENED"
    CHANGED = "CHANGED"
    """Its amount became another one."""
    EXPLAINED = "EXPLAINED"
    RESOLVED = "RESOLVED"


class MatchedBy(StrEnum):
    """Why a line of a statement needs no explaining."""

    REFERENCE = "REFERENCE"
    """It names the end-to-end id."""
    AMOUNT = "AMOUNT"
    """It names none; amount, currency, day and file leave no choice."""
    FILE = "FILE"
    """It is the sum of payouts of one file."""
    REVERSAL = "REVERSAL"
    """It and another one take each other back."""
    FUNDING = "FUNDING"
    """Money that came in without any reference: captures, compared in total."""


class CustodyAccount(Base):
    """An account of this system at a bank that there are statements of. Its number is encrypted."""

    __tablename__ = "custody_accounts"
    __table_args__ = (Index("ix_custody_accounts_bank_currency", "bank", "currency"),)
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    bank: Mapped[str] = mapped_column(String(64))
    currency: Mapped[str] = mapped_column(String(3))
    sealed: Mapped[bytes]
    """Scheme and number."""


class BankStatement(Base):
    """A statement of an account, in its newest edition."""

    __tablename__ = "bank_statements"
    __table_args__ = (Index("ix_bank_statements_account_id_first_day", "account_id", "first_day"),)
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("custody_accounts.id"))
    statement_id: Mapped[str] = mapped_column(String(35))
    """The bank's own name for this edition."""
    created_at: Mapped[int]
    """By the bank."""
    first_day: Mapped[str] = mapped_column(String(10))
    last_day: Mapped[str] = mapped_column(String(10))
    opening: Mapped[int]
    closing: Mapped[int]
    digest: Mapped[bytes]
    """SHA-256 of balances and lines: the same again changes nothing."""


class StatementLineRow(Base):
    """A booked line of a statement, or a payment in one. Once, however many documents repeat it."""

    __tablename__ = "statement_lines"
    __table_args__ = (
        UniqueConstraint("statement_id", "key", "occurrence"),
        partial_index("ix_statement_lines_open", "id", where="shown AND matched_by IS NULL"),
    )
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    statement_id: Mapped[int] = mapped_column(ForeignKey("bank_statements.id"))
    key: Mapped[bytes]
    """SHA-256 of what the line says; alike ones are numbered by `occurrence`."""
    occurrence: Mapped[int]
    booked_on: Mapped[str] = mapped_column(String(10))
    amount: Mapped[int]
    """Below zero is money out."""
    end_to_end_id: Mapped[str | None] = mapped_column(String(35), index=True)
    reference: Mapped[str | None] = mapped_column(String(35), index=True)
    message_id: Mapped[str | None] = mapped_column(String(35))
    reason: Mapped[str | None] = mapped_column(String(35))
    reversal: Mapped[bool]
    is_part: Mapped[bool]
    """Whether it is one payment; else the bank does not say what it is made of."""
    shown: Mapped[bool]
    """Whether the newest edition still has it."""
    matched_by: Mapped[str | None] = mapped_column(String(16))
    break_id: Mapped[int | None] = mapped_column(ForeignKey("breaks.id"), index=True)


class StatementMatch(Base):
    """What a line has to do with a payout. The amounts of a line's matches add up to the line."""

    __tablename__ = "statement_matches"
    line_id: Mapped[int] = mapped_column(ForeignKey("statement_lines.id"), primary_key=True)
    end_to_end_id: Mapped[str] = mapped_column(
        ForeignKey("bank_payments.end_to_end_id"), primary_key=True, index=True
    )
    amount: Mapped[int]


class ReconciliationRun(Base):
    """A run that saw something change, or that was one at close."""

    __tablename__ = "reconciliation_runs"
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    comparison: Mapped[str] = mapped_column(String(16), index=True)
    at_close: Mapped[bool]
    at: Mapped[int]
    looked_at: Mapped[int]
    """Instructions, accounts or lines."""
    matched: Mapped[int]
    opened: Mapped[int]
    resolved: Mapped[int]


class ReconciliationCheckpoint(Base):
    """How far a comparison has come: what lies behind was looked at."""

    __tablename__ = "reconciliation_checkpoints"
    comparison: Mapped[str] = mapped_column(String(16), primary_key=True)
    position: Mapped[int]
    at: Mapped[int]


class Break(Base):
    """Something on which two sides do not agree."""

    __tablename__ = "breaks"
    __table_args__ = (
        partial_index("ix_breaks_present", "key", where="present", unique=True),
        Index("ix_breaks_comparison_state", "comparison", "state"),
    )
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    key: Mapped[bytes] = mapped_column(index=True)
    """SHA-256 of comparison, kind, subject and currency: the same break has the same one in each run."""
    comparison: Mapped[str] = mapped_column(String(16))
    kind: Mapped[str] = mapped_column(String(32))
    subject: Mapped[str] = mapped_column(String(200))
    currency: Mapped[str | None] = mapped_column(String(3))
    amount: Mapped[int | None] = mapped_column(Sum)
    details: Mapped[dict[str, Any]]
    """What either side says; never an account or a name."""
    owner: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16))
    present: Mapped[bool]
    """Whether the last run that looked still saw it. What a person resolved may be there for ever."""
    first_seen: Mapped[int]
    last_seen: Mapped[int]
    explanation: Mapped[str | None] = mapped_column(String(1000))
    explained_by: Mapped[str | None] = mapped_column(String(100))
    previous_id: Mapped[int | None] = mapped_column(ForeignKey("breaks.id"))
    """The break that was resolved and came back as this one."""


class BreakEvent(Base):
    """What happened to a break. Never changed, never deleted."""

    __tablename__ = "break_events"
    __table_args__ = (UniqueConstraint("who", "reference"),)
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    break_id: Mapped[int] = mapped_column(ForeignKey("breaks.id"), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    at: Mapped[int]
    who: Mapped[str] = mapped_column(String(100))
    """The app or person; `run` for what a run saw, `settings` for what the settings explain."""
    run_id: Mapped[int | None] = mapped_column(ForeignKey("reconciliation_runs.id"))
    note: Mapped[str | None] = mapped_column(String(1000))
    amount: Mapped[int | None] = mapped_column(Sum)
    """Of the break from then on."""
    reference: Mapped[str | None] = mapped_column(String(64))
    """The writer's own key, so that the same write again is known."""


class CorrectionTarget(StrEnum):
    """What a correction refers to."""

    POSTING = "posting"
    RECORD = "record"
    PAYOUT = "payout"
    BREAK = "break"


class Correction(Base):
    """What makes up for a break: something that exists, of the same amount. Never changed, never deleted."""

    __tablename__ = "corrections"
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    break_id: Mapped[int] = mapped_column(ForeignKey("breaks.id"), index=True)
    event_id: Mapped[int] = mapped_column(ForeignKey("break_events.id"))
    target: Mapped[str] = mapped_column(String(16))
    target_id: Mapped[str] = mapped_column(String(70))
    """Number of a posting, record or break; end-to-end id of a payout."""
    currency: Mapped[str | None] = mapped_column(String(3))
    amount: Mapped[int | None] = mapped_column(Sum)
