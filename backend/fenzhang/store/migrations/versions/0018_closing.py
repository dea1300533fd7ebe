"""Plans of cycles, the bills that they anchor, and what was reported of payouts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_SERIAL = sa.BigInteger().with_variant(sa.INTEGER(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "cycle_plans",
        sa.Column("id", _SERIAL, nullable=False),
        sa.Column("cycle_id", sa.LargeBinary(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("scheme", sa.String(length=32), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("closes", sa.BigInteger(), nullable=False),
        sa.Column("due", sa.String(length=10), nullable=False),
        sa.Column("to_block", sa.BigInteger(), nullable=False),
        sa.Column("at_block", sa.BigInteger(), nullable=False),
        sa.Column("payouts", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("payout_root", sa.LargeBinary(), nullable=False),
        sa.Column("bill_root", sa.LargeBinary(), nullable=False),
        sa.Column("journal_head", sa.LargeBinary(), nullable=False),
        sa.Column("deadline", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("bank", sa.LargeBinary(), nullable=True),
        sa.Column("signature", sa.LargeBinary(), nullable=True),
        sa.Column("refusal", sa.String(length=35), nullable=True),
        sa.Column("planned_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cycle_plans")),
    )
    op.create_index(op.f("ix_cycle_plans_cycle_id"), "cycle_plans", ["cycle_id"])
    standing = sa.text("state <> 'VOID'")
    op.create_index(
        "ix_cycle_plans_standing",
        "cycle_plans",
        ["currency", "scheme", "number"],
        unique=True,
        sqlite_where=standing,
        postgresql_where=standing,
    )
    op.create_table(
        "planned_payouts",
        sa.Column("plan_id", _SERIAL, nullable=False),
        sa.Column("participant_id", sa.LargeBinary(), nullable=False),
        *(
            sa.Column(name, sa.String(length=40), nullable=False)
            for name in ("brought_forward", "credit", "debit", "due", "position")
        ),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("left_out", sa.String(length=16), nullable=True),
        sa.Column("index", sa.BigInteger(), nullable=True),
        sa.Column("payout_id", sa.LargeBinary(), nullable=True),
        sa.Column("end_to_end_id", sa.String(length=35), nullable=True),
        sa.Column("proof", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["plan_id"], ["cycle_plans.id"], name=op.f("fk_planned_payouts_plan_id")),
        sa.PrimaryKeyConstraint("plan_id", "participant_id", name=op.f("pk_planned_payouts")),
    )
    for column in ("participant_id", "payout_id", "end_to_end_id"):
        op.create_index(op.f(f"ix_planned_payouts_{column}"), "planned_payouts", [column])
    op.create_index("ix_planned_payouts_plan_id_index", "planned_payouts", ["plan_id", "index"])
    op.create_table(
        "anchored_bills",
        sa.Column("owner", sa.LargeBinary(), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("format", sa.String(length=8), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("plan_id", _SERIAL, nullable=True),
        sa.Column("index", sa.BigInteger(), nullable=True),
        sa.Column("proof", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["plan_id"], ["cycle_plans.id"], name=op.f("fk_anchored_bills_plan_id")),
        sa.PrimaryKeyConstraint("owner", "day", "format", name=op.f("pk_anchored_bills")),
    )
    op.create_index(op.f("ix_anchored_bills_plan_id"), "anchored_bills", ["plan_id"])
    op.create_table(
        "reported_outcomes",
        sa.Column("payout_id", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("instruction_seq", _SERIAL, nullable=False),
        sa.ForeignKeyConstraint(
            ["instruction_seq"], ["instructions.seq"], name=op.f("fk_reported_outcomes_instruction_seq")
        ),
        sa.PrimaryKeyConstraint("payout_id", "kind", name=op.f("pk_reported_outcomes")),
    )
    op.create_index(op.f("ix_reported_outcomes_instruction_seq"), "reported_outcomes", ["instruction_seq"])
    returned = sa.text("state = 'RETURNED'")
    op.create_index(
        "ix_bank_payments_returned",
        "bank_payments",
        ["end_to_end_id"],
        sqlite_where=returned,
        postgresql_where=returned,
    )
