"""Orders through the real API, in batches or one by one, and the feed of completions that says what became of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from fenzhang.bench.figures import Load, latency_of
from fenzhang.bench.http import Connection, LoadFailed
from fenzhang.bench.market import Market, batch_body, capture_body, cut, split_body

BATCH = 200
"""Orders of one request; each is captured and split in it."""
LANES = 4
"""Requests with batches under way at a time."""
CLIENTS = 64
"""Clients that send one request at a time."""
WINDOW = 6_000
"""Orders that are sent and not settled: whoever sends batches waits when there are more."""
STALL_S = 60.0
_PAGE = 1_000
_POLL_S = 5


@dataclass(slots=True)
class Following:
    """Follows the feed. `settled` is when each split was seen SETTLED, by reference and this process's clock."""

    connection: Connection
    settled: dict[str, float] = field(default_factory=dict)
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    cursor: int = 0

    async def run(self) -> None:
        """Read until cancelled. Raises LoadFailed for a split that was rejected."""
        while True:
            page = await self.connection.get(
                f"/v1/completions?after={self.cursor}&limit={_PAGE}&wait={_POLL_S}"
            )
            now = time.perf_counter()
            self.cursor = page["next"]
            for completion in page["completions"]:
                instruction = completion["instruction"]
                if completion["state"] == "REJECTED":
                    raise LoadFailed(f"an instruction was rejected: {instruction['reason']}")
                if instruction["type"] == "SPLIT":
                    self.settled[instruction["out_split_no"]] = now
            self.moved.set()

    async def wait_for(self, count: int) -> None:
        """Until so many splits are settled. Raises LoadFailed when nothing moves any more."""
        while len(self.settled) < count:
            self.moved.clear()
            before = len(self.settled)
            try:
                async with asyncio.timeout(STALL_S):
                    while len(self.settled) == before:
                        self.moved.clear()
                        await self.moved.wait()
            except TimeoutError:
                raise LoadFailed(f"nothing settled for {STALL_S:g} s, {count - before} are missing") from None


@asynccontextmanager
async def following(api: str, market: Market) -> AsyncIterator[Following]:
    """Follow the feed while the block runs, from what is settled when it begins."""
    found = Following(await Connection.open(api, market.token))
    while True:
        page = await found.connection.get(f"/v1/completions?after={found.cursor}&limit={_PAGE}")
        if not page["completions"]:
            break
        found.cursor = page["next"]
    reading = asyncio.create_task(found.run())
    owner = asyncio.current_task()

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None and owner is not None:
            owner.cancel()

    reading.add_done_callback(ended)
    try:
        yield found
    except asyncio.CancelledError:
        error = reading.exception() if reading.done() and not reading.cancelled() else None
        if error is not None:
            raise error from None
        raise
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        found.connection.close()


@dataclass(slots=True)
class _Sent:
    """When orders were accepted, by reference, and what was asked for that."""

    began: float
    accepted: dict[str, float] = field(default_factory=dict)
    requests: int = 0
    ended: float = 0.0

    def load(self, settled: dict[str, float], offered: float | None) -> Load:
        return Load(
            splits=len(self.accepted),
            requests=self.requests,
            seconds=max(settled[name] for name in self.accepted) - self.began,
            accept_seconds=self.ended - self.began,
            # Settled before the 202 was read: both happened at once.
            latency=latency_of([max(0.0, settled[name] - at) for name, at in self.accepted.items()]),
            offered=offered,
        )


async def batches(
    api: str,
    market: Market,
    name: str,
    count: int,
    *,
    rate: float | None = None,
    moments: list[float] | None = None,
) -> Load:
    """Send `count` orders in requests of BATCH: as fast as they settle, or `rate` orders per second by the clock.

    `moments` takes up when each split was settled, in order.
    """
    connections = [await Connection.open(api, market.token) for _ in range(LANES)]
    async with following(api, market) as feed:
        sent = _Sent(time.perf_counter())
        pieces = enumerate(cut(count, BATCH))

        async def lane(connection: Connection) -> None:
            for place, numbers in pieces:
                if rate is not None:
                    await _until(sent.began + place * BATCH / rate)
                else:
                    await feed.wait_for(numbers.start - WINDOW)
                await connection.accept("/v1/instructions/batch", batch_body(market, name, numbers))
                now = time.perf_counter()
                sent.accepted |= {f"{name}-{number}": now for number in numbers}
                sent.requests += 1

        await asyncio.gather(*map(lane, connections))
        sent.ended = time.perf_counter()
        await feed.wait_for(count)
        for connection in connections:
            connection.close()
        if moments is not None:
            moments += sorted(feed.settled.values())
        return sent.load(feed.settled, rate)


async def singles(api: str, market: Market, name: str, count: int, *, rate: float | None = None) -> Load:
    """CLIENTS clients send `count` orders, a request for the capture and one for the split of each."""
    connections = [await Connection.open(api, market.token) for _ in range(CLIENTS)]
    async with following(api, market) as feed:
        sent = _Sent(time.perf_counter())
        numbers = iter(range(count))

        async def client(connection: Connection) -> None:
            for number in numbers:
                if rate is not None:
                    await _until(sent.began + number / rate)
                else:
                    await feed.wait_for(number - WINDOW)
                reference = f"{name}-{number}"
                await connection.accept("/v1/orders", _braces(capture_body, market, reference, number))
                await connection.accept("/v1/splits", _braces(split_body, market, reference, number))
                sent.accepted[reference] = time.perf_counter()
                sent.requests += 2

        await asyncio.gather(*map(client, connections))
        sent.ended = time.perf_counter()
        await feed.wait_for(count)
        for connection in connections:
            connection.close()
        return sent.load(feed.settled, rate)


def _braces(body: Callable[[Market, str, int], str], market: Market, reference: str, number: int) -> bytes:
    return f"{{{body(market, reference, number)}}}".encode("ascii")


async def _until(moment: float) -> None:
    await asyncio.sleep(max(0.0, moment - time.perf_counter()))
