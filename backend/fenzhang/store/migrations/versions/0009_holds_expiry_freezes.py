"""Times of orders, what the backend tries when they expire, and what guardians froze."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_SERIAL = sa.BigInteger().with_variant(sa.INTEGER(), "sqlite")


def upgrade() -> None:
    for name in ("hold_until", "expires_at"):
        op.add_column("orders", sa.Column(name, sa.BigInteger(), server_default="0", nullable=False))
    expiring = sa.text("expires_at > 0 AND held > 0")
    op.create_index(
        "ix_orders_expiring", "orders", ["expires_at"], sqlite_where=expiring, postgresql_where=expiring
    )
    op.create_table(
        "expiries",
        sa.Column("order_id", sa.LargeBinary(), nullable=False),
        sa.Column("transaction_id", _SERIAL, nullable=False),
        sa.Column("head", sa.LargeBinary(), nullable=False),
        sa.Column("tries", sa.BigInteger(), nullable=False),
        sa.Column("not_before", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["transaction_id"], ["transactions.id"], name=op.f("fk_expiries_transaction_id")
        ),
        sa.PrimaryKeyConstraint("order_id", name=op.f("pk_expiries")),
    )
    op.create_index(op.f("ix_expiries_transaction_id"), "expiries", ["transaction_id"])
    op.create_table(
        "freezes",
        sa.Column("id", _SERIAL, nullable=False),
        sa.Column("target_id", sa.LargeBinary(), nullable=False),
        sa.Column("order_id", sa.LargeBinary(), nullable=True),
        sa.Column("guardian", sa.LargeBinary(), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("tx_hash", sa.LargeBinary(), nullable=False),
        sa.Column("ended_by", sa.LargeBinary(), nullable=True),
        sa.Column("ended_reason", sa.String(length=32), nullable=True),
        sa.Column("ended_block", sa.BigInteger(), nullable=True),
        sa.Column("ended_tx_hash", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_freezes")),
    )
    for column in ("target_id", "block_number", "ended_block"):
        op.create_index(op.f(f"ix_freezes_{column}"), "freezes", [column])
