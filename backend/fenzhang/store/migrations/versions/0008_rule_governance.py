"""Vetoes of rule versions, and settings of the contracts such as the approval lock."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "rule_versions", sa.Column("vetoed", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    with op.batch_alter_table("rule_versions") as table:
        table.alter_column("vetoed", server_default=None)
    op.add_column("rule_versions", sa.Column("veto", sa.JSON(), nullable=True))
    op.create_table(
        "chain_settings",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_chain_settings"),
    )
