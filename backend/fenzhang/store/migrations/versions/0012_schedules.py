"""Versions of schedules stand beside those of rules, with entries in place of legs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("rule_versions", sa.Column("entries", sa.JSON(), nullable=True))
