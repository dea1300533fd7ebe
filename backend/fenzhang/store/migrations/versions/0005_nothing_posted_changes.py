"""Nothing posted can be changed: triggers refuse it whoever asks, as long as they are there.

Postings, accounts and allocations are only inserted. Of a record, `canonical` may become false and nothing else.
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ONLY_INSERTED = {
    "postings": "postings are never changed or deleted: a correction is a new posting that reverses",
    "accounts": "accounts are never changed or deleted",
    "allocations": "allocations are never changed or deleted: they are what the chain recorded",
}
_RECORDS = "of a record only canonical changes, from true to false, and it is never deleted"
_FIXED_COLUMNS = (
    "id",
    "kind",
    "instruction_id",
    "order_id",
    "split_id",
    "amount",
    "leaf",
    "batch",
    "leaf_index",
    "block_number",
    "tx_hash",
    "log_index",
    "reason",
)


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        _upgrade_postgresql()
    else:
        _upgrade_sqlite()


def _upgrade_sqlite() -> None:
    for table, message in _ONLY_INSERTED.items():
        for event in ("UPDATE", "DELETE"):
            _refuse(table, event, message)
    # Not UPDATE OF: that would not notice an id that is set by its other name, rowid.
    changed = " OR ".join(f"NEW.{column} IS NOT OLD.{column}" for column in _FIXED_COLUMNS)
    _refuse("records", "UPDATE", _RECORDS, f"WHEN NEW.canonical IS NOT 0 OR {changed} ")
    _refuse("records", "DELETE", _RECORDS)


def _refuse(table: str, event: str, message: str, condition: str = "") -> None:
    op.execute(
        f"CREATE TRIGGER {table}_refuse_{event.lower()} BEFORE {event} ON {table} {condition}"
        f"BEGIN SELECT RAISE(ABORT, '{message}'); END"
    )


def _upgrade_postgresql() -> None:
    op.execute(
        "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION USING ERRCODE = 'restrict_violation', MESSAGE = TG_ARGV[0]; END $$"
    )
    for table, message in _ONLY_INSERTED.items():
        _refuse_rows(table, "UPDATE OR DELETE", message)
        _refuse_truncate(table, message)
    # As text, because the type json cannot be compared.
    changed = " OR ".join(f"NEW.{name}::text IS DISTINCT FROM OLD.{name}::text" for name in _FIXED_COLUMNS)
    _refuse_rows("records", "UPDATE", _RECORDS, f"WHEN (NEW.canonical OR {changed}) ")
    _refuse_rows("records", "DELETE", _RECORDS)
    _refuse_truncate("records", _RECORDS)


def _refuse_rows(table: str, events: str, message: str, condition: str = "") -> None:
    name = f"{table}_refuse_{events.lower().replace(' ', '_')}"
    op.execute(
        f"CREATE TRIGGER {name} BEFORE {events} ON {table} FOR EACH ROW {condition}"
        f"EXECUTE FUNCTION refuse_change('{message}')"
    )


def _refuse_truncate(table: str, message: str) -> None:
    op.execute(
        f"CREATE TRIGGER {table}_refuse_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT "
        f"EXECUTE FUNCTION refuse_change('{message}')"
    )
