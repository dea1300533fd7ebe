"""Vetoes, consent and caps as the chain has them, and settings of the contracts such as the approval lock."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "chain_settings",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_chain_settings"),
    )
    op.add_column("rule_versions", sa.Column("veto", sa.JSON(), nullable=True))
    # Who was enrolled as a recipient agreed to that; nothing was vetoed or capped before.
    _add("rule_versions", sa.Column("vetoed", sa.Boolean(), nullable=False, server_default=sa.false()))
    _add("participants", sa.Column("consents", sa.Boolean(), nullable=False, server_default=sa.true()))
    _add("participants", sa.Column("max_share_out", sa.BigInteger(), nullable=False, server_default="0"))


def _add(table: str, column: sa.Column[Any]) -> None:
    """Add a column, whose default serves the rows that are there and goes again."""
    op.add_column(table, column)
    with op.batch_alter_table(table) as batch:
        batch.alter_column(column.name, server_default=None)
