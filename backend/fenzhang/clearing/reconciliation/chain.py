"""The ledger against the chain: what `ledger.reconcile` finds, as breaks."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select

from fenzhang.chain.deployments import Deployment
from fenzhang.chain.node import NodeClient
from fenzhang.clearing.reconciliation.comparing import Compared, Context
from fenzhang.clearing.reconciliation.model import kind_of, sighting_of
from fenzhang.ledger.differences import ACCOUNT_CHECKS
from fenzhang.ledger.reconcile import Reconciliation, reconciliation
from fenzhang.store.tables import Record


@dataclass(frozen=True, slots=True)
class Chain:
    """Where the chain is."""

    node: NodeClient
    deployment: Deployment


async def compare(context: Context, chain: Chain) -> Compared:
    """Balances and positions, if anything was recorded since the last run; at close everything that was ever recorded.

    Raises what `reconciliation` does.
    """
    compared = Compared(covers=lambda _row: True, position=context.position)
    async with context.database.read() as session:
        newest = (await session.execute(select(func.max(Record.block_number)))).scalar() or 0
    if newest == context.position and not context.at_close:
        compared.covers = lambda _row: False
        return compared
    result = await _reconciliation(context, chain)
    compared.sightings = [sighting_of(each) for each in result.differences]
    compared.looked_at = result.accounts + result.orders + result.batches
    compared.position = newest
    if not context.at_close:
        looked_for = {kind_of(check) for check in ACCOUNT_CHECKS}
        compared.covers = lambda row: row.kind in looked_for
    return compared


async def _reconciliation(context: Context, chain: Chain) -> Reconciliation:
    """It takes as long as there are records, and the lease must last."""
    async with context.staying():
        return await reconciliation(
            context.database, chain.node, chain.deployment, accounts_only=not context.at_close
        )
