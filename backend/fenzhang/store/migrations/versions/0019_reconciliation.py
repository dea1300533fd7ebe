"""Statements of banks, what they match, and breaks. What happened to a break cannot be changed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_SERIAL = sa.BigInteger().with_variant(sa.INTEGER(), "sqlite")
_ONLY_INSERTED = {
    "break_events": "what happened to a break is never changed or deleted",
    "corrections": "corrections are never changed or deleted",
}


def upgrade() -> None:
    _statements()
    _runs()
    _breaks()
    _lines()
    for table, message in _ONLY_INSERTED.items():
        _refuse(table, message)


def _statements() -> None:
    op.create_table(
        "custody_accounts",
        sa.Column("id", _SERIAL, nullable=False),
        sa.Column("bank", sa.String(length=64), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_custody_accounts")),
    )
    op.create_index("ix_custody_accounts_bank_currency", "custody_accounts", ["bank", "currency"])
    op.create_table(
        "bank_statements",
        sa.Column("id", _SERIAL, nullable=False),
        sa.Column("account_id", _SERIAL, nullable=False),
        sa.Column("statement_id", sa.String(length=35), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("first_day", sa.String(length=10), nullable=False),
        sa.Column("last_day", sa.String(length=10), nullable=False),
        sa.Column("opening", sa.BigInteger(), nullable=False),
        sa.Column("closing", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        _reference("bank_statements", "account_id", "custody_accounts.id"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bank_statements")),
    )
    op.create_index("ix_bank_statements_account_id_first_day", "bank_statements", ["account_id", "first_day"])


def _runs() -> None:
    op.create_table(
        "reconciliation_runs",
        sa.Column("id", _SERIAL, nullable=False),
        sa.Column("comparison", sa.String(length=16), nullable=False),
        sa.Column("at_close", sa.Boolean(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("looked_at", sa.BigInteger(), nullable=False),
        sa.Column("matched", sa.BigInteger(), nullable=False),
        sa.Column("opened", sa.BigInteger(), nullable=False),
        sa.Column("resolved", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reconciliation_runs")),
    )
    op.create_index(op.f("ix_reconciliation_runs_comparison"), "reconciliation_runs", ["comparison"])
    op.create_table(
        "reconciliation_checkpoints",
        sa.Column("comparison", sa.String(length=16), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("comparison", name=op.f("pk_reconciliation_checkpoints")),
    )


def _breaks() -> None:
    op.create_table(
        "breaks",
        sa.Column("id", _SERIAL, nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("comparison", sa.String(length=16), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=True),
        sa.Column("amount", sa.String(length=40), nullable=True),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("owner", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("present", sa.Boolean(), nullable=False),
        sa.Column("first_seen", sa.BigInteger(), nullable=False),
        sa.Column("last_seen", sa.BigInteger(), nullable=False),
        sa.Column("explanation", sa.String(length=1000), nullable=True),
        sa.Column("explained_by", sa.String(length=100), nullable=True),
        sa.Column("previous_id", _SERIAL, nullable=True),
        _reference("breaks", "previous_id", "breaks.id"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_breaks")),
    )
    present = sa.text("present")
    op.create_index(
        "ix_breaks_present", "breaks", ["key"], unique=True, sqlite_where=present, postgresql_where=present
    )
    op.create_index(op.f("ix_breaks_key"), "breaks", ["key"])
    op.create_index("ix_breaks_comparison_state", "breaks", ["comparison", "state"])
    op.create_table(
        "break_events",
        sa.Column("id", _SERIAL, nullable=False),
        sa.Column("break_id", _SERIAL, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("who", sa.String(length=100), nullable=False),
        sa.Column("run_id", _SERIAL, nullable=True),
        sa.Column("note", sa.String(length=1000), nullable=True),
        sa.Column("amount", sa.String(length=40), nullable=True),
        sa.Column("reference", sa.String(length=64), nullable=True),
        _reference("break_events", "break_id", "breaks.id"),
        _reference("break_events", "run_id", "reconciliation_runs.id"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_break_events")),
        sa.UniqueConstraint("who", "reference", name=op.f("uq_break_events_who_reference")),
    )
    op.create_index(op.f("ix_break_events_break_id"), "break_events", ["break_id"])
    op.create_table(
        "corrections",
        sa.Column("id", _SERIAL, nullable=False),
        sa.Column("break_id", _SERIAL, nullable=False),
        sa.Column("event_id", _SERIAL, nullable=False),
        sa.Column("target", sa.String(length=16), nullable=False),
        sa.Column("target_id", sa.String(length=70), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=True),
        sa.Column("amount", sa.String(length=40), nullable=True),
        _reference("corrections", "break_id", "breaks.id"),
        _reference("corrections", "event_id", "break_events.id"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_corrections")),
    )
    op.create_index(op.f("ix_corrections_break_id"), "corrections", ["break_id"])


def _lines() -> None:
    op.create_table(
        "statement_lines",
        sa.Column("id", _SERIAL, nullable=False),
        sa.Column("statement_id", _SERIAL, nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("occurrence", sa.BigInteger(), nullable=False),
        sa.Column("booked_on", sa.String(length=10), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("end_to_end_id", sa.String(length=35), nullable=True),
        sa.Column("reference", sa.String(length=35), nullable=True),
        sa.Column("message_id", sa.String(length=35), nullable=True),
        sa.Column("reason", sa.String(length=35), nullable=True),
        sa.Column("reversal", sa.Boolean(), nullable=False),
        sa.Column("is_part", sa.Boolean(), nullable=False),
        sa.Column("shown", sa.Boolean(), nullable=False),
        sa.Column("matched_by", sa.String(length=16), nullable=True),
        sa.Column("break_id", _SERIAL, nullable=True),
        _reference("statement_lines", "statement_id", "bank_statements.id"),
        _reference("statement_lines", "break_id", "breaks.id"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_statement_lines")),
        sa.UniqueConstraint(
            "statement_id", "key", "occurrence", name=op.f("uq_statement_lines_statement_id_key_occurrence")
        ),
    )
    for column in ("end_to_end_id", "reference", "break_id"):
        op.create_index(op.f(f"ix_statement_lines_{column}"), "statement_lines", [column])
    open_ = sa.text("shown AND matched_by IS NULL")
    op.create_index(
        "ix_statement_lines_open", "statement_lines", ["id"], sqlite_where=open_, postgresql_where=open_
    )
    op.create_table(
        "statement_matches",
        sa.Column("line_id", _SERIAL, nullable=False),
        sa.Column("end_to_end_id", sa.String(length=35), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        _reference("statement_matches", "line_id", "statement_lines.id"),
        _reference("statement_matches", "end_to_end_id", "bank_payments.end_to_end_id"),
        sa.PrimaryKeyConstraint("line_id", "end_to_end_id", name=op.f("pk_statement_matches")),
    )
    op.create_index(op.f("ix_statement_matches_end_to_end_id"), "statement_matches", ["end_to_end_id"])


def _reference(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [target], name=op.f(f"fk_{table}_{column}"))


def _refuse(table: str, message: str) -> None:
    if op.get_bind().dialect.name == "postgresql":
        for events, each in (("UPDATE OR DELETE", "ROW"), ("TRUNCATE", "STATEMENT")):
            name = f"{table}_refuse_{events.lower().replace(' ', '_')}"
            op.execute(
                f"CREATE TRIGGER {name} BEFORE {events} ON {table} FOR EACH {each} "
                f"EXECUTE FUNCTION refuse_change('{message}')"
            )
    else:
        for event in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_refuse_{event.lower()} BEFORE {event} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{message}'); END"
            )
