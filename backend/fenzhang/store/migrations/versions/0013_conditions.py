"""Conditions that orders wait for, as the mirror reads them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "conditions",
        sa.Column("condition_id", sa.LargeBinary(), nullable=False),
        sa.Column("platform_id", sa.LargeBinary(), nullable=False),
        sa.Column("needed", sa.BigInteger(), nullable=False),
        sa.Column("deadline", sa.BigInteger(), nullable=False),
        sa.Column("confirmer", sa.LargeBinary(), nullable=True),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("confirmed", sa.Boolean(), nullable=False),
        sa.Column("reached", sa.Boolean(), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("condition_id", "platform_id", name=op.f("pk_conditions")),
    )
    not_reached = sa.text("NOT reached")
    op.create_index(
        "ix_conditions_waiting",
        "conditions",
        ["deadline"],
        sqlite_where=not_reached,
        postgresql_where=not_reached,
    )
    holding = sa.text("condition_id IS NOT NULL AND held > 0")
    op.create_index(
        "ix_orders_waiting", "orders", ["condition_id"], sqlite_where=holding, postgresql_where=holding
    )
