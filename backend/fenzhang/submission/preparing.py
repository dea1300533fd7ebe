"""From what is pending to transactions that are signed and ready to be stored. Reads only."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.chain.deployments import check_chain
from fenzhang.chain.errors import NodeUnavailable
from fenzhang.chain.node import BlockHeader
from fenzhang.chain.signer import LocalKey, TransactionRequest
from fenzhang.domain.records import Capture
from fenzhang.store import keys
from fenzhang.submission.building import Builder, Built, Signers
from fenzhang.submission.clearing import payouts_in
from fenzhang.submission.context import Context
from fenzhang.submission.errors import SigningKeyMissing
from fenzhang.submission.expiring import Expiring, ExpiryPicker, orders_in_expiry
from fenzhang.submission.facts import FactsLoader
from fenzhang.submission.governance import Call, Request, call_of, count_in_flight, pick_requests
from fenzhang.submission.lingering import Lingering
from fenzhang.submission.nonces import NonceBook, last_transaction_nonce
from fenzhang.submission.picking import Queue, Unit, pick
from fenzhang.submission.planning import Plan, make_plans
from fenzhang.submission.tracking import load_live

log = logging.getLogger("fenzhang.submission")
_SPARE_PART = 16
"""This part of a block is left free where blocks, and not the protocol, limit a transaction."""
_ITEMS_PER_ORDER = 2
"""Pending instructions per order of a transaction. Full of captures with their splits, it has room for fewer orders."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Transactions to be stored together, and the nonces that their authorizations took."""

    transactions: Sequence[Built] = ()
    nonces: NonceBook = field(default_factory=lambda: NonceBook({}))


@dataclass(slots=True)
class _Work:
    """What is to be sent, as far as the database tells."""

    plans: list[Plan] = field(default_factory=list)
    expiring: list[Expiring] = field(default_factory=list)
    requests: list[tuple[Request, Call]] = field(default_factory=list)
    signers: Signers = field(default_factory=lambda: Signers(None, {}))
    nonces: NonceBook = field(default_factory=lambda: NonceBook({}))
    last_nonces: dict[str, int] = field(default_factory=dict)
    """Last stored transaction nonce by label of the sender, -1 for none."""


class Preparer:
    """Prepares transactions as the context's senders."""

    def __init__(self, context: Context) -> None:
        self._database = context.database
        self._node = context.node
        self._deployment = context.deployment
        self._keyring = context.keyring
        self._config = context.config
        self._limits = context.config
        """The configuration, within what a block of the chain can hold."""
        self._senders = context.senders
        self._addresses = context.addresses
        self._lane = context.lane
        self._facts = FactsLoader()
        self._lingering = Lingering(context.config.linger_s)
        self.expiries = ExpiryPicker(context.lane)
        self._missing: set[str] = set()

    async def prepare(self, held_back: set[int]) -> Prepared:
        """Sign what may go out now. `held_back` are authorizations to leave alone.

        Raises NodeUnavailable, DatabaseUnavailable, and what a keystore file can be wrong with.
        """
        work = await self._gather_all(held_back)
        if not work.plans and not work.requests and not work.expiring:
            return Prepared()
        await check_chain(self._node, self._deployment)
        head = await self._head()
        if self._keep_to(head.gas_limit) and (work.plans or work.expiring):
            work = await self._gather_all(held_back)
        next_nonces = {
            label: max(last + 1, await self._node.nonce(self._senders[label].address))
            for label, last in work.last_nonces.items()
        }
        built = [self._sign_call(request, call, next_nonces) for request, call in work.requests]
        if work.plans or work.expiring:
            deadline = head.timestamp + self._config.authorization_life_s
            builder = Builder(self._deployment, self._limits, work.signers, work.nonces, deadline)
            label = self._lane.label
            for expiring in work.expiring:
                built.append(builder.build_expiry(expiring, self._senders[label], next_nonces[label]))
                next_nonces[label] += 1
            for plan in work.plans:
                built.append(builder.build(plan, self._senders[label], next_nonces[label]))
                next_nonces[label] += 1
        return Prepared(built, work.nonces)

    async def _gather_all(self, held_back: set[int]) -> _Work:
        async with self._database.read() as session:
            return await self._gather(session, held_back)

    def _keep_to(self, block_gas_limit: int) -> bool:
        """Plan transactions that a block can hold from now on. Whether that is other than before."""
        config, before = self._config, self._limits
        self._limits = replace(
            config,
            target_gas=min(config.target_gas, block_gas_limit - block_gas_limit // _SPARE_PART),
            gas_cap=min(config.gas_cap, block_gas_limit),
            governance_gas=min(config.governance_gas, block_gas_limit),
        )
        return self._limits != before

    async def _gather(self, session: AsyncSession, held_back: set[int]) -> _Work:
        live = len(await load_live(session, self._addresses))
        governing = await count_in_flight(session) if live and self._lane.governs else 0
        work = _Work()
        if self._lane.governs:
            await self._gather_requests(session, work, self._config.max_governance_in_flight - governing)
        room = min(self._config.max_in_flight - (live - governing), self._config.max_at_once)
        if room > 0:
            work.expiring = await self.expiries.pick(session, self._limits, room)
            room -= len(work.expiring)
        if room > 0:
            await self._gather_plans(session, work, room, held_back)
        labels = {request.sender for request, _ in work.requests}
        if work.plans or work.expiring:
            labels.add(self._lane.label)
        for label in sorted(labels):
            work.last_nonces[label] = await last_transaction_nonce(session, self._senders[label].address)
        return work

    async def _gather_requests(self, session: AsyncSession, work: _Work, room: int) -> None:
        if room <= 0:
            return
        for request in await pick_requests(session, room, list(self._senders)):
            call = await self._call_of(session, request)
            if call is not None:
                work.requests.append((request, call))

    async def _call_of(self, session: AsyncSession, request: Request) -> Call | None:
        try:
            return await call_of(session, self._keyring, self._deployment, request.kind, request.payload)
        except SigningKeyMissing as error:
            self._report_missing(str(error.values["label"]))
            return None

    async def _gather_plans(self, session: AsyncSession, work: _Work, room: int, held_back: set[int]) -> None:
        # Not more than fits: what is looked at and left is looked at again the next time.
        fitting = room * self._config.max_orders * _ITEMS_PER_ORDER
        expiring = await orders_in_expiry(session)
        expiring = expiring.union(*(each.order_ids for each in work.expiring))
        queue = await pick(session, self._lane, min(self._config.max_candidates, fitting), expiring)
        queue = replace(queue, units=self._lingering.without_new(queue.units))
        if not queue.units:
            return
        queue, work.signers = await self._signable(session, queue)
        facts = await self._facts.load(session, queue.units)
        work.plans = make_plans(queue, facts, self._limits, room, held_back)
        work.nonces = await NonceBook.load(
            session, _fresh_signers(work.plans, work.signers), self._senders[self._lane.label].address
        )

    async def _signable(self, session: AsyncSession, queue: Queue) -> tuple[Queue, Signers]:
        """The queue without what nobody here can sign; those orders wait."""
        unsigned = [unit.items[0] for unit in queue.units if unit.signed is None]
        attestor = None
        if any(isinstance(item.what, Capture) for item in unsigned):
            attestor = await self._find_key(session, keys.ATTESTOR)
        platforms: dict[bytes, LocalKey] = {}
        for platform in sorted({item.platform_id for item in unsigned if not isinstance(item.what, Capture)}):
            key = await self._find_key(session, keys.platform_label(platform))
            if key is not None:
                platforms[platform] = key
        signers = Signers(attestor, platforms)
        units = [unit for unit in queue.units if _can_sign(signers, unit)]
        busy = queue.busy.union(*(unit.order_ids for unit in queue.units if not _can_sign(signers, unit)))
        return Queue(units, busy, queue.open), signers

    async def _find_key(self, session: AsyncSession, label: str) -> LocalKey | None:
        key = await self._keyring.find(session, label)
        if key is None:
            self._report_missing(label)
        return key

    def _report_missing(self, label: str) -> None:
        if label not in self._missing:
            self._missing.add(label)
            log.error("the keystore has no key %r: what it should sign waits", label)

    def _sign_call(self, request: Request, call: Call, next_nonces: dict[str, int]) -> Built:
        sender = self._senders[request.sender]
        nonce = next_nonces[request.sender]
        next_nonces[request.sender] += 1
        about = payouts_in(request.kind, request.payload)
        wanted = self._limits.governance_gas + about * self._limits.payout_gas
        gas_limit = min(wanted, self._limits.gas_cap)
        signed = sender.sign_transaction(
            TransactionRequest(
                chain_id=self._deployment.chain_id,
                nonce=nonce,
                to=call.to,
                data=call.data,
                gas_limit=gas_limit,
                max_fee=self._config.max_fee,
                priority_fee=self._config.priority_fee,
            )
        )
        return Built(sender.address, nonce, signed, gas_limit, (request.seq,))

    async def _head(self) -> BlockHeader:
        head = await self._node.block("latest")
        if head is None:
            raise NodeUnavailable("the node has no newest block")
        return head


def _can_sign(signers: Signers, unit: Unit) -> bool:
    if unit.signed is not None:
        return True
    item = unit.items[0]
    if isinstance(item.what, Capture):
        return signers.attestor is not None
    return item.platform_id in signers.platforms


def _fresh_signers(plans: Sequence[Plan], signers: Signers) -> set[bytes]:
    """Who signs new authorizations in these plans, 32 bytes each."""
    fresh = {group.platform_id for plan in plans for group in plan.authorizations if group.signed is None}
    if signers.attestor and any(group.signed is None for plan in plans for group in plan.attestations):
        fresh.add(signers.attestor.address.rjust(32, b"\0"))
    return fresh
