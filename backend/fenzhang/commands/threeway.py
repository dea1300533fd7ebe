"""`fenzhang reconcile --three-way`: instructions, ledger and chain, and the bank's statements against each other."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fenzhang.commands.nearby import deployment_file, node_url, say_which

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fenzhang.chain.views import ChainView
    from fenzhang.clearing.reconciliation.chain import Chain
    from fenzhang.clearing.reconciliation.running import Reconciler, Run
    from fenzhang.clearing.reconciliation.sides import Sides
    from fenzhang.clearing.reconciliation.telling import Count
    from fenzhang.settings import Settings
    from fenzhang.store.reconciliationtables import Comparison
    from fenzhang.store.session import Database

_WAIT_S = 30.0
"""For another process that compares."""
_PAUSE_S = 0.5


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says."""

    rpc: str | None
    deployment: Path | None
    at_close: bool
    with_chain: bool


@dataclass(frozen=True, slots=True)
class ThreeWay:
    """What came of it."""

    runs: Sequence[Run]
    sides: dict[str, Sides]
    breaks: Sequence[Count]
    open: int


def three_way(asked: Asked) -> ThreeWay:
    """Compare now. Raises FenzhangError when it cannot be done."""
    return asyncio.run(_three_way(asked))


async def _three_way(asked: Asked) -> ThreeWay:
    from fenzhang.clearing.reconciliation.running import Reconciler
    from fenzhang.clearing.reconciliation.sides import sides
    from fenzhang.clearing.reconciliation.telling import counts, open_count
    from fenzhang.commands.serve_stages import terms_of
    from fenzhang.settings import Settings
    from fenzhang.store.session import Database
    from fenzhang.store.snapshots import freeze

    settings = Settings.from_environment()
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database(settings.database))
        await database.check()
        chain = await _chain(settings, asked, stack) if asked.with_chain else None
        reconciler = Reconciler(database, terms_of(settings), chain)
        try:
            runs = [
                await _run(reconciler, comparison, at_close=asked.at_close)
                for comparison in reconciler.comparisons
            ]
        finally:
            await reconciler.release()
        view = None if chain is None else await _view(database, chain)
        async with database.read() as session:
            await freeze(session)
            return ThreeWay(
                runs, await sides(session, view), await counts(session), await open_count(session)
            )


async def _chain(settings: Settings, asked: Asked, stack: AsyncExitStack) -> Chain:
    from fenzhang.chain.deployments import load
    from fenzhang.chain.node import NodeClient
    from fenzhang.clearing.reconciliation.chain import Chain

    node = await stack.enter_async_context(NodeClient(node_url(settings, asked.rpc)))
    file = await deployment_file(settings, asked.deployment, node)
    say_which(settings, node, asked.rpc, file, asked.deployment)
    return Chain(node, load(file))


async def _run(reconciler: Reconciler, comparison: Comparison, *, at_close: bool) -> Run:
    """A run, after another process's if there is one."""
    from fenzhang.clearing.reconciliation.errors import ReconciliationBusy

    until = time.monotonic() + _WAIT_S
    while True:
        try:
            return await reconciler.run(comparison, at_close=at_close)
        except ReconciliationBusy:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(_PAUSE_S)


async def _view(database: Database, chain: Chain) -> ChainView:
    """The contracts at the mirror's checkpoint."""
    from sqlalchemy import select

    from fenzhang.chain.views import ChainView
    from fenzhang.store.tables import Block

    async with database.read() as session:
        newest = select(Block.hash).order_by(Block.number.desc()).limit(1)
        block_hash: bytes = (await session.execute(newest)).scalar_one()
    return ChainView(chain.node, chain.deployment, "0x" + block_hash.hex())


def as_json(found: ThreeWay) -> dict[str, object]:
    """As one JSON object."""
    return {
        "runs": [
            {
                "comparison": run.comparison.value,
                "at_close": run.at_close,
                "looked_at": run.looked_at,
                "matched": run.matched,
                "breaks": run.seen,
                "opened": [row.id for row in run.registered.opened],
                "resolved": [row.id for row in run.registered.resolved],
            }
            for run in found.runs
        ],
        "currencies": {currency: asdict(each) for currency, each in found.sides.items()},
        "breaks": [asdict(each) | {"age_s": int(time.time()) - each.oldest} for each in found.breaks],
        "open": found.open,
    }


def print_text(found: ThreeWay) -> None:
    """For people."""
    from fenzhang.commands.breaks import age_text, money_text

    for currency, each in found.sides.items():
        typer.echo(currency)
        for name, values in asdict(each).items():
            shown = ", ".join(
                f"{what} {value if what.startswith('lines') else money_text(value, currency)}"
                for what, value in values.items()
            )
            typer.echo(f"  {name}: {shown or 'nothing'}")
    for run in found.runs:
        changed = f"{len(run.registered.opened)} new, {len(run.registered.resolved)} gone"
        how = "all" if run.at_close else "what is new"
        typer.echo(
            f"{run.comparison} ({how}): looked at {run.looked_at}, matched {run.matched}, "
            f"{run.seen} breaks, {changed}"
        )
    now = int(time.time())
    for count in found.breaks:
        amount = (
            "" if count.amount is None or count.currency is None else money_text(count.amount, count.currency)
        )
        parts = [f"{count.kind}: {count.count}", amount, count.owner, age_text(now - count.oldest)]
        typer.echo("  ".join(part for part in parts if part))
    typer.echo(f"{found.open} breaks are open" if found.open else "no break is open")
