"""Indexes that cost a page for every row and found what another finds, or nothing."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_records_instruction_id", "records")
    _partial("ix_records_of_no_order", "records", "instruction_id", "kind > 5")
    for column in ("authorization_id", "transaction_id"):
        op.drop_index(f"ix_instructions_{column}", "instructions")
        _partial(f"ix_instructions_{column}", "instructions", column, f"{column} IS NOT NULL")


def _partial(name: str, table: str, column: str, where: str) -> None:
    op.create_index(name, table, [column], sqlite_where=sa.text(where), postgresql_where=sa.text(where))
