"""Indexes that answer for an account's balance at any block without looking at a posting."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for side in ("debit", "credit"):
        account = f"{side}_account_id"
        op.create_index(
            f"ix_postings_{account}_block_number_amount", "postings", [account, "block_number", "amount"]
        )
        op.drop_index(f"ix_postings_{account}", "postings")
