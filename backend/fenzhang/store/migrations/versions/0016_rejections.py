"""Rejections of instructions are kept, so that the bill of a day can be made again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_SERIAL = sa.BigInteger().with_variant(sa.INTEGER(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "rejections",
        sa.Column("id", _SERIAL, nullable=False),
        sa.Column("instruction_seq", _SERIAL, nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=True),
        sa.Column("log_index", sa.BigInteger(), nullable=True),
        sa.Column("tx_hash", sa.LargeBinary(), nullable=False),
        sa.Column("reason", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["instruction_seq"], ["instructions.seq"], name=op.f("fk_rejections_instruction_seq")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rejections")),
    )
    for column in ("instruction_seq", "time", "block_number"):
        op.create_index(op.f(f"ix_rejections_{column}"), "rejections", [column])
