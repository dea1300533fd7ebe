"""`fenzhang serve clearing`: the process that closes cycles."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from functools import cache, partial

import uvloop

from fenzhang.chain.deployments import Deployment
from fenzhang.chain.node import NodeClient
from fenzhang.clearing.banks.httpsignatory import HttpSignatory
from fenzhang.clearing.banks.signatory import LocalSignatory, Signatory
from fenzhang.clearing.calendars import schemes_of
from fenzhang.clearing.cycles.closer import Clearing, Closer
from fenzhang.clearing.cycles.config import ClosingConfig
from fenzhang.clearing.cycles.paying import Payer
from fenzhang.clearing.formats import FORMATS
from fenzhang.clearing.vault import Vault
from fenzhang.commands.serve_stages import Run, serve
from fenzhang.domain.schemes import Schemes
from fenzhang.settings import Settings
from fenzhang.stageloop import outlast
from fenzhang.store import keys
from fenzhang.store.session import Database
from fenzhang.submission.keyring import Keyring


def serve_clearing() -> None:
    """Close cycles until SIGINT or SIGTERM. Of several processes, one works and the others wait."""
    uvloop.run(serve(_clearing))


def _clearing(settings: Settings, database: Database, _node: NodeClient, deployment: Deployment) -> Run:
    vault = Vault.from_text(settings.prepared().bank_secret())
    payer = Payer(settings.bank_name, FORMATS[settings.bank_format], vault)
    config = ClosingConfig(depth=settings.clearing_depth, max_calldata_bytes=settings.max_calldata_bytes)

    @cache
    def terms(currency: str) -> Schemes:
        """Read once: what a running process closes by does not change under it."""
        return schemes_of(currency, settings.calendars)

    async def run(stop: asyncio.Event) -> None:
        async with AsyncExitStack() as stack:
            attempt = partial(_signatory, settings, database, deployment, stack)
            signatory = await outlast("clearing", attempt, stop)
            if signatory is None:
                return
            clearing = Clearing(
                signatory=signatory,
                schemes_of=terms,
                payer=payer,
                zone_of=settings.zone_of,
                bill_depth=settings.bill_depth,
                clock=time.time,
            )
            await Closer(database, clearing, config).run(stop)

    return run


async def _signatory(
    settings: Settings, database: Database, deployment: Deployment, stack: AsyncExitStack
) -> Signatory:
    """The clearing bank over HTTP, or its key in the keystore. Raises SigningKeyMissing."""
    domain = deployment.clearing_domain()
    if settings.signatory_url:
        return await stack.enter_async_context(HttpSignatory(settings.signatory_url, domain))
    keyring = Keyring(deployment.chain_id, settings.keystore_secret())
    async with database.read() as session:
        return LocalSignatory(await keyring.get(session, keys.CLEARING_BANK), domain)
