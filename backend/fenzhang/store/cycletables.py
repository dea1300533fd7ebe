"""The tables of closing: what cycles were to pay, by whose signature, and what of it was reported to the chain.

What the chain says of cycles and payouts is in `clearingtables`. These rows say what was planned and asked for.
"""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import Dialect, ForeignKey, Index, String, TypeDecorator
from sqlalchemy.orm import Mapped, mapped_column

from fenzhang.store.partial import partial_index
from fenzhang.store.tables import Base, Serial


class Sum(TypeDecorator[int]):
    """A sum of amounts as decimal text: it can leave 64 bits, and is never computed with in SQL."""

    impl = String(40)
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> str | None:  # noqa: ARG002 -- as overridden
        """To text."""
        return None if value is None else str(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> int | None:  # noqa: ARG002 -- same
        """From text."""
        return None if value is None else int(value)


class PlanState(StrEnum):
    """How far a plan has come. Whether its cycle is closed, and what was taken so far, the mirror's tables say."""

    PLANNED = "PLANNED"
    """Stored; the clearing bank has not signed it."""
    SIGNED = "SIGNED"
    """Signed, and an instruction is to close the cycle. Until it is TAKEN no other cycle of the currency is planned."""
    TAKEN = "TAKEN"
    """Each of its payouts was taken or refused, too deep for a reorganisation. Terminal."""
    VOID = "VOID"
    """It can never be closed: its deadline passed on the chain, or somebody closed another cycle of its number.

    Terminal; another plan has its number, or a later one.
    """


class CyclePlan(Base):
    """A cycle as it was planned. Of plans that are not void there is one per currency, scheme and number."""

    __tablename__ = "cycle_plans"
    __table_args__ = (
        partial_index(
            "ix_cycle_plans_standing", "currency", "scheme", "number", where="state <> 'VOID'", unique=True
        ),
    )
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    cycle_id: Mapped[bytes] = mapped_column(index=True)
    currency: Mapped[str] = mapped_column(String(3))
    scheme: Mapped[str] = mapped_column(String(32))
    number: Mapped[int]
    closes: Mapped[int]
    """The cut-off: members came in before this moment."""
    due: Mapped[str] = mapped_column(String(10))
    """The day on which its payouts are due, YYYY-MM-DD."""
    to_block: Mapped[int]
    at_block: Mapped[int]
    payouts: Mapped[int]
    total: Mapped[int]
    payout_root: Mapped[bytes]
    bill_root: Mapped[bytes]
    journal_head: Mapped[bytes]
    deadline: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))
    bank: Mapped[bytes | None]
    """Account that signed, as is `signature` what it signed."""
    signature: Mapped[bytes | None]
    refusal: Mapped[str | None] = mapped_column(String(35))
    """Why the bank did not sign when it was asked last."""
    planned_at: Mapped[int]
    """Time of the block as of which it was netted."""


class PlannedPayout(Base):
    """What a plan does for a participant: a payout, or the reason why there is none. Sums are minor units."""

    __tablename__ = "planned_payouts"
    __table_args__ = (Index("ix_planned_payouts_plan_id_index", "plan_id", "index"),)
    plan_id: Mapped[int] = mapped_column(ForeignKey("cycle_plans.id"), primary_key=True)
    participant_id: Mapped[bytes] = mapped_column(primary_key=True, index=True)
    brought_forward: Mapped[int] = mapped_column(Sum)
    credit: Mapped[int] = mapped_column(Sum)
    debit: Mapped[int] = mapped_column(Sum)
    due: Mapped[int] = mapped_column(Sum)
    position: Mapped[int] = mapped_column(Sum)
    amount: Mapped[int]
    """0 for who is left out, and for whom nothing is due."""
    left_out: Mapped[str | None] = mapped_column(String(16))
    """domain.netting.LeftOut."""
    index: Mapped[int | None]
    """Place in the cycle, from 0; None where nothing is paid, as are all that follow."""
    payout_id: Mapped[bytes | None] = mapped_column(index=True)
    end_to_end_id: Mapped[str | None] = mapped_column(String(35), index=True)
    proof: Mapped[bytes | None]
    """Siblings from the leaf up to the payout root, 32 bytes each."""


class AnchoredBill(Base):
    """The hash of a platform's bill of a day that is final, for the next cycle of the platform's scheme to anchor."""

    __tablename__ = "anchored_bills"
    owner: Mapped[bytes] = mapped_column(primary_key=True)
    """Id of the platform."""
    day: Mapped[str] = mapped_column(String(10), primary_key=True)
    format: Mapped[str] = mapped_column(String(8), primary_key=True)
    sha256: Mapped[bytes]
    """Of the bill, uncompressed."""
    plan_id: Mapped[int | None] = mapped_column(ForeignKey("cycle_plans.id"), index=True)
    """The plan whose bill root it is under; None before there is one."""
    index: Mapped[int | None]
    """Its place among the plan's bills."""
    proof: Mapped[bytes | None]


class ReportedOutcome(Base):
    """What a report says of a payout, and the instruction that brings the report to the chain."""

    __tablename__ = "reported_outcomes"
    payout_id: Mapped[bytes] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(16), primary_key=True)
    """domain.clearing.OutcomeKind."""
    instruction_seq: Mapped[int] = mapped_column(ForeignKey("instructions.seq"), index=True)
