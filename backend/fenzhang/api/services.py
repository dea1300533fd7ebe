"""What routes work with, wired once per process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from fastapi import Request
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang import crashpoints
from fenzhang.api.auth import Tokens
from fenzhang.chain.deployments import Deployment
from fenzhang.chain.node import NodeClient
from fenzhang.chain.views import ChainView
from fenzhang.clearing.vault import Vault
from fenzhang.health.monitor import Monitor
from fenzhang.intake.actor import Actor
from fenzhang.intake.gathering import Asked, Gatherer
from fenzhang.intake.settlement import Answer
from fenzhang.intake.signatures import Network, SignatureUndecided, Verifier, contract_confirms
from fenzhang.intake.watcher import Watcher
from fenzhang.settings import Settings
from fenzhang.store.session import Database

T = TypeVar("T")
_CONTRACT_SIGNATURES = 2
"""At most so many signatures come in one request."""
REPLAYS = 2
"""What-ifs of one process at a time: each keeps a processor busy for seconds."""
BILLS = 2
"""Bills that one process makes at a time: each reads a whole day."""


@dataclass(slots=True)
class Services:
    """Database, node, contracts and settings of one API process."""

    settings: Settings
    database: Database
    node: NodeClient
    deployment: Deployment
    tokens: Tokens
    owned: Sequence[Database | NodeClient] = ()
    """What was opened for these services alone, and is closed with them."""
    checked: bool = field(default=False, init=False)
    """Whether a start was found possible. Whatever goes away after that is waited for, as by a running process."""
    watcher: Watcher = field(init=False)
    monitor: Monitor = field(init=False)
    gatherer: Gatherer = field(init=False)
    replays: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(REPLAYS), init=False)
    bills: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(BILLS), init=False)

    _vault: Vault | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.watcher = Watcher(self.database)
        self.monitor = Monitor(self.database, self.node, self.deployment, self.settings.max_queue)
        self.gatherer = Gatherer(self.database, Verifier(self.network))

    async def close(self) -> None:
        """Close what is owned."""
        for resource in self.owned:
            await resource.close()

    @property
    def network(self) -> Network:
        """What clients sign for."""
        at = self.deployment
        return Network(at.chain_id, at.split_ledger, at.rule_book, at.participant_registry, at.conditions)

    @property
    def vault(self) -> Vault:
        """Opens and seals bank accounts. Raises SecretUnreadable, InvalidInput for keys that are none."""
        if self._vault is None:
            self._vault = Vault.from_text(self.settings.bank_secret())
        return self._vault

    @property
    def chain(self) -> ChainView:
        """The contracts at the newest block."""
        return ChainView(self.node, self.deployment)

    async def write(self, work: Callable[[AsyncSession, Verifier], Awaitable[T]]) -> T:
        """Run `work` in a write transaction and commit. This is the request's boundary.

        A signature that only a contract can confirm is put to the node outside of any transaction; then `work` runs
        again, in a new one.
        """
        verifier = Verifier(self.network)
        for _ in range(_CONTRACT_SIGNATURES):
            try:
                return await self._write_once(work, verifier)
            except SignatureUndecided as undecided:
                if not await contract_confirms(self.node, undecided.question):
                    raise
                verifier = verifier.confirming(undecided.question)
        return await self._write_once(work, verifier)

    async def gather(self, actor: Actor, asked: Asked) -> list[Answer]:
        """Accept unsigned requests, together with others that come at the same time. Durable when it returns."""
        answers = await self.gatherer.accept(actor, asked)
        crashpoints.passed(crashpoints.AFTER_ACCEPT)
        return answers

    async def _write_once(
        self, work: Callable[[AsyncSession, Verifier], Awaitable[T]], verifier: Verifier
    ) -> T:
        async with self.database.write() as session:
            result = await work(session, verifier)
        crashpoints.passed(crashpoints.AFTER_ACCEPT)
        return result


def services_of(request: Request) -> Services:
    """The services of the application that handles `request`."""
    services: Services = request.app.state.services
    return services
