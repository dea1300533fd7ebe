"""The tables of payouts: what is sent to banks, and where participants are paid. Nothing else refers to them."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from fenzhang.store.partial import partial_index
from fenzhang.store.tables import Base, Serial


class BankFileState(StrEnum):
    """Where a file for a bank stands."""

    PREPARED = "PREPARED"
    """Stored, and never sent."""
    UNKNOWN = "UNKNOWN"
    """Perhaps sent. The bank is asked for its payouts; it is sent again only when the bank knows none of them."""
    ACCEPTED = "ACCEPTED"
    """The bank has it. Terminal; what becomes of the payouts they say themselves."""
    REFUSED = "REFUSED"
    """The bank does not take it and knows none of its payouts. Terminal."""


class BankPaymentState(StrEnum):
    """Where a payout stands at the bank. `clearing.states` decides what follows what."""

    PREPARED = "PREPARED"
    """In a stored file that was never sent."""
    UNKNOWN = "UNKNOWN"
    """In a file that was perhaps sent."""
    SENT = "SENT"
    """The bank has it and has not decided."""
    PAID = "PAID"
    FAILED = "FAILED"
    """The bank did not pay it. Terminal, unless the bank says otherwise later: DISPUTED."""
    RETURNED = "RETURNED"
    """It was paid and the money came back. Terminal."""
    DISPUTED = "DISPUTED"
    """The bank said that it failed, and then that it was paid. Somebody has to look."""


class BankFile(Base):
    """A file of payouts, stored before it is sent. The same bytes are sent, however often."""

    __tablename__ = "bank_files"
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    message_id: Mapped[str] = mapped_column(String(35), unique=True)
    bank: Mapped[str] = mapped_column(String(64))
    format: Mapped[str] = mapped_column(String(16))
    currency: Mapped[str] = mapped_column(String(3))
    payouts: Mapped[int]
    """How many."""
    total: Mapped[int]
    content: Mapped[bytes]
    """Byte for byte, encrypted: it holds bank accounts."""
    sha256: Mapped[bytes]
    """Of the bytes that are sent."""
    state: Mapped[str] = mapped_column(String(16), index=True)
    reason: Mapped[str | None] = mapped_column(String(35))
    """Why the bank refused it; while it is UNKNOWN, at the last attempt."""
    attempts: Mapped[int] = mapped_column(default=0)
    attempted_at: Mapped[int | None]
    created_at: Mapped[int]


class BankPayment(Base):
    """A payout in a file. Its end-to-end id is never used for another one."""

    __tablename__ = "bank_payments"
    __table_args__ = (
        partial_index("ix_bank_payments_open", "file_id", where="state IN ('SENT', 'DISPUTED')"),
        partial_index("ix_bank_payments_returned", "end_to_end_id", where="state = 'RETURNED'"),
    )
    end_to_end_id: Mapped[str] = mapped_column(String(35), primary_key=True)
    file_id: Mapped[int] = mapped_column(ForeignKey("bank_files.id"), index=True)
    amount: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(String(35))
    changed_at: Mapped[int]


class BankAccountRow(Base):
    """Where a participant is paid in a currency, encrypted with a key that is not in the database."""

    __tablename__ = "bank_accounts"
    participant_id: Mapped[bytes] = mapped_column(primary_key=True)
    currency: Mapped[str] = mapped_column(String(3), primary_key=True)
    sealed: Mapped[bytes]
    changed_at: Mapped[int]
