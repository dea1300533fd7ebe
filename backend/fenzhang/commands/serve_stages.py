"""`fenzhang serve submission`, `mirror` and `reconciliation`: the stages that run until they are told to end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

import uvloop

from fenzhang import crashpoints
from fenzhang.chain.breaker import Breaker
from fenzhang.chain.deployments import Deployment, load
from fenzhang.chain.node import NodeClient
from fenzhang.commands.settling import settle_in
from fenzhang.health.watching import watched
from fenzhang.settings import Settings
from fenzhang.stageloop import outlast
from fenzhang.store.session import Database
from fenzhang.telemetry import logs, traces

# What one stage works with, the others need not load.
if TYPE_CHECKING:
    from fenzhang.clearing.reconciliation.terms import Terms
    from fenzhang.submission.keyring import Keyring

Run = Callable[[asyncio.Event], Awaitable[None]]
Make = Callable[[Settings, Database, NodeClient, Deployment], Run]


def serve_submission(lanes: Sequence[int]) -> None:
    """Send pending instructions to the chain until SIGINT or SIGTERM, in these lanes or in all.

    Needs the submitter's key in the keystore. Of several processes for one key, one works and the others wait.
    """
    uvloop.run(serve(partial(_submission, lanes)))


def serve_mirror() -> None:
    """Follow the chain into rows and postings until SIGINT or SIGTERM.

    Of several processes, one works and the others wait.
    """
    uvloop.run(serve(_mirror))


def serve_reconciliation() -> None:
    """Compare instructions, ledger, chain and statements again and again until SIGINT or SIGTERM.

    Of several processes, one makes a comparison at a time.
    """
    uvloop.run(serve(_reconciliation))


def terms_of(settings: Settings) -> Terms:
    """What a reconciliation takes for late, by the settings."""
    from fenzhang.clearing.reconciliation.terms import Terms

    return Terms(
        overdue_blocks=settings.overdue_blocks,
        payout_line_days=settings.payout_line_days,
        statements_show_captures=settings.statements_show_captures,
    )


def _reconciliation(settings: Settings, database: Database, node: NodeClient, deployment: Deployment) -> Run:
    from fenzhang.clearing.reconciliation.chain import Chain
    from fenzhang.clearing.reconciliation.running import Reconciler
    from fenzhang.clearing.reconciliation.stage import ReconciliationStage

    reconciler = Reconciler(database, terms_of(settings), Chain(node, deployment))
    return ReconciliationStage(database, reconciler).run


def _submission(
    lanes: Sequence[int], settings: Settings, database: Database, node: NodeClient, deployment: Deployment
) -> Run:
    from fenzhang.submission.config import SubmissionConfig
    from fenzhang.submission.keyring import Keyring
    from fenzhang.submission.submitter import Submitter

    keyring = Keyring(deployment.chain_id, settings.keystore_secret())

    async def run(stop: asyncio.Event) -> None:
        numbers = lanes or await outlast("submission", partial(_all_lanes, database, keyring), stop) or ()
        config = SubmissionConfig(max_calldata_bytes=settings.max_calldata_bytes)
        submitters = [
            Submitter(database, node, deployment, keyring, config, lane=number) for number in numbers
        ]
        try:
            async with asyncio.TaskGroup() as group:
                for submitter in submitters:
                    group.create_task(submitter.run(stop))
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None

    return run


async def _all_lanes(database: Database, keyring: Keyring) -> range:
    """A lane for each key. Without any the first one says what is missing."""
    async with database.read() as session:
        return range(max(await keyring.count_submitters(session), 1))


def _mirror(_settings: Settings, database: Database, node: NodeClient, deployment: Deployment) -> Run:
    from fenzhang.mirror.mirror import Mirror

    return Mirror(database, node, deployment).run


async def serve(make: Make) -> None:
    """Run a stage by the settings of the environment. Raises what it stops for, and an outdated database's error."""
    settings = Settings.from_environment()
    logs.configure(settings.log, settings.log_level)
    traces.configure("stage")
    deployment = load(settings.deployment)
    crashpoints.arm(deployment.chain_id)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database(settings.database))
        await outlast("database", database.check, stop)
        node = await stack.enter_async_context(NodeClient(settings.rpc_url, breaker=Breaker()))
        await stack.enter_async_context(watched(settings, database, node, deployment))
        run = make(settings, database, node, deployment)
        settle_in()
        await run(stop)
