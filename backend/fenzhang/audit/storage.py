"""What the contracts hold, slot by slot through their views, against what their history leads to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from time import time
from typing import Any

from fenzhang.audit.clearingstate import compare_cycles
from fenzhang.audit.differences import Code, Findings
from fenzhang.audit.model import Model
from fenzhang.audit.records import slot_parts
from fenzhang.audit.state import StateReader
from fenzhang.audit.stories import PayoutStory, Story
from fenzhang.chain.abi import currency_bytes, currency_text, role_text
from fenzhang.chain.codec import legs_from_values
from fenzhang.chain.evidence import held_of_slot, verify_proof
from fenzhang.chain.schedules import entries_from_values
from fenzhang.domain.clearing import IN_TRANSIT, PAID
from fenzhang.domain.conditions import ConditionState
from fenzhang.domain.records import NOTHING, ParticipantStatus, RuleState
from fenzhang.domain.rules import RuleTerms, roles_of
from fenzhang.domain.schedules import SCHEDULE
from fenzhang.domain.world import Freeze, Totals


@dataclass(slots=True)
class Held:
    """What the chain holds of one currency, minor units."""

    captured: int = 0
    held: int = 0
    refunded: int = 0
    on_orders: int = 0
    positions: dict[bytes, int] = field(default_factory=dict)
    """Of every participant with a position, negative for one that owes; also of money in transit and paid."""

    @property
    def is_conserved(self) -> bool:
        """Whether positions + in transit + paid + held + refunded = captured."""
        return sum(self.positions.values()) + self.held + self.refunded == self.captured

    @property
    def in_transit(self) -> int:
        """Of payouts that were taken and not reported yet."""
        return self.positions.get(IN_TRANSIT, 0)

    @property
    def paid(self) -> int:
        """Of payouts that reached their accounts."""
        return self.positions.get(PAID, 0)

    @property
    def payable(self) -> int:
        """The sum of what participants have, without what left."""
        return sum(self.positions.values()) - self.in_transit - self.paid


@dataclass(slots=True)
class StorageCheck:
    """Compares the state at one block with the model, and keeps what it read of money."""

    state: StateReader
    model: Model
    findings: Findings
    now: int
    """Unix seconds of the block."""
    currencies: dict[str, Held] = field(default_factory=lambda: defaultdict(Held))

    async def run(self) -> None:
        """Compare everything. Raises NodeUnavailable, RpcError, Undecodable."""
        await self._totals()
        await self._order_slots()
        await self._positions()
        self._conservation()
        await self._batches()
        await self._nonces()
        await self._participants()
        await self._places()
        await self._consents()
        await self._heirs()
        await self._freezes()
        await self._conditions()
        await self._rules()
        await self._roles()
        await compare_cycles(self.state, self.model)

    # -------------------------------------------------------------------------- money

    async def _totals(self) -> None:
        currencies = self.model.currencies
        answers = await self.state.ask(
            "LedgerView", "totals", [(currency_bytes(each),) for each in currencies]
        )
        for (raw,), (captured, held, refunded, enabled) in answers:
            currency = currency_text(raw)
            totals = self.model.world.totals.get(currency, Totals())
            expected = {"captured": totals.captured, "held": totals.held, "refunded": totals.refunded}
            if currency in self.model.world.totals:
                self.currencies[currency] = Held(captured, held, refunded)
            found = {"captured": captured, "held": held, "refunded": refunded}
            if found != expected:
                self._differs(Code.TOTALS, f"totals of {currency}", expected, found, currency=currency)
            opened = currency in self.model.world.currencies
            if enabled != opened:
                self._differs(
                    Code.CURRENCY_SWITCH,
                    f"whether {currency} is open",
                    opened,
                    enabled,
                    currency=currency,
                )
        self.findings.count("totals", len(currencies))

    async def _order_slots(self) -> None:
        orders = self.model.world.orders
        ids = [*orders, *(self.model.uncaptured - orders.keys())]
        for order_id, found in await self.state.of_ids("orderSlots", (), ids):
            expected, order = self.model.slot_of(order_id), orders.get(order_id)
            if found != expected:
                self._differs(
                    Code.ORDER_SLOT,
                    f"slot of order 0x{order_id.hex()}",
                    slot_parts(expected),
                    slot_parts(found),
                    order=order_id,
                    currency=None if order is None else order.capture.currency,
                )
            if order is not None:
                self.currencies[order.capture.currency].on_orders += held_of_slot(found)
            if order_id in self.model.focus.stories:
                self.model.focus.stories[order_id].slot = found
        for order_id, out in await self.state.of_ids("sharedOut", (), ids):
            expected = self.model.world.shared_out.get(order_id, 0)
            if out != expected:
                what = f"what left the merchant of order 0x{order_id.hex()}"
                self._differs(Code.SHARED_OUT, what, expected, out, order=order_id)
        self.findings.count("order_slots", len(ids))

    async def _positions(self) -> None:
        participants = sorted(self.model.paid | self.model.world.participants.keys())
        for currency in self.model.captured_currencies:
            answers = await self.state.of_ids("positions", (currency_bytes(currency),), participants)
            for participant, found in answers:
                expected = self.model.world.positions.get((currency, participant), 0)
                if found != expected:
                    self._differs(
                        Code.POSITION,
                        f"position of 0x{participant.hex()} in {currency}",
                        expected,
                        found,
                        participant=participant,
                        currency=currency,
                    )
                if found:
                    self.currencies[currency].positions[participant] = found
            self.findings.count("positions", len(participants))

    def _conservation(self) -> None:
        """On what the chain holds, whatever the model says: nothing that was captured is missing."""
        for currency, money in self.currencies.items():
            if not money.is_conserved:
                self.findings.report(
                    Code.CURRENCY_NOT_CONSERVED,
                    f"positions (with money in transit and paid), held and refunded money of {currency} on chain are "
                    "not what was captured",
                    currency=currency,
                    expected=money.captured,
                    found=sum(money.positions.values()) + money.held + money.refunded,
                )
            if money.on_orders != money.held:
                self.findings.report(
                    Code.CURRENCY_NOT_CONSERVED,
                    f"the orders in {currency} on chain do not hold what the total says",
                    currency=currency,
                    expected=money.held,
                    found=money.on_orders,
                )

    # -------------------------------------------------------------------------- evidence and nonces

    async def _batches(self) -> None:
        count, roots = await self.state.one("LedgerView", "batchCount"), self.model.roots
        if count is not None and count[0] != len(roots):
            self._differs(Code.BATCH_ROOT, "number of batches", len(roots), count[0])
        numbers = [(number,) for number in range(1, len(roots) + 1)]
        stored: dict[int, bytes] = {}
        for (number,), (found,) in await self.state.ask("LedgerView", "batchRoot", numbers):
            stored[number], expected = found, roots[number - 1]
            if found != expected:
                self._differs(Code.BATCH_ROOT, f"root of batch {number}", expected, found, batch=number)
        self.findings.count("batch_roots", len(roots))
        self._proofs(stored)

    def _proofs(self, roots: Mapping[int, bytes]) -> None:
        """Records of the stories that are told, proven against what the chain holds."""
        stories: list[Story | PayoutStory] = [*self.model.focus.told(), *self.model.focus.payouts.values()]
        for story in stories:
            for entry in story.entries:
                root = roots.get(entry.batch or 0)
                if root is None or entry.leaf is None:
                    continue
                entry.proven = verify_proof(root, entry.leaf, entry.proof)
                if not entry.proven:
                    self.findings.report(
                        Code.PROOF_FAILS,
                        f"the proof of {entry.kind} 0x{entry.id.hex()} does not lead to the root of its batch",
                        block=entry.block,
                        transaction=entry.transaction,
                        order=story.order_id if isinstance(story, Story) else None,
                        batch=entry.batch,
                        found=root,
                    )
                self.findings.count("proofs")

    async def _nonces(self) -> None:
        words: defaultdict[tuple[bytes, int], int] = defaultdict(int)
        for signer, nonce in self.model.world.nonces:
            words[signer, nonce >> 8] |= 1 << (nonce & 0xFF)
        answers = await self.state.ask("LedgerView", "nonceBitmap", list(words))
        for (signer, place), (found,) in answers:
            expected = words[signer, place]
            # Where calldata did not show the nonces of a signer, the chain may know of more.
            seen = found & expected if signer in self.model.opaque_signers else found
            if seen != expected:
                self.findings.unexplained_nonces = True
                self._differs(
                    Code.NONCES,
                    f"nonces {place << 8} to {(place << 8) + 255} of 0x{signer.hex()}",
                    f"0x{expected:064x}",
                    f"0x{found:064x}",
                    participant=signer,
                )
        self.findings.count("nonce_words", len(words))

    # -------------------------------------------------------------------------- governance

    async def _participants(self) -> None:
        world = self.model.world
        ids = sorted(self.model.paid | world.participants.keys())
        answers = await self.state.ask("ParticipantRegistry", "platformOf", [(each,) for each in ids])
        for (participant,), (status, authority, cap) in answers:
            known = world.participants.get(participant)
            expected = {
                "status": world.status_of(participant).name,
                "authority": world.authority_of(participant),
                "max_share_out": 0 if known is None else known.max_share_out,
            }
            found = {"status": _status_name(status), "authority": authority, "max_share_out": cap}
            if found != expected:
                self._differs(
                    Code.PARTICIPANT,
                    f"standing of participant 0x{participant.hex()}",
                    expected,
                    found,
                    participant=participant,
                )
        self.findings.count("participants", len(ids))

    async def _places(self) -> None:
        places = self.model.world.places
        ids = sorted(self.model.world.participants)
        answers = await self.state.ask("ParticipantRegistry", "placeOf", [(each,) for each in ids])
        for (participant,), (parent, level, below) in answers:
            expected = (
                places.parent_of(participant),
                places.level_of(participant),
                places.below[participant],
            )
            if (parent, level, below) != expected:
                self._differs(
                    Code.PLACE,
                    f"place of participant 0x{participant.hex()}",
                    expected,
                    (parent, level, below),
                    participant=participant,
                )

    async def _consents(self) -> None:
        pairs = sorted(self.model.consents_seen)
        answers = await self.state.ask("ParticipantRegistry", "hasConsent", pairs)
        for (recipient, platform), (found,) in answers:
            expected = self.model.world.has_consent(recipient, platform)
            if found != expected:
                self._differs(
                    Code.CONSENT,
                    f"consent of 0x{recipient.hex()} to receive from 0x{platform.hex()}",
                    expected,
                    found,
                    participant=recipient,
                )
        self.findings.count("consents", len(pairs))

    async def _heirs(self) -> None:
        """Who would get what waits for each closed participant."""
        world = self.model.world
        ids = [
            each for each in sorted(world.participants) if world.status_of(each) is ParticipantStatus.CLOSED
        ]
        answers = await self.state.ask("ParticipantRegistry", "heirOf", [(each,) for each in ids])
        for (participant,), (found,) in answers:
            expected = world.heir_of(participant) or NOTHING
            if found != expected:
                what = f"heir of participant 0x{participant.hex()}"
                self._differs(Code.SUSPENSE_TRANSITION, what, expected, found, participant=participant)

    async def _freezes(self) -> None:
        world = self.model.world
        asked: tuple[tuple[str, list[tuple[bytes, ...]]], ...] = (
            ("Conditions", sorted(self.model.freezes_seen)),
            ("ParticipantRegistry", [(each,) for each in sorted(self.model.participant_freezes_seen)]),
        )
        for contract, ids in asked:
            for key, (guardian, reason) in await self.state.ask(contract, "freezeOf", ids):
                known = (
                    world.frozen_orders.get((key[0], key[1]))
                    if contract == "Conditions"
                    else world.frozen_participants.get(key[0])
                )
                found = Freeze(guardian, role_text(reason)) if any(guardian) else None
                if found != known:
                    where = "order" if contract == "Conditions" else "participant"
                    self._differs(
                        Code.FREEZE, f"who froze {where} 0x{key[0].hex()}", known, found, **{where: key[0]}
                    )
        await self._frozen_flags()
        self.findings.count("freezes", sum(len(ids) for _, ids in asked))

    async def _frozen_flags(self) -> None:
        """What debits look at, for every participant."""
        frozen = self.model.world.frozen_participants
        ids = [(each,) for each in sorted(self.model.world.participants)]
        for (participant,), (found,) in await self.state.ask("ParticipantRegistry", "isFrozen", ids):
            if found != (participant in frozen):
                what = f"whether participant 0x{participant.hex()} is frozen"
                self._differs(Code.FREEZE, what, not found, found, participant=participant)
        counts = (
            ("ParticipantRegistry", "participants", len(frozen)),
            ("Conditions", "orders and splits", len(self.model.world.frozen_orders)),
        )
        for contract, what, expected in counts:
            counted = await self.state.one(contract, "frozenCount")
            if counted is not None and counted[0] != expected:
                self._differs(Code.FREEZE, f"how many {what} are frozen", expected, counted[0])

    async def _conditions(self) -> None:
        conditions = self.model.world.conditions
        for key, (*found, state) in await self.state.ask("Conditions", "conditionOf", list(conditions)):
            known = conditions[key]
            expected = (known.needed, known.deadline, known.confirmer, known.count, known.confirmed)
            reached = state == ConditionState.REACHED
            if (*found, reached) != (*expected, known.is_complete):
                self._differs(
                    Code.CONDITION,
                    f"condition 0x{key[1].hex()}",
                    known,
                    (*found, state),
                    participant=key[0],
                )

    async def _rules(self) -> None:
        rules = self.model.world.rules
        answers = await self.state.ask("RuleBook", "latest", list(rules))
        for (platform, rule_id), found in answers:
            rule = rules[platform, rule_id]
            expected = (max(rule.versions), rule.retired)
            if found != expected:
                self._differs(
                    Code.RULE_HEADER,
                    f"latest version and retirement of rule 0x{rule_id.hex()}",
                    expected,
                    found,
                    participant=platform,
                    rule=rule_id,
                )
        versions = [(*key, number) for key, rule in rules.items() for number in rule.versions]
        for version, header in await self.state.ask("RuleBook", "header", versions):
            self._rule_header(version, header)
        loaded = [version for version in versions if version[1] != SCHEDULE]
        for version, (state, legs, roles, terms, _) in await self.state.ask("RuleBook", "load", loaded):
            self._rule_veto(version, vetoed=state == RuleState.VETOED)
            self._rule_content(version, legs, roles, terms)
        schedules = [(platform, number) for platform, rule_id, number in versions if rule_id == SCHEDULE]
        for asked, (state, entries) in await self.state.ask("RuleBook", "loadSchedule", schedules):
            self._schedule(*asked, state, entries)
        await self._approval_lock()
        self.findings.count("rule_headers", len(versions))

    def _rule_header(self, key: tuple[bytes, bytes, int], found: tuple[Any, ...]) -> None:
        platform, rule_id, number = key
        version = self.model.world.rules[platform, rule_id].versions[number]
        content_hash = self.model.content_hashes[key]
        expected = (content_hash, version.effective_from, version.approved, version.proposer)
        if found != expected:
            self._differs(
                Code.RULE_HEADER,
                f"header of version {number} of rule 0x{rule_id.hex()}",
                expected,
                found,
                participant=platform,
                rule=rule_id,
            )

    def _rule_veto(self, key: tuple[bytes, bytes, int], *, vetoed: bool) -> None:
        platform, rule_id, number = key
        expected = self.model.world.rules[platform, rule_id].versions[number].vetoed
        if vetoed != expected:
            self._differs(
                Code.RULE_HEADER,
                f"veto of version {number} of rule 0x{rule_id.hex()}",
                expected,
                vetoed,
                participant=platform,
                rule=rule_id,
            )

    async def _approval_lock(self) -> None:
        found = await self.state.one("RuleBook", "approvalLock")
        expected = self.model.world.approval_lock
        if found is not None and found[0] != expected:
            self._differs(Code.APPROVAL_LOCK, "the approval lock", expected, found[0])

    def _rule_content(
        self, key: tuple[bytes, bytes, int], values: Iterable[Any], roles: Iterable[bytes], terms: Any
    ) -> None:
        platform, rule_id, number = key
        version = self.model.world.rules[platform, rule_id].versions[number]
        legs, found_terms = version.legs, RuleTerms(*terms)
        try:
            found = legs_from_values(values)
        except ValueError:
            found = ()  # a kind of leg that does not exist
        names = [role_text(role) for role in roles]
        if found != legs or names != roles_of(legs) or found_terms != version.terms:
            self._differs(
                Code.RULE_LEGS,
                f"legs and terms of version {number} of rule 0x{rule_id.hex()}",
                {"legs": legs, "roles": roles_of(legs), "terms": version.terms},
                {"legs": found, "roles": names, "terms": found_terms},
                participant=platform,
                rule=rule_id,
            )

    def _schedule(self, platform: bytes, number: int, state: int, values: Iterable[Any]) -> None:
        schedule = self.model.world.rules[platform, SCHEDULE]
        expected, found = schedule.versions[number].entries, entries_from_values(values)
        where = {"participant": platform, "rule": SCHEDULE}
        what = f"version {number} of the schedule of 0x{platform.hex()}"
        if found != expected:
            self._differs(Code.SCHEDULE_ENTRIES, f"entries of {what}", expected, found, **where)
        # A node may let a call at its newest block see the time that has passed since.
        states = [schedule.state_of(number, moment) for moment in (self.now, max(self.now, int(time())))]
        if state not in states:
            self._differs(Code.SCHEDULE_STATE, f"state of {what}", states[0].name, state, **where)

    async def _roles(self) -> None:
        access = self.model.access
        members = list(access.members)
        answers = await self.state.ask("AccessManager", "getAccess", members)
        for (role, account), (since, *_) in answers:
            if since != access.members[role, account]:
                self._differs(
                    Code.ROLE,
                    f"membership of 0x{account.hex()} in role {role}",
                    access.members[role, account],
                    since,
                )
        functions = list(access.function_roles)
        needed = await self.state.ask("AccessManager", "getTargetFunctionRole", functions)
        for (target, selector), (found,) in needed:
            if found != access.function_roles[target, selector]:
                self._differs(
                    Code.ROLE,
                    f"role for function 0x{selector.hex()} of 0x{target.hex()}",
                    access.function_roles[target, selector],
                    found,
                )
        self.findings.count("roles", len(members) + len(functions))

    def _differs(self, code: Code, what: str, expected: object, found: object, **details: Any) -> None:
        self.findings.report(
            code,
            f"{what}: the chain holds another value than its history leads to",
            block=self.state.block if isinstance(self.state.block, int) else None,
            expected=expected,
            found=found,
            **details,
        )


def _status_name(status: int) -> str:
    """Name of a status; the number of one that does not exist."""
    return ParticipantStatus(status).name if status in set(ParticipantStatus) else str(status)
