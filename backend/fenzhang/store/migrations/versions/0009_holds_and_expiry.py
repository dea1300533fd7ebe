"""Times before which nothing may be done on orders and at which they expire, and what the backend tries then."""

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
