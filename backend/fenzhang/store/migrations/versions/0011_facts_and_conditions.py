"""What was said of the sale of an order, and the condition that its money waits for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("facts", "condition_id"):
        op.add_column("orders", sa.Column(name, sa.LargeBinary()))
    some = sa.text("condition_id IS NOT NULL")
    op.create_index(
        "ix_orders_condition", "orders", ["condition_id"], sqlite_where=some, postgresql_where=some
    )
