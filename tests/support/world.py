"""A small consortium on a real node: two platforms, their recipients, a bank, rules in force; and whoever signs.

Every `settle` is first decided by the Python twin. The chain must emit exactly the events that the twin expects,
so each test of the contracts is also one of the specification.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import count, zip_longest
from typing import Any, TypeVar

from fenzhang.chain.abi import role_bytes
from fenzhang.chain.codec import (
    UNKNOWN_ORDER_INDEX,
    SettleCall,
    decode_revert,
    encode_expire,
    encode_settle,
    leg_values,
    terms_values,
)
from fenzhang.chain.eip712 import (
    SigningDomain,
    attestation_digest,
    authorization_digest,
    condition_digest,
    confirmation_digest,
    proposal_digest,
    proposal_hash,
    retirement_digest,
)
from fenzhang.chain.events import (
    AuthorizationRejected,
    AuthorizationSkipped,
    Event,
    ExpiryPassedOver,
    InstructionRejected,
    decode_logs,
)
from fenzhang.chain.evidence import held_of_slot
from fenzhang.chain.schedules import entry_values, schedule_digest, schedule_hash
from fenzhang.chain.signer import LocalKey
from fenzhang.domain.errors import FenzhangError
from fenzhang.domain.records import (
    NOTHING,
    Attestation,
    Authorization,
    Capture,
    Instruction,
    InstructionKind,
    OrderWitness,
)
from fenzhang.domain.world import WHOLE_ORDER
from support.node import HandNode, Mined
from support.parties import (
    AGENCY,
    BOTH,
    COURIER,
    MALL,
    MARKET,
    MERCHANT,
    PAIR,
    PROMOTER,
    SHOP,
    STRANGER,
    SUPPLIER,
    VENDING,
    VENDOR,
    Party,
    RuleRef,
    ScheduleRef,
    ident,
)
from support.system import (
    ADMIN,
    APPROVER,
    BANK,
    GUARDIAN,
    OUTSIDER,
    REGISTRAR,
    SECOND_GUARDIAN,
    SUBMITTER,
    System,
    deploy_system,
)
from support.twin import Twin, placeless

FAR = 2**40
"""A deadline that no test reaches."""
Kind = TypeVar("Kind")
Versioned = TypeVar("Versioned", RuleRef, ScheduleRef)


@dataclass(frozen=True, slots=True)
class Settled:
    """A mined `settle` and its events, which are those that the twin expected."""

    mined: Mined
    events: list[Event]

    def all(self, kind: type[Kind]) -> list[Kind]:
        """Events of one class."""
        return [event for event in self.events if isinstance(event, kind)]

    def only(self, kind: type[Kind]) -> Kind:
        """The one event of a class."""
        [event] = self.all(kind)
        return event

    @property
    def reasons(self) -> list[FenzhangError]:
        """Why captures and instructions were rejected."""
        return [decode_revert(event.reason) for event in self.all(InstructionRejected)]

    @property
    def passed_over(self) -> list[FenzhangError]:
        """Why orders given to `expire` were left as they are."""
        return [decode_revert(event.reason) for event in self.all(ExpiryPassedOver)]

    @property
    def refusals(self) -> list[FenzhangError]:
        """Why whole attestations and authorizations were refused."""
        return [decode_revert(event.reason) for event in self.all(AuthorizationRejected)]

    @property
    def skipped(self) -> list[bytes]:
        """Orders whose witness or open condition made an authorization be skipped."""
        return [event.order_id for event in self.all(AuthorizationSkipped)]


@dataclass(frozen=True, slots=True)
class Saved:
    """A state of the world to come back to."""

    snapshot: str
    twin: Twin


class World:
    """Contracts, parties and the twin. `save` and `restore` bring chain and twin back together."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.node = system.node
        self.twin = Twin(system.deployment)
        self.domain: SigningDomain = system.deployment.ledger_domain()
        self._numbers = count(1)

    def save(self) -> Saved:
        """Remember chain and twin."""
        return Saved(self.node.snapshot(), self.twin.copy())

    def restore(self, saved: Saved) -> None:
        """Back to a saved state, which is used up. What the node had not mined yet is forgotten."""
        self.node.request("anvil_dropAllTransactions")
        self.node.revert(saved.snapshot)
        self.twin = saved.twin

    def fresh(self, kind: str) -> bytes:
        """A new id."""
        return ident(kind, next(self._numbers))

    # -------------------------------------------------------------------------- governance

    def act(self, sender: LocalKey | bytes, contract: str, function: str, *args: Any) -> list[Event]:
        """A transaction that must succeed; its events, without places. The twin follows them."""
        mined = self.system.transact(sender, contract, function, *args)
        if mined.error is not None:
            raise mined.error
        events = placeless(self.system.events(mined))
        self.twin.follow(events)
        return events

    def refused(self, sender: LocalKey | bytes, contract: str, function: str, *args: Any) -> FenzhangError:
        """A transaction that must revert; the contract's error."""
        mined = self.system.transact(sender, contract, function, *args)
        assert mined.error is not None, f"{function} did not revert"
        assert mined.logs == []
        return mined.error

    def register(self, function: str, *args: Any) -> list[Event]:
        """A call of the registrar to the registry."""
        return self.act(REGISTRAR, "ParticipantRegistry", function, *args)

    def enroll(self, *parties: Party, consenting_to: Party | None = None) -> None:
        """Enrol parties: as recipients of a platform, or with their keys as authorities."""
        for each in parties:
            if consenting_to is None:
                self.register("enroll", each.id, each.key.address)
            else:
                self.register("enrollRecipient", each.id, consenting_to.id)

    def consent(self, recipient: Party, platform: Party, *, granted: bool) -> None:
        """Attest that a recipient agrees, or no longer agrees, to receive from a platform."""
        self.register("setConsent", recipient.id, platform.id, granted)

    def freeze(
        self, what: Party | bytes, split_id: bytes = WHOLE_ORDER, *, by: LocalKey = GUARDIAN
    ) -> list[Event]:
        """Freeze a party, an order by its id, or a split of it."""
        return self.act(*self.set_frozen(what, split_id, by, frozen=True))

    def unfreeze(
        self, what: Party | bytes, split_id: bytes = WHOLE_ORDER, *, by: LocalKey = SECOND_GUARDIAN
    ) -> list[Event]:
        """Undo a freeze."""
        return self.act(*self.set_frozen(what, split_id, by, frozen=False))

    def set_frozen(
        self, what: Party | bytes, split_id: bytes, by: LocalKey, *, frozen: bool
    ) -> tuple[LocalKey, str, str, bytes, *tuple[Any, ...]]:
        """The arguments of `act` that freeze or unfreeze."""
        how = (frozen, role_bytes("dispute"))
        if isinstance(what, bytes):
            return by, "Conditions", "setFrozen", what, split_id, *how
        return by, "ParticipantRegistry", "setFrozen", what.id, *how

    def set_currency(self, currency: str, *, enabled: bool) -> None:
        """Open or close a currency."""
        self.act(ADMIN, "SplitLedger", "setCurrencies", [currency.encode()], enabled)

    def proposal(
        self,
        rule: RuleRef,
        effective_from: int = 0,
        *,
        key: LocalKey | None = None,
        domain: SigningDomain | None = None,
    ) -> tuple[Any, bytes]:
        """Arguments of `propose`, signed by the platform's key unless told otherwise."""
        signing = domain or self.system.deployment.rule_domain()
        digest = proposal_digest(
            signing, rule.platform.id, rule.rule_id, rule.version, effective_from, rule.legs, rule.terms
        )
        values = (
            rule.platform.id,
            rule.rule_id,
            rule.version,
            effective_from,
            [leg_values(leg) for leg in rule.legs],
            terms_values(rule.terms),
        )
        return values, (key or rule.platform.key).sign_digest(digest)

    def schedule_proposal(
        self,
        schedule: ScheduleRef,
        effective_from: int = 0,
        *,
        key: LocalKey | None = None,
        domain: SigningDomain | None = None,
    ) -> tuple[Any, bytes]:
        """Arguments of `proposeSchedule`, signed by the platform's key unless told otherwise."""
        signing = domain or self.system.deployment.rule_domain()
        content = (schedule.platform.id, schedule.version, effective_from)
        digest = schedule_digest(signing, *content, schedule.entries)
        values = (*content, [entry_values(entry) for entry in schedule.entries])
        return values, (key or schedule.platform.key).sign_digest(digest)

    def propose(self, rule: RuleRef | ScheduleRef, effective_from: int = 0) -> list[Event]:
        """Propose a version."""
        if isinstance(rule, ScheduleRef):
            arguments = self.schedule_proposal(rule, effective_from)
            return self.act(SUBMITTER, "RuleBook", "proposeSchedule", *arguments)
        return self.act(SUBMITTER, "RuleBook", "propose", *self.proposal(rule, effective_from))

    def approval(
        self, rule: RuleRef | ScheduleRef, effective_from: int = 0
    ) -> tuple[bytes, bytes, int, bytes]:
        """Arguments of `approve`."""
        identity = (rule.platform.id, rule.rule_id, rule.version)
        if isinstance(rule, ScheduleRef):
            return *identity, schedule_hash(rule.platform.id, rule.version, effective_from, rule.entries)
        return *identity, proposal_hash(*identity, effective_from, rule.legs, rule.terms)

    def approve(self, rule: RuleRef | ScheduleRef, effective_from: int = 0) -> list[Event]:
        """Approve a version."""
        return self.act(APPROVER, "RuleBook", "approve", *self.approval(rule, effective_from))

    def put_in_force(self, rule: Versioned, effective_from: int = 0) -> Versioned:
        """Propose and approve a version."""
        self.propose(rule, effective_from)
        self.approve(rule, effective_from)
        return rule

    def retirement(
        self, rule: RuleRef | ScheduleRef, key: LocalKey | None = None
    ) -> tuple[bytes, bytes, bytes]:
        """Arguments of `retire`."""
        digest = retirement_digest(self.system.deployment.rule_domain(), rule.platform.id, rule.rule_id)
        return rule.platform.id, rule.rule_id, (key or rule.platform.key).sign_digest(digest)

    def retire(self, rule: RuleRef | ScheduleRef) -> list[Event]:
        """Retire a rule."""
        return self.act(SUBMITTER, "RuleBook", "retire", *self.retirement(rule))

    def condition(
        self,
        needed: int = 0,
        deadline: int = FAR,
        *,
        confirmer: Party | None = None,
        condition_id: bytes | None = None,
        platform: Party = MALL,
        key: LocalKey | None = None,
        domain: SigningDomain | None = None,
    ) -> tuple[Any, bytes]:
        """Arguments of `open` for a condition, a new one unless told otherwise, signed by the platform's key."""
        who = NOTHING if confirmer is None else confirmer.id
        values = (platform.id, condition_id or self.fresh("condition"), needed, deadline, who)
        signing = domain or self.system.deployment.condition_domain()
        return values, (key or platform.key).sign_digest(condition_digest(signing, *values))

    def opened(self, needed: int = 0, deadline: int = FAR, **terms: Any) -> bytes:
        """Id of a condition that was opened; arguments as `condition`."""
        values, signature = self.condition(needed, deadline, **terms)
        self.act(SUBMITTER, "Conditions", "open", values, signature)
        condition_id: bytes = values[1]
        return condition_id

    def confirmation(
        self,
        condition_id: bytes,
        confirmer: Party,
        *,
        platform: Party = MALL,
        domain: SigningDomain | None = None,
    ) -> tuple[bytes, bytes, bytes]:
        """Arguments of `confirm`, signed by the key of the confirmer."""
        signing = domain or self.system.deployment.condition_domain()
        digest = confirmation_digest(signing, platform.id, condition_id)
        return platform.id, condition_id, confirmer.key.sign_digest(digest)

    def confirm(self, condition_id: bytes, confirmer: Party, *, platform: Party = MALL) -> list[Event]:
        """Confirm a condition."""
        return self.act(
            OUTSIDER, "Conditions", "confirm", *self.confirmation(condition_id, confirmer, platform=platform)
        )

    # -------------------------------------------------------------------------- what is signed

    def capture(
        self,
        amount: int = 1_000,
        *,
        rule: RuleRef = MARKET,
        bindings: Sequence[bytes] | None = None,
        merchant: Party | None = None,
        currency: str = "CNY",
        order_id: bytes | None = None,
        hold_until: int = 0,
        expires_at: int = 0,
        facts: bytes = NOTHING,
        condition: bytes = NOTHING,
    ) -> Capture:
        """A capture of a new order, by default with all roles of MARKET bound."""
        default = {
            MARKET.rule_id: (PROMOTER.id, COURIER.id, MERCHANT.id),
            PAIR.rule_id: (PROMOTER.id, MERCHANT.id),
            AGENCY.rule_id: (PROMOTER.id, MERCHANT.id, COURIER.id),
            VENDING.rule_id: (VENDOR.id,),
        }
        receiver = merchant or (MERCHANT if rule.platform == MALL else VENDOR)
        return Capture(
            order_id=order_id or self.fresh("order"),
            platform=rule.platform.id,
            merchant=receiver.id,
            rule_id=rule.rule_id,
            rule_version=rule.version,
            currency=currency,
            amount=amount,
            bindings=tuple(default.get(rule.rule_id, ()) if bindings is None else bindings),
            hold_until=hold_until,
            expires_at=expires_at,
            facts=facts,
            condition=condition,
        )

    def split(
        self, order_id: bytes, amount: int, *, bindings: Sequence[bytes] = (), given: Sequence[int] = ()
    ) -> Instruction:
        """An instruction to split a part of an order; `given` is what GIVEN legs take."""
        return Instruction(
            InstructionKind.SPLIT,
            self.fresh("split"),
            order_id,
            amount=amount,
            bindings=tuple(bindings),
            amounts=tuple(given),
        )

    def release(self, order_id: bytes) -> Instruction:
        """An instruction to release what an order holds."""
        return Instruction(InstructionKind.RELEASE, self.fresh("release"), order_id)

    def give_back(
        self, order_id: bytes, split_id: bytes, amount: int, amounts: Sequence[int] = ()
    ) -> Instruction:
        """An instruction to return a part of a split, per leaf if `amounts` are given."""
        return Instruction(
            InstructionKind.RETURN,
            self.fresh("return"),
            order_id,
            split_id=split_id,
            amount=amount,
            amounts=tuple(amounts),
        )

    def refund(self, order_id: bytes, amount: int) -> Instruction:
        """An instruction to give a part of an order back to its buyer."""
        return Instruction(InstructionKind.REFUND, self.fresh("refund"), order_id, amount=amount)

    def attest(
        self,
        *captures: Capture,
        nonce: int | None = None,
        deadline: int = FAR,
        key: LocalKey = BANK,
        attestor: bytes | None = None,
        domain: SigningDomain | None = None,
    ) -> Attestation:
        """An attestation signed by an attestor, the bank unless told otherwise."""
        number = next(self._numbers) if nonce is None else nonce
        unsigned = Attestation(attestor or key.address, number, deadline, captures)
        signature = key.sign_digest(attestation_digest(domain or self.domain, unsigned))
        return replace(unsigned, signature=signature)

    def authorize(
        self,
        *instructions: Instruction,
        platform: Party = MALL,
        nonce: int | None = None,
        deadline: int = FAR,
        key: LocalKey | None = None,
        domain: SigningDomain | None = None,
    ) -> Authorization:
        """An authorization of a platform, the mall unless told otherwise, signed by its key."""
        number = next(self._numbers) if nonce is None else nonce
        unsigned = Authorization(platform.id, number, deadline, instructions)
        signature = (key or platform.key).sign_digest(authorization_digest(domain or self.domain, unsigned))
        return replace(unsigned, signature=signature)

    # -------------------------------------------------------------------------- settle

    def complete(
        self,
        signed: Iterable[Attestation | Authorization],
        witnesses: Sequence[OrderWitness] | None = None,
        order_index: Sequence[int] | None = None,
    ) -> SettleCall:
        """A call with what a relayer adds: by default a fresh witness of each order it needs, opened if needed."""
        items = list(signed)
        attestations = tuple(item for item in items if isinstance(item, Attestation))
        authorizations = tuple(item for item in items if isinstance(item, Authorization))
        instructions = [i for authorization in authorizations for i in authorization.instructions]
        captured = [c.order_id for attestation in attestations for c in attestation.captures]
        if witnesses is None:
            opened = {i.order_id for i in instructions if i.kind.opens_past}
            wanted = dict.fromkeys(i.order_id for i in instructions if i.order_id in self.twin.world.orders)
            witnesses = [
                self.twin.witness(order_id, opened=order_id in opened)
                for order_id in wanted
                if order_id not in captured
            ]
        if order_index is None:
            known = captured + [witness.capture.order_id for witness in witnesses]
            places = {order_id: place for place, order_id in reversed(list(enumerate(known)))}
            order_index = [places.get(i.order_id, UNKNOWN_ORDER_INDEX) for i in instructions]
        return SettleCall(attestations, authorizations, tuple(witnesses), tuple(order_index))

    def settle(
        self,
        *signed: Attestation | Authorization,
        witnesses: Sequence[OrderWitness] | None = None,
        order_index: Sequence[int] | None = None,
        sender: LocalKey = SUBMITTER,
    ) -> Settled:
        """Settle in one transaction, which must not revert."""
        outcome = self.attempt(self.complete(signed, witnesses, order_index), sender)
        if isinstance(outcome, FenzhangError):
            raise outcome
        return outcome

    def reverted(
        self,
        *signed: Attestation | Authorization,
        witnesses: Sequence[OrderWitness] | None = None,
        order_index: Sequence[int] | None = None,
    ) -> FenzhangError:
        """A `settle` that must revert as a whole; the contract's error."""
        outcome = self.attempt(self.complete(signed, witnesses, order_index))
        assert isinstance(outcome, FenzhangError), "settle did not revert"
        return outcome

    def attempt(self, call: SettleCall, sender: LocalKey = SUBMITTER) -> Settled | FenzhangError:
        """Mine a `settle` and compare what the chain told, or its error, with what the twin expected."""
        data = encode_settle(call.attestations, call.authorizations, call.witnesses, call.order_index)
        mined = self.node.transact(sender.address, self.system.deployment.split_ledger, data)
        return self.compared(mined, lambda: self.twin.settle(call, mined.timestamp))

    def compared(self, mined: Mined, expect: Callable[[], list[Event]]) -> Settled | FenzhangError:
        """What the chain told, or its error, after comparing it with what the twin expects."""
        expected: list[Event] | FenzhangError
        try:
            expected = expect()
        except FenzhangError as error:
            expected = error
        if isinstance(expected, FenzhangError) or mined.error is not None:
            assert _same(mined.error, expected), f"chain: {mined.error!r}, specification: {expected!r:.500}"
            assert mined.error is not None
            return mined.error
        events = self.system.events(mined)
        _check_equal(placeless(events), expected)
        return Settled(mined, events)

    def expire(self, *orders: bytes | OrderWitness) -> Settled:
        """Expire orders, given by id (with a fresh witness) or by witness, by somebody without any role."""
        witnesses = [
            self.twin.witness(order, opened=False) if isinstance(order, bytes) else order for order in orders
        ]
        mined = self.node.transact(
            OUTSIDER.address, self.system.deployment.split_ledger, encode_expire(witnesses)
        )
        expected = self.twin.expire(witnesses, mined.timestamp)
        if mined.error is not None:
            raise mined.error
        events = self.system.events(mined)
        _check_equal(placeless(events), expected)
        return Settled(mined, events)

    def resolve(self, who: Party, currency: str = "CNY") -> Settled:
        """Give what waits for a participant to whom it is for, by somebody without any role."""
        events = self._resolve(who, currency)
        if isinstance(events, FenzhangError):
            raise events
        return events

    def resolution_refused(self, who: Party, currency: str = "CNY") -> FenzhangError:
        """A `resolve` that must revert; the contract's error."""
        outcome = self._resolve(who, currency)
        assert isinstance(outcome, FenzhangError), "resolve did not revert"
        return outcome

    def _resolve(self, who: Party, currency: str) -> Settled | FenzhangError:
        mined = self.system.transact(OUTSIDER, "ClearingHouse", "resolve", currency.encode(), who.id)
        return self.compared(mined, lambda: self.twin.resolve(currency, who.id))

    def captured(self, amount: int = 1_000, **terms: Any) -> Capture:
        """An order that the chain has captured; arguments as `capture`."""
        capture = self.capture(amount, **terms)
        assert self.settle(self.attest(capture)).reasons == []
        return capture

    def did(self, *instructions: Instruction, platform: Party = MALL) -> Settled:
        """Settle instructions that must not be rejected."""
        settled = self.settle(self.authorize(*instructions, platform=platform))
        assert (settled.reasons, settled.refusals, settled.skipped) == ([], [], [])
        return settled

    # -------------------------------------------------------------------------- what the chain holds

    def held(self, order_id: bytes) -> int:
        """Held amount of an order on chain."""
        [slot] = self.system.call("LedgerView", "orderSlots", [order_id])
        return held_of_slot(int(slot))

    def position(self, who: Party, currency: str = "CNY") -> int:
        """Position of a participant on chain."""
        [amount] = self.system.call("LedgerView", "positions", currency.encode(), [who.id])
        return int(amount)

    def totals(self, currency: str = "CNY") -> tuple[int, int]:
        """Captured and held of a currency on chain."""
        captured, held, *_ = self.system.call("LedgerView", "totals", currency.encode())
        return captured, held

    def refunded(self, currency: str = "CNY") -> int:
        """What was ever refunded in a currency, as the chain counts it."""
        _, _, refunded, _ = self.system.call("LedgerView", "totals", currency.encode())
        return int(refunded)

    def nonce_used(self, signer: bytes, nonce: int) -> bool:
        """Whether the chain has used up a nonce of a signer (32 bytes)."""
        bits = self.system.call("LedgerView", "nonceBitmap", signer, nonce >> 8)
        return bool(bits >> (nonce & 0xFF) & 1)


def _check_equal(found: list[Event], expected: list[Event]) -> None:
    for place, (got, want) in enumerate(zip_longest(found, expected)):
        assert got == want, f"event {place}: chain and specification differ:\n  {got}\n  {want}"


def reason_of(error: FenzhangError) -> tuple[str | None, dict[str, object]]:
    """Name and values of the Solidity error behind an error."""
    return error.contract_error, error.values


def _same(found: object, expected: object) -> bool:
    """Whether two errors are the same reason with the same values."""
    if not isinstance(found, FenzhangError) or not isinstance(expected, FenzhangError):
        return False
    return type(found) is type(expected) and found.values == expected.values


def build_world(node: HandNode) -> World:
    """Deploy, enrol everybody and put MARKET, PAIR and VENDING in force."""
    world = World(deploy_system(node))
    # What deployment told before the twin was there.
    logs = node.request(
        "eth_getLogs",
        {
            "address": ["0x" + address.hex() for address in world.system.deployment.contracts],
            "fromBlock": hex(world.system.deployment.block_number),
        },
    )
    world.twin.follow(decode_logs(logs, world.system.deployment.contracts))
    world.enroll(MALL, SHOP, STRANGER, BOTH)
    world.enroll(MERCHANT, PROMOTER, COURIER, SUPPLIER, consenting_to=MALL)
    world.enroll(VENDOR, consenting_to=SHOP)
    for platform in (MALL, SHOP):
        world.consent(BOTH, platform, granted=True)
    for rule in (MARKET, PAIR, VENDING):
        world.put_in_force(rule)
    return world
