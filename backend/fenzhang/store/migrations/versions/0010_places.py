"""Who stands above whom, and on which level."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("participants", sa.Column("parent_id", sa.LargeBinary()))
    # Whoever was never placed stands at the top; the default is for the rows that are there.
    op.add_column("participants", sa.Column("level", sa.BigInteger(), nullable=False, server_default="1"))
