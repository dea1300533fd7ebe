"""A word of nonces for each signer and sender. Old words are left behind: nonces that are not used cost nothing."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_table("nonce_words")
    op.create_table(
        "nonce_words",
        sa.Column("signer", sa.LargeBinary(), nullable=False),
        sa.Column("sender", sa.LargeBinary(), nullable=False),
        sa.Column("word", sa.LargeBinary(), nullable=False),
        sa.Column("next_bit", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("signer", "sender", name="pk_nonce_words"),
    )
