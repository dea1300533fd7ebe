"""Many rows in few statements, handed to the driver as tuples.

SQLAlchemy's own way of binding costs more per row than the database does. Here the statement is written once per table
and set of columns, and of the values only JSON is converted: the drivers take everything else as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from operator import itemgetter
from typing import Any, TypeVar, cast

from sqlalchemy import JSON, Table
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.store.tables import Base

T = TypeVar("T")
Converter = Callable[[Any], Any]
_POSTGRESQL = "postgresql"
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
    """Insert rows that all name the same columns; the others become NULL."""
    if rows:
        columns = tuple(rows[0])
        await insert_tuples(session, entity, columns, _tuples(rows, columns))


async def insert_tuples(
    session: AsyncSession, entity: type[Base], columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Insert rows that are tuples in the order of `columns`; the other columns become NULL."""
    table = table_of(entity)
    dialect = session.get_bind().dialect
    if dialect.name != _POSTGRESQL:
        await _execute(session, table, _insert(table, columns), columns, rows)
    elif rows:
        # A statement per row costs the server several times what the row does.
        connection = await session.connection()
        arrays = tuple(map(list, zip(*_bound(table, columns, rows, connection.dialect), strict=True)))
        await connection.exec_driver_sql(_insert_arrays(table, columns, dialect), arrays)


async def update_rows(
    session: AsyncSession,
    entity: type[Base],
    key: str,
    rows: Sequence[dict[str, Any]],
) -> None:
    """Set the columns that each row names, where column `key` has the row's value. All rows name the same columns."""
    if rows:
        columns = (*(name for name in rows[0] if name != key), key)
        await update_tuples(session, entity, columns, _tuples(rows, columns))


async def update_tuples(
    session: AsyncSession, entity: type[Base], columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]]
) -> None:
    """The same for rows that are tuples in the order of `columns`, of which the last is the key."""
    table = table_of(entity)
    statement = _update(table, columns, session.get_bind().dialect.name)
    await _execute(session, table, statement, columns, rows)


async def _execute(
    session: AsyncSession,
    table: Table,
    statement: str,
    columns: tuple[str, ...],
    rows: Sequence[tuple[Any, ...]],
) -> None:
    if not rows:
        return
    connection = await session.connection()
    await connection.exec_driver_sql(statement, list(_bound(table, columns, rows, connection.dialect)))


def _bound(
    table: Table, columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]], dialect: Dialect
) -> Sequence[tuple[Any, ...]]:
    """Rows as the driver takes them."""
    converters = [(columns.index(name), _converter(table, name, dialect)) for name in _json(table, columns)]
    return [_converted(row, converters) for row in rows] if converters else rows


def _tuples(rows: Sequence[dict[str, Any]], columns: tuple[str, ...]) -> list[tuple[Any, ...]]:
    if len(columns) == 1:
        return [(row[columns[0]],) for row in rows]
    return list(map(itemgetter(*columns), rows))


def _converted(row: tuple[Any, ...], converters: Sequence[tuple[int, Converter]]) -> tuple[Any, ...]:
    values = list(row)
    for place, convert in converters:
        if values[place] is not None:  # by itself the type would make it JSON's null
            values[place] = convert(values[place])
    return tuple(values)


@cache
def _json(table: Table, columns: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in columns if isinstance(table.c[name].type, JSON))


@cache
def _converter(table: Table, column: str, dialect: Dialect) -> Converter:
    found = table.c[column].type.dialect_impl(dialect).bind_processor(dialect)
    if found is None:
        raise LookupError(f"{table.name}.{column} needs no conversion")
    return found


@cache
def _insert(table: Table, columns: tuple[str, ...]) -> str:
    marks = ", ".join("?" for _ in columns)
    return f"INSERT INTO {table.name} ({_names(columns)}) VALUES ({marks})"  # noqa: S608 -- names of the tables' own


@cache
def _insert_arrays(table: Table, columns: tuple[str, ...], dialect: Dialect) -> str:
    """PostgreSQL's: an array per column. Rows are inserted, and numbered, in their order."""
    types = [table.c[name].type for name in columns]
    arrays = [
        f"${place}::{'text' if isinstance(kind, JSON) else kind.compile(dialect)}[]"
        for place, kind in enumerate(types, start=1)
    ]
    values = [
        f'given."{name}"::json' if isinstance(kind, JSON) else f'given."{name}"'
        for name, kind in zip(columns, types, strict=True)
    ]
    names = _names(columns)
    return (
        f"INSERT INTO {table.name} ({names}) SELECT {', '.join(values)} "  # noqa: S608 -- as above
        f"FROM unnest({', '.join(arrays)}) AS given({names})"
    )


@cache
def _update(table: Table, columns: tuple[str, ...], dialect: str) -> str:
    """The last of `columns` is the key."""
    marks = _marks(len(columns), dialect)
    values = ", ".join(f'"{name}" = {mark}' for name, mark in zip(columns[:-1], marks, strict=False))
    return f'UPDATE {table.name} SET {values} WHERE "{columns[-1]}" = {marks[-1]}'  # noqa: S608 -- as above


def _names(columns: tuple[str, ...]) -> str:
    """Quoted, because SQLite knows some of them as words of its own."""
    return ", ".join(f'"{name}"' for name in columns)


def _marks(count: int, dialect: str) -> list[str]:
    return [f"${place}" if dialect == _POSTGRESQL else "?" for place in range(1, count + 1)]
