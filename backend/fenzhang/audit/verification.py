"""The whole verification: read the history, replay it, compare what the contracts hold, and say what was found."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fenzhang.audit.clearing import check_clearing
from fenzhang.audit.contracts import check_code, check_contracts, check_wiring
from fenzhang.audit.differences import COUNTED, Area, Difference, Findings, area_of
from fenzhang.audit.errors import ChainMoved, OrderNotOnChain, PayoutNotOnChain
from fenzhang.audit.model import Model
from fenzhang.audit.reading import HistoryReader
from fenzhang.audit.records import check_currencies, check_orders
from fenzhang.audit.replay import Replay
from fenzhang.audit.state import StateReader
from fenzhang.audit.storage import Held, StorageCheck
from fenzhang.audit.stories import Focus, PayoutStory, Story
from fenzhang.chain.answers import BlockHeader
from fenzhang.chain.deployments import Deployment
from fenzhang.chain.errors import RpcError
from fenzhang.chain.node import NodeClient
from fenzhang.domain.records import Capture
from fenzhang.domain.schedules import SCHEDULE

ATTEMPTS = 3
"""How often the state is asked for at the newest block, in case the node forgets it while it answers."""


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What was checked up to a block, and every difference found."""

    chain_id: int
    block: BlockHeader
    differences: tuple[Difference, ...]
    elsewhere: int
    """Differences that do not concern the order or payout that was asked for, and are not listed."""
    counts: dict[str, int]
    currencies: dict[str, Held]
    stories: tuple[Story, ...]
    payouts: tuple[PayoutStory, ...]
    seconds: float

    @property
    def held(self) -> bool:
        """Whether all that was asked for is as it must be."""
        return not self.differences

    def differences_in(self, area: Area) -> int:
        """Number of differences in one part of the verification."""
        return sum(area_of(each.code) is area for each in self.differences)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values; amounts are minor units, times Unix seconds."""
        currencies = {
            currency: {
                "captured": money.captured,
                "held": money.held,
                "positions": money.payable,
                "in_transit": money.in_transit,
                "paid": money.paid,
                "refunded": money.refunded,
                "conserved": money.is_conserved,
            }
            for currency, money in sorted(self.currencies.items())
        }
        return {
            "held": self.held,
            "chain_id": self.chain_id,
            "block": {"number": self.block.number, "hash": "0x" + self.block.hash.hex()},
            "checked": self.counts,
            "currencies": currencies,
            "differences": [each.to_json() for each in self.differences],
            "differences_elsewhere": self.elsewhere,
            "orders": [story.to_json() for story in self.stories],
            "payouts": [story.to_json() for story in self.payouts],
            "seconds": round(self.seconds, 3),
        }


def _silent(_done: int, _last: int) -> None:
    """Show no progress."""


@dataclass(slots=True)
class Verification:
    """One reading of a deployment's whole history through one node. With `silent`, also what left no event."""

    node: NodeClient
    deployment: Deployment
    focus: Focus
    progress: Callable[[int, int], None]
    silent: bool
    findings: Findings = field(default_factory=Findings)

    async def run(self) -> AuditReport:
        """Verify everything up to the newest block. Raises as `verify` does."""
        began = time.monotonic()
        await check_code(self.node, self.deployment, self.findings)
        model = Model(self.deployment, focus=self.focus)
        replay = Replay.of(model, self.findings, self.node)
        reader = HistoryReader(self.node, self.deployment, self.findings, self.silent)
        head, storage = await self._compare(model, replay, reader)
        check_orders(model, self.findings)
        check_currencies(model, self.findings)
        check_clearing(model, self.findings)
        differences = tuple(self.findings.differences)
        stories, payouts = tuple(self._stories(model)), tuple(self._payouts(model))
        told: list[Story | PayoutStory] = [*stories, *payouts]
        concerned = tuple(each for each in differences if not told or concerns(each, told))
        return AuditReport(
            chain_id=self.deployment.chain_id,
            block=head,
            differences=concerned,
            elsewhere=len(differences) - len(concerned),
            counts={what: self.findings.counts[what] for whats in COUNTED.values() for what in whats},
            currencies=dict(storage.currencies),
            stories=stories,
            payouts=payouts,
            seconds=time.monotonic() - began,
        )

    async def _compare(
        self, model: Model, replay: Replay, reader: HistoryReader
    ) -> tuple[BlockHeader, StorageCheck]:
        """Replay up to the newest block and compare the state there.

        While a long history is read the chain goes on, and nodes forget old states soon; so the newest block is
        asked for again before its state is.
        """
        read = await self._read_to_head(replay, reader, None)
        attempts = ATTEMPTS
        while True:
            attempts -= 1
            read = await self._read_to_head(replay, reader, read)
            found = Findings()
            state = StateReader(self.node, self.deployment, read.number, found)
            storage = StorageCheck(state, model, found, read.timestamp)
            try:
                await check_wiring(state)
                await storage.run()
            except RpcError:
                if not attempts:
                    raise
                continue
            await self._check_unmoved(read)
            self.findings.differences += found.differences
            self.findings.counts += found.counts
            self.findings.unexplained_nonces |= found.unexplained_nonces
            return read, storage

    async def _read_to_head(
        self, replay: Replay, reader: HistoryReader, read: BlockHeader | None
    ) -> BlockHeader:
        """Replay the blocks after `read` up to the newest one, which is returned."""
        head = await self.node.block("latest")
        if head is None:
            raise ChainMoved("the node has no newest block")
        if read is not None:
            await self._check_unmoved(read)
        # Not from the deployment's block on: a file that names too late a one would hide what was before it.
        first = 0 if read is None else read.number + 1
        async for transaction in reader.transactions(first, head.number):
            await replay.take(transaction)
            self.progress(transaction.block_number, head.number)
        self.progress(head.number, head.number)
        return head

    async def _check_unmoved(self, block: BlockHeader) -> None:
        again = await self.node.block(block.number)
        if again is None or again.hash != block.hash:
            raise ChainMoved(f"block {block.number} changed: the chain reorganised while it was read")

    def _payouts(self, model: Model) -> list[PayoutStory]:
        told = list(self.focus.payouts.values())
        if self.focus.payout is not None and not told:
            raise PayoutNotOnChain(f"no record on the chain names payout 0x{self.focus.payout.hex()}")
        for story in told:
            trail = model.payouts[story.payout_id]
            story.state = model.world.payouts[trail.cycle_id, trail.payout.index]
        return told

    def _stories(self, model: Model) -> list[Story]:
        told = self.focus.told()
        if not told and (self.focus.stories or self.focus.reference is not None):
            what = self.focus.reference or "0x" + next(iter(self.focus.stories)).hex()
            raise OrderNotOnChain(f"no record on the chain names order {what}")
        for story in told:
            trail = model.trails.get(story.order_id)
            if trail is not None:
                story.captured, story.split = trail.captured, trail.split
                story.released, story.returned, story.held = trail.released, trail.returned, trail.held
                story.refunded = trail.refunded
        return told


def concerns(difference: Difference, stories: Sequence[Story | PayoutStory]) -> bool:
    """Whether a difference touches one of these orders or payouts: records, batches, parties, rule, code."""
    if area_of(difference.code) is Area.CONTRACTS:
        return True
    return any(_touches(difference, story) for story in stories)


def _touches(difference: Difference, story: Story | PayoutStory) -> bool:
    if difference.order is not None:
        return isinstance(story, Story) and difference.order == story.order_id
    if difference.batch is not None:
        return any(entry.batch == difference.batch for entry in story.entries)
    if difference.transaction is not None and difference.transaction in story.transactions:
        return True
    if difference.rule is not None:
        return (
            isinstance(story, Story) and story.capture is not None and _is_rule_of(difference, story.capture)
        )
    if difference.participant is not None:
        return difference.participant in story.parties and difference.currency in {
            None,
            story.currency,
        }
    return difference.currency is not None and difference.currency == story.currency


def _is_rule_of(difference: Difference, capture: Capture) -> bool:
    """Whether a difference is one of the order's rule, or of the schedule that selected it."""
    platforms = {None, capture.platform}
    return difference.rule in {capture.rule_id, SCHEDULE} and difference.participant in platforms


async def verify(
    node: NodeClient,
    deployment: Deployment,
    *,
    order: str | None = None,
    payout: str | None = None,
    progress: Callable[[int, int], None] = _silent,
) -> AuditReport:
    """Verify a deployment, or what concerns one order (its id or reference) or one payout (its id or bank's name).

    Raises InvalidInput for a malformed `order` or `payout`, and what says that nothing could be verified:
    DeploymentMismatch, NodeUnavailable, RpcError, Undecodable, ChainMoved, HistoryMissing, OrderNotOnChain,
    PayoutNotOnChain.
    """
    began = time.monotonic()
    focus = _focus(order, payout)
    await check_contracts(node, deployment)
    verification = Verification(node, deployment, focus, progress, silent=False)
    report = await verification.run()
    if verification.findings.unexplained_nonces:
        # Either somebody tampered, or an authorization of no instruction used the nonce up: then every block tells.
        focus = _focus(order, payout)
        report = await Verification(node, deployment, focus, progress, silent=True).run()
    return replace(report, seconds=time.monotonic() - began)


def _focus(order: str | None, payout: str | None) -> Focus:
    if payout is not None:
        return Focus.on_payout(payout)
    return Focus() if order is None else Focus.on(order)
