"""`fenzhang serve submission` and `fenzhang serve mirror`: the stages that run until they are told to end."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import uvloop

from fenzhang.chain.deployments import Deployment, load
from fenzhang.chain.node import NodeClient
from fenzhang.mirror.mirror import Mirror
from fenzhang.settings import Settings
from fenzhang.store.session import Database
from fenzhang.submission.keyring import Keyring
from fenzhang.submission.submitter import Submitter

Run = Callable[[asyncio.Event], Awaitable[None]]
Make = Callable[[Settings, Database, NodeClient, Deployment], Run]


def serve_submission() -> None:
    """Send pending instructions to the chain until SIGINT or SIGTERM.

    Needs the submitter's key in the keystore. Of several processes for one key, one works and the others wait.
    """
    uvloop.run(_serve(_submission))


def serve_mirror() -> None:
    """Follow the chain into rows and postings until SIGINT or SIGTERM.

    Of several processes, one works and the others wait.
    """
    uvloop.run(_serve(_mirror))


def _submission(settings: Settings, database: Database, node: NodeClient, deployment: Deployment) -> Run:
    keyring = Keyring(deployment.chain_id, settings.keystore_secret())
    return Submitter(database, node, deployment, keyring).run


def _mirror(_settings: Settings, database: Database, node: NodeClient, deployment: Deployment) -> Run:
    return Mirror(database, node, deployment).run


async def _serve(make: Make) -> None:
    """Run a stage by the settings of the environment. Raises what it stops for, and an outdated database's error."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # One line per request, several times a second.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    settings = Settings.from_environment()
    deployment = load(settings.deployment)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database(settings.database))
        await database.check()
        node = await stack.enter_async_context(NodeClient(settings.rpc_url))
        await make(settings, database, node, deployment)(stop)
