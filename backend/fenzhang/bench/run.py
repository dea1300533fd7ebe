"""One run: a fresh system, every phase once, and the figures."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import func, select

from fenzhang.bench import load
from fenzhang.bench.baseline import baseline
from fenzhang.bench.books import measure_books
from fenzhang.bench.catchup import catch_up
from fenzhang.bench.ceilings import database_rate, gas_used, http_rates, node_rate, ready_made
from fenzhang.bench.databases import Databases
from fenzhang.bench.figures import Books, Ceilings, Figures, Growth, Load
from fenzhang.bench.market import Market, open_markets
from fenzhang.bench.processes import cpu_seconds, sampling, standing_still, system_processes
from fenzhang.chain.deployments import load as load_deployment
from fenzhang.chain.node import NodeClient
from fenzhang.local.spawned import spawned_system
from fenzhang.local.supervisor import Endpoints, UpOptions
from fenzhang.store.session import Database
from fenzhang.store.tables import Block

_HALF = 0.5
_SHORTEST_S = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """How much is sent. `orders` is for the batches at full load, and for the single requests."""

    orders: int
    growth: int
    baseline: int
    postings: int
    block_time_s: float = 1.0

    @property
    def half(self) -> int:
        """Orders of a phase at half load."""
        return max(load.BATCH, self.orders // 2)


@dataclass(slots=True)
class Bench:
    """One run in `folder`. `say` hears what is measured next."""

    folder: Path
    options: BenchOptions
    databases: Databases
    say: Callable[[str], None]

    async def run(self) -> Figures:
        """Measure everything. Raises what the parts raise; LoadFailed when something did not settle."""
        home = self.folder / "system"
        shutil.rmtree(home, ignore_errors=True)
        url = await self.databases.make("fenzhang_bench")
        self.say("starting a fresh node, API, submission and mirror")
        system = UpOptions(
            home=home,
            port=0,
            node_port=0,
            block_time_s=self.options.block_time_s,
            database_url=url,
            # Nodes keep their chain bit by bit. anvil writes all of it anew each time, and that is not to be measured.
            snapshots=False,
        )
        with spawned_system(system) as endpoints:
            async with Database(url) as database, NodeClient(endpoints.rpc, 300.0) as node:
                return await self._measure(endpoints, database, node)

    async def _measure(self, endpoints: Endpoints, database: Database, node: NodeClient) -> Figures:
        options, api = self.options, endpoints.api
        self.say("enrolling two platforms, a hundred recipients, two rules")
        market, own = await open_markets(endpoints)
        before = await node.block_number()
        self.say(f"batches: {options.orders:,} orders in requests of {load.BATCH}")
        batches = await self._costed(endpoints, load.batches(api, market, "batch", options.orders))
        gas = await gas_used(node, before + 1, await node.block_number()) / options.orders
        ceilings = await self._ceilings(endpoints, database, node, market, before)
        self.say(f"batches at half load: {options.half:,} orders")
        rate = _HALF * batches.rate
        batches_half = await self._costed(
            endpoints, load.batches(api, market, "batch-half", options.half, rate=rate)
        )
        self.say(f"single requests of {load.CLIENTS} clients: {options.orders:,} orders")
        singles = await self._costed(endpoints, load.singles(api, market, "single", options.orders))
        self.say(f"single requests at half load: {options.half:,} orders")
        rate = _HALF * singles.rate
        singles_half = await self._costed(
            endpoints, load.singles(api, market, "single-half", options.half, rate=rate)
        )
        slow = await self._baseline(endpoints, own)
        growth = await self._growth(endpoints, database, node, market)
        books = await self._books(endpoints)
        return Figures(
            batches=batches,
            batches_half=batches_half,
            singles=singles,
            singles_half=singles_half,
            baseline=slow,
            ceilings=ceilings,
            growth=growth,
            books=books,
            gas_per_split=gas,
            block_time_s=options.block_time_s,
        )

    async def _costed(self, endpoints: Endpoints, phase: Awaitable[Load]) -> Load:
        """The phase, with the processor time that it took."""
        processes = system_processes(endpoints.home)
        before = cpu_seconds(processes)
        found = await phase
        after = cpu_seconds(processes)
        return replace(
            found,
            cpu_us={
                name: 1e6 * (after[name] - before[name]) / found.splits for name in before if name in after
            },
        )

    async def _ceilings(
        self, endpoints: Endpoints, database: Database, node: NodeClient, market: Market, before: int
    ) -> Ceilings:
        splits = self.options.orders
        self.say("ceilings: the node, the database and the HTTP server, each alone")
        with standing_still(system_processes(endpoints.home)):
            on_node = await node_rate(await ready_made(node, before, splits))
            async with Database(await self.databases.make("fenzhang_bench_ceiling")) as target:
                in_database = await database_rate(database, target, splits)
            in_batches, singly = await http_rates(market, splits)
        return Ceilings(node=on_node, database=in_database, http_batches=in_batches, http_requests=singly)

    async def _baseline(self, endpoints: Endpoints, own: Market) -> Load:
        count = self.options.baseline
        self.say(f"baseline: {count:,} orders with AsyncWeb3, a transaction each")
        rows = self.folder / "baseline.db"
        for suffix in ("", "-wal", "-shm"):
            rows.with_name(rows.name + suffix).unlink(missing_ok=True)
        with standing_still(system_processes(endpoints.home)):
            return await baseline(endpoints.rpc, load_deployment(endpoints.deployment), own, count, rows)

    async def _growth(
        self, endpoints: Endpoints, database: Database, node: NodeClient, market: Market
    ) -> Growth:
        count = self.options.growth
        self.say(f"growth: {count:,} orders in batches")
        await _until_mirrored(database, await node.block_number())
        async with sampling(system_processes(endpoints.home)) as memory:
            moments: list[float] = []
            grown = await load.batches(endpoints.api, market, "growth", count, moments=moments)
        began = moments[-1] - grown.seconds
        fifth = count // 5
        head = await node.block_number()
        await _until_mirrored(database, head)
        self.say(f"catch-up: a fresh mirror reads {head:,} blocks")
        with standing_still(system_processes(endpoints.home)):
            splits, seconds = await catch_up(
                endpoints,
                head,
                await self.databases.make("fenzhang_bench_catch_up"),
                self.folder / "catch-up.log",
            )
        return Growth(
            splits=count,
            rate=grown.rate,
            first_fifth=_rate(fifth, moments[fifth - 1] - began),
            last_fifth=_rate(fifth, moments[-1] - moments[-1 - fifth]),
            memory=memory.between(began, moments[-1]),
            catch_up_splits=splits,
            catch_up_seconds=seconds,
        )

    async def _books(self, endpoints: Endpoints) -> Books:
        self.say(f"a ledger with {self.options.postings:,} postings")
        with standing_still(system_processes(endpoints.home)):
            return await measure_books(
                await self.databases.make("fenzhang_bench_books"), self.options.postings
            )


def _rate(count: int, seconds: float) -> float:
    """Per second; splits of one block are seen at one moment, which in a tiny run is all there is."""
    return count / max(seconds, _SHORTEST_S)


async def _until_mirrored(database: Database, number: int) -> None:
    """Until the system's own mirror has block `number`: the baseline's orders are on the chain as well."""
    while True:
        async with database.read() as session:
            newest = (await session.execute(select(func.max(Block.number)))).scalar() or 0
        if newest >= number:
            return
        await asyncio.sleep(0.1)
