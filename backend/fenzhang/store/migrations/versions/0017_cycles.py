"""Cycles and their payouts, as the mirror reads them; records of payouts name their cycle."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("records", sa.Column("cycle_id", sa.LargeBinary(), nullable=True))
    of_cycles = sa.text("cycle_id IS NOT NULL")
    op.create_index(
        "ix_records_of_cycles",
        "records",
        ["cycle_id"],
        sqlite_where=of_cycles,
        postgresql_where=of_cycles,
    )
    _fix_cycle_of_records()
    op.create_table(
        "cycles",
        sa.Column("cycle_id", sa.LargeBinary(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("scheme", sa.String(length=32), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("to_block", sa.BigInteger(), nullable=False),
        sa.Column("at_block", sa.BigInteger(), nullable=False),
        sa.Column("payouts", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("payout_root", sa.LargeBinary(), nullable=False),
        sa.Column("bill_root", sa.LargeBinary(), nullable=False),
        sa.Column("journal_head", sa.LargeBinary(), nullable=False),
        sa.Column("encoded", sa.LargeBinary(), nullable=False),
        sa.Column("bank", sa.LargeBinary(), nullable=False),
        sa.Column("batch", sa.BigInteger(), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("cycle_id", name=op.f("pk_cycles")),
        sa.UniqueConstraint("currency", "scheme", "number", name=op.f("uq_cycles_currency_scheme_number")),
    )
    op.create_index(op.f("ix_cycles_block_number"), "cycles", ["block_number"])
    op.create_table(
        "payouts",
        sa.Column("payout_id", sa.LargeBinary(), nullable=False),
        sa.Column("cycle_id", sa.LargeBinary(), nullable=False),
        sa.Column("index", sa.BigInteger(), nullable=False),
        sa.Column("participant_id", sa.LargeBinary(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["cycle_id"], ["cycles.cycle_id"], name=op.f("fk_payouts_cycle_id")),
        sa.PrimaryKeyConstraint("payout_id", name=op.f("pk_payouts")),
    )
    for column in ("participant_id", "block_number"):
        op.create_index(op.f(f"ix_payouts_{column}"), "payouts", [column])
    op.create_index("ix_payouts_cycle_id_index", "payouts", ["cycle_id", "index"])
    in_transit = sa.text("state = 'IN_TRANSIT'")
    op.create_index(
        "ix_payouts_in_transit",
        "payouts",
        ["block_number"],
        sqlite_where=in_transit,
        postgresql_where=in_transit,
    )


def _fix_cycle_of_records() -> None:
    """As revision 0005 does it for the other columns."""
    message = "of a record only canonical changes, from true to false, and it is never deleted"
    begin = "CREATE TRIGGER records_refuse_other_cycle BEFORE UPDATE ON records FOR EACH ROW"
    if op.get_bind().dialect.name == "postgresql":
        condition = "WHEN (NEW.cycle_id IS DISTINCT FROM OLD.cycle_id)"
        op.execute(f"{begin} {condition} EXECUTE FUNCTION refuse_change('{message}')")
    else:
        condition = "WHEN NEW.cycle_id IS NOT OLD.cycle_id"
        op.execute(f"{begin} {condition} BEGIN SELECT RAISE(ABORT, '{message}'); END")
