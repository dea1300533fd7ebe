"""The tables of cycles and their payouts, as the mirror read them from the ClearingHouse."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from fenzhang.domain.records import RecordKind
from fenzhang.store.partial import partial_index
from fenzhang.store.tables import Base


class PayoutRowState(StrEnum):
    """What became of a payout on chain. All but the first two are final."""

    IN_TRANSIT = "IN_TRANSIT"
    """Taken from the participant's position; the bank has not said yet what became of it."""
    PAID = "PAID"
    """The bank paid it. It may still come back."""
    REFUSED = "REFUSED"
    """Never taken: the participant was frozen or suspended, or its position was short."""
    FAILED = "FAILED"
    """The bank did not pay it; it is back in the position."""
    RETURNED = "RETURNED"
    """It was paid, and the money came back; it is back in the position."""


STATE_AFTER = {
    RecordKind.PAYOUT: PayoutRowState.IN_TRANSIT,
    RecordKind.PAYOUT_PAID: PayoutRowState.PAID,
    RecordKind.PAYOUT_FAILED: PayoutRowState.FAILED,
    RecordKind.PAYOUT_RETURNED: PayoutRowState.RETURNED,
    RecordKind.REJECTION: PayoutRowState.REFUSED,
}
"""What a payout is after its record of a kind."""
_WORD = 32
_ZERO, _ZERO_STANDS_AS = "\0", "\ufffd"


def storable(text: str) -> str:
    """Text of the chain as every database takes it: PostgreSQL takes no zeros, which it may have."""
    return text.replace(_ZERO, _ZERO_STANDS_AS)


def as_on_chain(text: str) -> str:
    """The inverse of `storable`, for text of the chain is Latin-1."""
    return text.replace(_ZERO_STANDS_AS, _ZERO)


class CycleRow(Base):
    """A cycle that is closed on chain."""

    __tablename__ = "cycles"
    __table_args__ = (UniqueConstraint("currency", "scheme", "number"),)
    cycle_id: Mapped[bytes] = mapped_column(primary_key=True)
    currency: Mapped[str] = mapped_column(String(3))
    scheme: Mapped[str] = mapped_column(String(32))
    number: Mapped[int]
    """1, 2, 3 … without gaps, by currency and scheme."""
    to_block: Mapped[int]
    """Last block whose records are members."""
    at_block: Mapped[int]
    """As of its end positions were netted."""
    payouts: Mapped[int]
    """How many there are in its tree."""
    total: Mapped[int]
    """Of all of them, minor units; 2^63 - 1 if it is more, which no cycle can take."""
    payout_root: Mapped[bytes]
    bill_root: Mapped[bytes]
    journal_head: Mapped[bytes]
    encoded: Mapped[bytes]
    """The struct as it was signed, abi-encoded; its hash is in the record. It alone has a total above 2^63 - 1."""
    bank: Mapped[bytes]
    """Account whose signature closed it."""
    batch: Mapped[int]
    block_number: Mapped[int] = mapped_column(index=True)

    @property
    def signed_total(self) -> int:
        """The total as it was signed, also where it is too large for its column."""
        return self.signed_number(6)

    @property
    def deadline(self) -> int:
        """Unix seconds until which the closing could be relayed."""
        return self.signed_number(10)

    def signed_number(self, word: int) -> int:
        """A word of `encoded`, counted from 0."""
        return int.from_bytes(self.encoded[_WORD * word : _WORD * (word + 1)])


class PayoutRow(Base):
    """A payout that was taken from a position or refused. Those that nobody has taken yet have no row."""

    __tablename__ = "payouts"
    __table_args__ = (
        Index("ix_payouts_cycle_id_index", "cycle_id", "index"),
        partial_index("ix_payouts_in_transit", "block_number", where="state = 'IN_TRANSIT'"),
    )
    payout_id: Mapped[bytes] = mapped_column(primary_key=True)
    cycle_id: Mapped[bytes] = mapped_column(ForeignKey("cycles.cycle_id"))
    index: Mapped[int]
    """Place in the cycle, from 0."""
    participant_id: Mapped[bytes] = mapped_column(index=True)
    amount: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))
    """PayoutRowState."""
    reason: Mapped[str | None] = mapped_column(String(64))
    """Of FAILED and RETURNED the bank's code; of REFUSED the name of the chain's error, whose record has its values."""
    block_number: Mapped[int] = mapped_column(index=True)
    """Where it came into its state."""
