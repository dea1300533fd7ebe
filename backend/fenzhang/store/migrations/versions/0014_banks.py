"""Files for banks, the payouts in them, and the bank accounts of participants (encrypted, as the files are)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_SERIAL = sa.BigInteger().with_variant(sa.INTEGER(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "bank_files",
        sa.Column("id", _SERIAL, nullable=False),
        sa.Column("message_id", sa.String(length=35), nullable=False),
        sa.Column("bank", sa.String(length=64), nullable=False),
        sa.Column("format", sa.String(length=16), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("payouts", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=35), nullable=True),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("attempted_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bank_files")),
        sa.UniqueConstraint("message_id", name=op.f("uq_bank_files_message_id")),
    )
    op.create_index(op.f("ix_bank_files_state"), "bank_files", ["state"])
    op.create_table(
        "bank_payments",
        sa.Column("end_to_end_id", sa.String(length=35), nullable=False),
        sa.Column("file_id", _SERIAL, nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=35), nullable=True),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["file_id"], ["bank_files.id"], name=op.f("fk_bank_payments_file_id")),
        sa.PrimaryKeyConstraint("end_to_end_id", name=op.f("pk_bank_payments")),
    )
    op.create_index(op.f("ix_bank_payments_file_id"), "bank_payments", ["file_id"])
    open_ = sa.text("state IN ('SENT', 'DISPUTED')")
    op.create_index(
        "ix_bank_payments_open", "bank_payments", ["file_id"], sqlite_where=open_, postgresql_where=open_
    )
    op.create_table(
        "bank_accounts",
        sa.Column("participant_id", sa.LargeBinary(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("participant_id", "currency", name=op.f("pk_bank_accounts")),
    )
