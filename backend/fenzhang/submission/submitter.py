"""The submission stage: what is pending becomes transactions, and transactions come to their end."""

from __future__ import annotations

import asyncio
import logging

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from fenzhang import crashpoints
from fenzhang.chain.deployments import Deployment, check_deployment
from fenzhang.chain.errors import NodeUnavailable
from fenzhang.chain.node import NodeClient
from fenzhang.chain.signer import LocalKey
from fenzhang.domain.errors import FenzhangError
from fenzhang.stageloop import run_stage
from fenzhang.store import keys
from fenzhang.store.chain_binding import bind_chain
from fenzhang.store.holding import Holding
from fenzhang.store.session import Database
from fenzhang.store.tables import Instruction, InstructionState, Transaction
from fenzhang.submission.config import SubmissionConfig
from fenzhang.submission.context import Context
from fenzhang.submission.errors import Superseded
from fenzhang.submission.following import Follower
from fenzhang.submission.keyring import Keyring
from fenzhang.submission.lanes import Lane
from fenzhang.submission.patience import Patience
from fenzhang.submission.picking import is_anything_to_do
from fenzhang.submission.preparing import Preparer
from fenzhang.submission.reporting import report_stored
from fenzhang.submission.sending import Sender
from fenzhang.submission.storing import store
from fenzhang.submission.tracking import LIVE_STATES

log = logging.getLogger("fenzhang.submission")
_GOVERNING = (keys.REGISTRAR, keys.APPROVER, keys.GUARDIAN, keys.SECOND_GUARDIAN)
"""Labels of the keys that send what administers participants, rules and freezes."""


class Submitter:
    """Sends what is pending in one lane. Of several for one signing key, one works and the others wait for its lease.

    `keyring` must have the lane's key, and for lane 0 the registrar's, approver's and guardians' for their
    instructions to be sent. Raises SigningKeyMissing, WrongPassword and DevKeyRefused for keys, DeploymentMismatch and
    DatabaseOfOtherChain for a node or database of another chain.
    """

    def __init__(
        self,
        database: Database,
        node: NodeClient,
        deployment: Deployment,
        keyring: Keyring,
        config: SubmissionConfig | None = None,
        *,
        lane: int = 0,
    ) -> None:
        self._database = database
        self._node = node
        self._deployment = deployment
        self._keyring = keyring
        self._config = config or SubmissionConfig()
        self._lane_number = lane
        self._patience = Patience(self._config)
        self._senders: dict[str, LocalKey] = {}
        self._holding: Holding | None = None
        self._tenure = 0
        self._chain_checked = False
        self._more = False
        """Whether the last tick prepared as much as it may at once, so that there may be more."""

    async def run(self, stop: asyncio.Event) -> None:
        """Submit until `stop` is set, outlasting a node or database that is away."""
        try:
            await run_stage(
                "submission",
                self._tick_once,
                stop,
                interval_s=self._config.poll_interval_s,
                outage=self._outage,
                active=lambda: self._holding is not None and self._holding.held,
            )
        finally:
            if self._holding is not None and self._holding.held:
                await self._holding.release()

    async def tick(self) -> int:
        """Follow, prepare, store and broadcast once. Returns how much was done; 0 also without the lease.

        Raises NodeUnavailable, RpcError and DatabaseUnavailable, after which the next tick goes on.
        """
        self._more = False
        if not await self._ready():
            return 0
        async with self._database.read() as session:
            if not (
                await is_anything_to_do(session, self._context.lane, self._context.addresses)
                or await self._preparer.expiries.is_anything_due(session)
            ):
                return 0
        done = await self._follow()
        done += await self.prepare_and_store()
        return done + await self._sender.broadcast()

    async def prepare_and_store(self) -> int:
        """Sign and store what may go out now, without telling the node. Returns how many transactions."""
        prepared = await self._preparer.prepare(self._patience.held_back())
        self._more = len(prepared.transactions) >= self._config.max_at_once
        if not prepared.transactions:
            return 0
        crashpoints.passed(crashpoints.AFTER_SIGN)
        try:
            async with self._database.write() as session:
                await self._require_holding().require(session)
                await prepared.nonces.store(session)
                requests = await store(session, prepared.transactions, self._config)
        except (Superseded, IntegrityError) as error:
            log.info("looking again: %s", error)
            return 0
        crashpoints.passed(crashpoints.AFTER_STORE)
        report_stored(prepared.transactions, requests)
        return len(prepared.transactions)

    async def _follow(self) -> int:
        return await self._follower.follow(self._require_holding(), self._sender, self._patience)

    async def _tick_once(self) -> bool:
        await self.tick()
        return self._more

    def _outage(self, error: FenzhangError) -> None:
        if isinstance(error, NodeUnavailable):
            # Whatever answers next may be another chain, and has forgotten what it had not mined.
            self._chain_checked = False

    # -------------------------------------------------------------------------- readiness

    async def _ready(self) -> bool:
        if self._holding is None:
            await self._open()
        if not await self._require_holding().ensure():
            return False
        if not self._chain_checked:
            await check_deployment(self._node, self._deployment)
            self._sender.forget()
            self._chain_checked = True
        if self._tenure != self._require_holding().tenure:
            await self._begin()
        return True

    async def _open(self) -> None:
        async with self._database.read() as session:
            lane = Lane(self._lane_number, await self._keyring.count_submitters(session))
            self._senders[lane.label] = await self._keyring.get(session, lane.label)
            for label in _GOVERNING if lane.governs else ():
                key = await self._keyring.find(session, label)
                if key is not None:
                    self._senders[label] = key
        names = [f"submitter:0x{key.address.hex()}" for key in self._senders.values()]
        self._holding = Holding(self._database, names, self._config.lease_s)
        self._context = context = Context(
            self._database, self._node, self._deployment, self._keyring, self._config, self._senders, lane
        )
        self._preparer = Preparer(context)
        self._follower = Follower(context)
        self._sender = Sender(self._database, self._node, self._holding, self._config, context.addresses)

    async def _begin(self) -> None:
        """Take over: whatever the last holder left is followed and broadcast from here."""
        deployment, holding = self._deployment, self._require_holding()
        finished = select(Transaction.id).where(Transaction.state.not_in(LIVE_STATES))
        async with self._database.write() as session:
            await holding.require(session)
            await bind_chain(session, deployment.chain_id, deployment.split_ledger, deployment.genesis_hash)
            # None should be; an instruction that waits for a finished transaction would wait for ever.
            await session.execute(
                update(Instruction)
                .where(
                    Instruction.state == InstructionState.SUBMITTED.value,
                    Instruction.transaction_id.in_(finished),
                )
                .values(state=InstructionState.ACCEPTED.value)
                .execution_options(synchronize_session=False)
            )
        self._sender.forget()
        self._tenure = holding.tenure

    def _require_holding(self) -> Holding:
        if self._holding is None:
            raise RuntimeError("the submitter has not been opened")
        return self._holding
