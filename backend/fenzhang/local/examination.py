"""Everything that can be checked about a running system: its ledger, the ledger against the chain, the chain."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from fenzhang.audit.verification import AuditReport, verify
from fenzhang.chain.deployments import load
from fenzhang.chain.node import NodeClient
from fenzhang.ledger.balances import KindSums, by_kind, trial_balance
from fenzhang.ledger.reconcile import Reconciliation, reconciliation
from fenzhang.local.supervisor import Endpoints
from fenzhang.settings import Settings
from fenzhang.store.session import Database

_NODE_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What was found, and how many seconds each part took."""

    trial_balance: list[KindSums]
    reconciliation: Reconciliation
    audit: AuditReport
    seconds: dict[str, float]

    @property
    def balanced(self) -> bool:
        """Whether debits are credits in every currency."""
        sums: defaultdict[str, int] = defaultdict(int)
        for row in self.trial_balance:
            sums[row.currency] += row.debit - row.credit
        return not any(sums.values())

    @property
    def clean(self) -> bool:
        """Whether nothing at all was found."""
        return self.balanced and not self.reconciliation.differences and self.audit.held

    def to_json(self) -> dict[str, Any]:
        """Plain values; amounts are minor units."""
        return {
            "trial_balance": [
                {
                    "currency": row.currency,
                    "kind": row.kind.value,
                    "accounts": row.accounts,
                    "debit": row.debit,
                    "credit": row.credit,
                }
                for row in self.trial_balance
            ],
            "reconcile": {
                "clean": not self.reconciliation.differences,
                "block": self.reconciliation.block_number,
                "orders": self.reconciliation.orders,
                "accounts": self.reconciliation.accounts,
                "differences": [str(difference) for difference in self.reconciliation.differences],
            },
            "verify": self.audit.to_json(),
        }


async def examine(endpoints: Endpoints, settings: Settings) -> Examination:
    """Look at everything. Raises what the parts raise when they cannot look."""
    deployment = load(endpoints.deployment)
    async with (
        Database(settings.database) as database,
        NodeClient(endpoints.rpc, _NODE_TIMEOUT_S) as node,
    ):
        began = time.monotonic()
        async with database.read() as session:
            rows = await trial_balance(session)
        balanced = time.monotonic()
        reconciled = await reconciliation(database, node, deployment)
        compared = time.monotonic()
        audit = await verify(node, deployment)
        verified = time.monotonic()
    return Examination(
        trial_balance=by_kind(rows),
        reconciliation=reconciled,
        audit=audit,
        seconds={
            "trial balance": balanced - began,
            "reconcile": compared - balanced,
            "verify": verified - compared,
        },
    )
