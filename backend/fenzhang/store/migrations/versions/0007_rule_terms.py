"""Terms of rule versions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

NO_TERMS = '{"max_share_out": 0, "may_owe": false}'


def upgrade() -> None:
    # What was proposed before had no terms; a version proposed from now on says them.
    op.add_column("rule_versions", sa.Column("terms", sa.JSON(), nullable=False, server_default=NO_TERMS))
    with op.batch_alter_table("rule_versions") as table:
        table.alter_column("terms", server_default=None)
