"""The history, transaction by transaction: decided again where its calldata shows it, followed where not."""

from __future__ import annotations

from dataclasses import dataclass

from fenzhang.audit.access import AccessEvent, new_access_manager
from fenzhang.audit.calls import Call, calls_of
from fenzhang.audit.clearing import ClearingAudit, function_of
from fenzhang.audit.differences import Code, Findings
from fenzhang.audit.expiring import replay_expiry
from fenzhang.audit.following import Follower, SettlementEvent
from fenzhang.audit.governance import Governance, GovernanceEvent, expected_events, signature_in
from fenzhang.audit.model import Model
from fenzhang.audit.proposals import Proposed
from fenzhang.audit.reading import Transaction
from fenzhang.audit.records import Records
from fenzhang.audit.settling import Settling, take_seal
from fenzhang.audit.signatures import SignatureChecker
from fenzhang.audit.stories import AuthorizationEvent
from fenzhang.audit.tape import OutOfStep, Tape
from fenzhang.chain.calldata import decode_expire, decode_settle
from fenzhang.chain.codec import EXPIRE_SELECTOR, SETTLE_SELECTOR
from fenzhang.chain.errors import Undecodable
from fenzhang.chain.eventtypes import (
    AdministrationChanged,
    BatchSealed,
    ClearingEvent,
    ConditionConfirmed,
    ConditionOpened,
    Event,
    ExpiryPassedOver,
    OrderRefunded,
    OrderReleased,
    RuleRetired,
)
from fenzhang.chain.node import NodeClient

_SIGNED_FOR = SettlementEvent | Proposed | RuleRetired | ConditionOpened | ConditionConfirmed | ClearingEvent
"""Events that somebody's signature brings about."""


@dataclass(slots=True)
class Replay:
    """Takes up transactions into a model and reports what is not as it must be."""

    model: Model
    findings: Findings
    records: Records
    governance: Governance
    signatures: SignatureChecker
    follower: Follower
    clearing: ClearingAudit

    @classmethod
    def of(cls, model: Model, findings: Findings, node: NodeClient) -> Replay:
        """A replay into `model`; the node is asked for what contract accounts say of signatures."""
        records = Records(model, findings)
        signatures = SignatureChecker(node, findings)
        governance = Governance(model, findings, signatures)
        follower = Follower(model, findings, records)
        clearing = ClearingAudit(model, findings, records, signatures)
        return cls(model, findings, records, governance, signatures, follower, clearing)

    async def take(self, transaction: Transaction) -> None:
        """Take up one transaction with all its events. Raises NodeUnavailable, RpcError."""
        tape = Tape(transaction, self.findings, self._administer)
        try:
            calls = calls_of(transaction, self.model.deployment)
        except Undecodable:
            calls = []
        try:
            for call in calls:
                await self._take_call(call, tape)
        except OutOfStep:
            await self._follow(tape, transaction.sender)
        else:
            await self._take_rest(tape, calls)
        self.records.finish(transaction)
        self.follower.finish(transaction)

    async def _take_call(self, call: Call, tape: Tape) -> None:
        """Take up the events of one call. Raises OutOfStep."""
        try:
            if call.to == self.model.deployment.split_ledger and call.selector == SETTLE_SELECTOR:
                settle = decode_settle(call.data)
                settling = Settling(self.model, self.findings, self.records, self.signatures, tape, [])
                await settling.replay(settle)
                return
            if call.to == self.model.deployment.split_ledger and call.selector == EXPIRE_SELECTOR:
                replay_expiry(decode_expire(call.data), self.model, self.records, tape)
                return
            function = function_of(call, self.model.deployment.clearing_house)
            if function is not None:
                await self.clearing.replay(function, call, tape)
                return
            signature = signature_in(call, self.model)
            for expected in expected_events(call, self.model):
                message = f"{type(expected).__name__} does not tell of what was asked for"
                event = tape.expect(expected, Code.EVENT_UNEXPECTED, message)
                await self._apply(event, tape.transaction, call.actor, signature)
            take_seal(self.model, self.records, tape)
        except Undecodable as error:
            if not _without_effect(tape.transaction):
                self.findings.report(
                    Code.CALLDATA_UNREADABLE,
                    f"calldata that the contract accepted does not decode: {error.message}",
                    tape.transaction,
                )
            raise OutOfStep from None

    async def _take_rest(self, tape: Tape, calls: list[Call]) -> None:
        """Events that no call explains: all of them, where the contracts were called by another contract."""
        transaction = tape.transaction
        event = tape.peek()
        if event is None:
            return
        if calls:
            self.findings.report(
                Code.EVENT_UNEXPECTED,
                f"{type(event).__name__} does not follow from the calldata",
                transaction,
                found=event,
            )
            await self._follow(tape, transaction.sender)
            return
        signed = any(
            isinstance(each, _SIGNED_FOR) and not _needs_no_signature(each) for each in transaction.events
        )
        if signed and not _without_effect(transaction):
            self.findings.report(
                Code.NOT_VERIFIABLE,
                "the contracts were called by another contract, so the calldata does not show what was signed",
                transaction,
                found=transaction.to,
            )
        await self._follow(tape, transaction.to or transaction.sender)

    async def _follow(self, tape: Tape, actor: bytes) -> None:
        while (event := tape.take()) is not None:
            await self._apply(event, tape.transaction, actor, None)

    async def _apply(self, event: Event, at: Transaction, actor: bytes, signature: bytes | None) -> None:
        if isinstance(event, SettlementEvent):
            self.follower.apply(event, at)
        elif isinstance(event, ClearingEvent):
            self.clearing.follow(event, at)
        elif isinstance(event, GovernanceEvent):
            await self.governance.apply(event, at, actor, signature)

    def _administer(self, event: AccessEvent) -> None:
        self.model.access.apply(event)
        self.findings.count("governance_events")
        manager = new_access_manager(event) if isinstance(event, AdministrationChanged) else None
        if manager is not None and manager != self.model.deployment.access_manager:
            self.findings.report(
                Code.WIRING_DIFFERS,
                "a contract was given to another AccessManager, whose roles are not followed",
                block=event.at.block_number,
                transaction=event.at.tx_hash,
                expected=self.model.deployment.access_manager,
                found=manager,
            )


def _needs_no_signature(event: Event) -> bool:
    """Whether anybody may bring an event about, so that calldata need not show what was signed."""
    return isinstance(event, ExpiryPassedOver | BatchSealed) or (
        isinstance(event, OrderReleased | OrderRefunded) and event.by_expiry
    )


def _without_effect(transaction: Transaction) -> bool:
    """Whether all that a transaction told is that authorizations had no effect.

    Anybody can bring that about, with no signature and in any disguise, so it is no difference when it does not show
    in calldata what was refused.
    """
    return all(isinstance(event, AuthorizationEvent) for event in transaction.events)
