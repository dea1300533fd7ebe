"""What each part would do alone: the node, the database, the HTTP server."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

import asyncpg  # type: ignore[import-untyped]  # asyncpg ships no types
from sqlalchemy import URL

from fenzhang.bench.http import Connection, LoadFailed
from fenzhang.bench.load import BATCH, CLIENTS, LANES
from fenzhang.bench.market import Market, batch_body, capture_body, cut
from fenzhang.chain.node import NodeClient, SendStatus
from fenzhang.devnet import ephemeral_node
from fenzhang.store.session import PRAGMAS, Database
from fenzhang.store.tables import Base

_TOGETHER = 16
"""Transactions per JSON-RPC array, and per block of the node's ceiling."""
_PER_COMMIT = 10_000
"""Rows."""


# ------------------------------------------------------------------------------ node


@dataclass(frozen=True, slots=True)
class ReadyMade:
    """Raw transactions: what has to be on the chain first, block by block, and what is measured."""

    before: Sequence[Sequence[bytes]]
    measured: Sequence[bytes]
    splits: int


async def ready_made(node: NodeClient, first: int, splits: int) -> ReadyMade:
    """The transactions of the batches phase, which began after block `first`, and all of the chain before it.

    From the node: the database hears later than a split is settled what its transaction came to.
    """
    before = [await _raws(node, number) for number in range(1, first + 1)]
    after = [await _raws(node, number) for number in range(first + 1, await node.block_number() + 1)]
    return ReadyMade([raws for raws in before if raws], [raw for raws in after for raw in raws], splits)


async def _raws(node: NodeClient, number: int) -> list[bytes]:
    block = await node.request("eth_getBlockByNumber", hex(number), False)  # noqa: FBT003 -- positional
    calls = [("eth_getRawTransactionByHash", (tx_hash,)) for tx_hash in block["transactions"]]
    return [bytes.fromhex(str(raw)[2:]) for raw in await node.batch(calls)] if calls else []


async def gas_used(node: NodeClient, first: int, last: int) -> int:
    """Gas of the blocks from `first` to `last`."""
    total = 0
    for number in range(first, last + 1):
        block = await node.request("eth_getBlockByNumber", hex(number), False)  # noqa: FBT003 -- positional
        total += int(block["gasUsed"], 16)
    return total


async def node_rate(given: ReadyMade) -> float:
    """Splits per second of a fresh node that is fed and told to mine without a pause. Raises LoadFailed."""
    with ephemeral_node(automine=False) as running:
        async with NodeClient(running.url, timeout_s=300.0) as node:
            for block in given.before:
                await _send(node, block)
                await node.request("evm_mine")
            began = time.perf_counter()
            for start in range(0, len(given.measured), _TOGETHER):
                await _send(node, given.measured[start : start + _TOGETHER])
                await node.request("evm_mine")
            took = time.perf_counter() - began
            last = await node.block_number()
            gas = await gas_used(node, last - -(-len(given.measured) // _TOGETHER) + 1, last)
            if gas < given.splits * 21_000:
                raise LoadFailed(
                    f"the fresh node did not do what the first one did: {gas:,} gas for {given.splits:,} splits in "
                    f"{len(given.measured):,} transactions"
                )
    return given.splits / took


async def _send(node: NodeClient, raws: Sequence[bytes]) -> None:
    for result in await node.send_raw(raws):
        if result.status is SendStatus.REFUSED:
            raise LoadFailed(f"the fresh node refuses a transaction: {result.error}")


# ------------------------------------------------------------------------------ database


async def database_rate(source: Database, target: Database, splits: int) -> float:
    """Splits per second of a fresh database that is given all rows of `source` by its driver, table by table."""
    await target.upgrade()
    tables = [table.name for table in Base.metadata.sorted_tables]
    if source.is_sqlite:
        took = await asyncio.to_thread(_fill_sqlite, source.url.database, target.url.database, tables)
    else:
        took = await _fill_postgres(source.url, target.url, tables)
    return splits / took


def _fill_sqlite(source: str | None, target: str | None, tables: Sequence[str]) -> float:
    with closing(sqlite3.connect(source or "")) as reading, closing(sqlite3.connect(target or "")) as writing:
        for pragma in PRAGMAS:
            writing.execute(f"PRAGMA {pragma}")
        rows = {table: reading.execute(f"SELECT * FROM {table}").fetchall() for table in tables}  # noqa: S608 -- own names
        began = time.perf_counter()
        for table, content in rows.items():
            for start in range(0, len(content), _PER_COMMIT):
                piece = content[start : start + _PER_COMMIT]
                marks = ",".join("?" * len(piece[0]))
                writing.executemany(f"INSERT INTO {table} VALUES ({marks})", piece)  # noqa: S608 -- own names
                writing.commit()
        return time.perf_counter() - began


async def _fill_postgres(source: URL, target: URL, tables: Sequence[str]) -> float:
    reading, writing = [
        await asyncpg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False))
        for url in (source, target)
    ]
    try:
        rows = {table: await reading.fetch(f"SELECT * FROM {table}") for table in tables}  # noqa: S608 -- own names
        began = time.perf_counter()
        for table, content in rows.items():
            for start in range(0, len(content), _PER_COMMIT):
                piece = content[start : start + _PER_COMMIT]
                await writing.copy_records_to_table(table, records=piece, columns=list(piece[0].keys()))
        return time.perf_counter() - began
    finally:
        await reading.close()
        await writing.close()


# ------------------------------------------------------------------------------ HTTP


async def http_rates(market: Market, splits: int) -> tuple[float, float]:
    """Splits per second in batches, and single requests per second, of the server stack with an empty handler."""
    with _empty_server() as url:
        bodies = [batch_body(market, "empty", numbers) for numbers in cut(splits, BATCH)]
        took = await _post_all(url, bodies, LANES)
        body = f"{{{capture_body(market, 'empty', 0)}}}".encode("ascii")
        took_singly = await _post_all(url, [body] * splits, CLIENTS)
    return splits / took, splits / took_singly


async def _post_all(url: str, bodies: Sequence[bytes], clients: int) -> float:
    connections = [await Connection.open(url) for _ in range(clients)]
    left = iter(bodies)

    async def client(connection: Connection) -> None:
        for body in left:
            await connection.accept("/", body)

    began = time.perf_counter()
    await asyncio.gather(*map(client, connections))
    took = time.perf_counter() - began
    for connection in connections:
        connection.close()
    return took


@contextmanager
def _empty_server() -> Iterator[str]:
    command = [sys.executable, "-m", "fenzhang.bench.emptyserver"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            port = process.stdout.readline().strip() if process.stdout else ""
            if not port:
                raise LoadFailed("the server with the empty handler did not start")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
