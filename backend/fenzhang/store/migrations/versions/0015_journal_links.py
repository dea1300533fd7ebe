"""The hash chain over the postings. Those that are there get the links that they would have got at once."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import sqlalchemy as sa
from alembic import op

from fenzhang.domain.journal import NO_LINK, Line, line, links

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_MESSAGE = "links of the journal are never changed or deleted: they vouch for its postings"
_PAGE = 5_000


def upgrade() -> None:
    table = op.create_table(
        "journal_links",
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("last_posting", sa.BigInteger(), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_journal_links"),
    )
    found = links(NO_LINK, _lines())
    while page := list(islice(found, _PAGE)):
        op.bulk_insert(table, [link._asdict() for link in page])
    if op.get_bind().dialect.name == "postgresql":
        for events, each in (("UPDATE OR DELETE", "ROW"), ("TRUNCATE", "STATEMENT")):
            name = f"journal_links_refuse_{events.lower().replace(' ', '_')}"
            op.execute(
                f"CREATE TRIGGER {name} BEFORE {events} ON journal_links FOR EACH {each} "
                f"EXECUTE FUNCTION refuse_change('{_MESSAGE}')"
            )
    else:
        for event in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER journal_links_refuse_{event.lower()} BEFORE {event} ON journal_links "
                f"BEGIN SELECT RAISE(ABORT, '{_MESSAGE}'); END"
            )


def _lines() -> Iterator[Line]:
    last = 0
    while page := op.get_bind().execute(_POSTINGS, {"last": last, "page": _PAGE}).all():
        for number, *accounts, amount, leaf, block_number, reverses in page:
            yield line(
                number,
                tuple(accounts[:3]),
                tuple(accounts[3:]),
                amount=amount,
                leaf=leaf,
                block_number=block_number,
                reverses=reverses,
            )
        last = page[-1][0]


_POSTINGS = sa.text(
    "SELECT p.id, d.kind, d.currency, d.participant_id, c.kind, c.currency, c.participant_id, p.amount, r.leaf, "
    "p.block_number, p.reverses_id FROM postings p JOIN accounts d ON d.id = p.debit_account_id "
    "JOIN accounts c ON c.id = p.credit_account_id JOIN records r ON r.id = p.record_id "
    "WHERE p.id > :last ORDER BY p.id LIMIT :page"
)
