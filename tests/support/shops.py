"""A platform with a rule and participants, for tests of clients."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

from fenzhang.audit.verification import AuditReport, verify
from fenzhang.chain.deployments import load
from fenzhang.chain.node import NodeClient
from fenzhang.chain.signer import LocalKey
from fenzhang.client import AsyncClient, Client, Credentials, NewOrder, PlatformKey
from fenzhang.domain.rules import Leg, LegKind
from fenzhang.testing.system import LocalSystem

FEE = [
    Leg(-1, LegKind.SHARE, 1_000, role="platform"),
    Leg(-1, LegKind.SHARE, 2_000, role="promoter"),
    Leg(-1, LegKind.REMAINDER, role="merchant"),
]
"""A tenth, a fifth, the rest."""


@dataclass(slots=True)
class Shop:
    """A platform that is ready for orders."""

    name: str
    system: LocalSystem
    credentials: Credentials
    key: LocalKey | None
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def client(self, key: LocalKey | None = None) -> Client:
        """A client of the platform."""
        return Client(self.system.api, self.credentials, key=self._platform_key(key))

    def async_client(self) -> AsyncClient:
        """The same for asyncio."""
        return AsyncClient(self.system.api, self.credentials, key=self._platform_key(None))

    def _platform_key(self, key: LocalKey | None) -> PlatformKey | None:
        signing = key or self.key
        return None if signing is None else PlatformKey(key=signing, platform=self.name, chain_id=20261)

    def order(self, amount: int = 1_000, *, promoter: str | None = "promoter-1") -> NewOrder:
        """An order that was never sent before."""
        bindings = {"platform": self.name, "merchant": "merchant-1"}
        return NewOrder(
            out_order_no=f"order-{next(self._numbers)}",
            out_rule_no="fee",
            merchant="merchant-1",
            currency="CNY",
            amount=amount,
            channel="sandbox",
            bindings=bindings if promoter is None else bindings | {"promoter": promoter},
        )


def open_shop(system: LocalSystem, name: str, key: LocalKey | None) -> Shop:
    """Enrol a platform with two participants, and put its rule in force."""
    shop = Shop(name, system, system.new_app(name, key), key)
    with shop.client() as client:
        system.enrol(client, ["merchant-1", "promoter-1"])
        system.put_rule_in_force(client, name, "fee", FEE)
    return shop


def verified(system: LocalSystem) -> AuditReport:
    """What an auditor finds in the node of a system."""

    async def ask() -> AuditReport:
        async with NodeClient(system.rpc) as node:
            return await verify(node, load(system.endpoints.deployment))

    return asyncio.run(ask())
