"""Alembic's entry: run the revisions on the connection that fenzhang.store.migration hands over."""

from __future__ import annotations

from alembic import context

from fenzhang.store import banktables as _banks  # noqa: F401 -- its tables are part of the metadata
from fenzhang.store import clearingtables as _clearing  # noqa: F401 -- so are these
from fenzhang.store import cycletables as _closing  # noqa: F401 -- and these
from fenzhang.store import reconciliationtables as _reconciliation  # noqa: F401 -- and these
from fenzhang.store.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
