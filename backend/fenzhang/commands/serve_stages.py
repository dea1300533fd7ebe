"""`fenzhang serve submission` and `fenzhang serve mirror`: the stages that run until they are told to end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial

import uvloop

from fenzhang import crashpoints
from fenzhang.chain.breaker import Breaker
from fenzhang.chain.deployments import Deployment, load
from fenzhang.chain.node import NodeClient
from fenzhang.commands.settling import settle_in
from fenzhang.health.watching import watched
from fenzhang.mirror.mirror import Mirror
from fenzhang.settings import Settings
from fenzhang.stageloop import outlast
from fenzhang.store.session import Database
from fenzhang.submission.config import SubmissionConfig
from fenzhang.submission.keyring import Keyring
from fenzhang.submission.submitter import Submitter
from fenzhang.telemetry import logs, traces

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


def _submission(
    lanes: Sequence[int], settings: Settings, database: Database, node: NodeClient, deployment: Deployment
) -> Run:
    keyring = Keyring(deployment.chain_id, settings.keystore_secret())

    async def run(stop: asyncio.Event) -> None:
        async with database.read() as session:
            count = await keyring.count_submitters(session)
        # Without any key the first lane says what is missing.
        numbers = lanes or range(max(count, 1))
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


def _mirror(_settings: Settings, database: Database, node: NodeClient, deployment: Deployment) -> Run:
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
