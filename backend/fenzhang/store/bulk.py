"""Many rows in few statements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar, cast

from sqlalchemy import Table, bindparam, insert, update
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.store.tables import Base

T = TypeVar("T")
IN_LIST = 1_000
"""How many values one IN list takes; far below what SQLite and PostgreSQL allow in one statement."""


def chunks(values: Sequence[T], size: int = IN_LIST) -> Iterator[Sequence[T]]:
    """`values` in pieces of at most `size`, in order."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def table_of(entity: type[Base]) -> Table:
    """The table of a mapped class, for statements that bypass the ORM's bookkeeping."""
    return cast("Table", entity.__table__)


async def insert_rows(session: AsyncSession, entity: type[Base], rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows that all name the same columns; the others become what the database makes of their absence."""
    if rows:
        connection = await session.connection()
        await connection.execute(insert(table_of(entity)), rows)


async def update_rows(
    session: AsyncSession,
    entity: type[Base],
    key: str,
    rows: Sequence[dict[str, Any]],
    same: dict[str, Any] | None = None,
) -> None:
    """Set the columns that each row names, where column `key` has the row's value. All rows name the same columns.

    `same` are columns that get one value in all rows; it may be an SQL expression.
    """
    if not rows:
        return
    table = table_of(entity)
    columns = [name for name in rows[0] if name != key]
    values = {name: bindparam(f"set_{name}", type_=table.c[name].type) for name in columns}
    statement = (
        update(table)
        .where(table.c[key] == bindparam(f"where_{key}", type_=table.c[key].type))
        .values({**values, **(same or {})})
    )
    parameters = [
        {f"where_{key}": row[key], **{f"set_{name}": row[name] for name in columns}} for row in rows
    ]
    connection = await session.connection()
    await connection.execute(statement, parameters)
