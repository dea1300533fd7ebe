"""From a request in the platform's names to what its key signs, asking the API for the ids that names stand for.

A name is only as good as the API's answer. What the key signs are the ids; the chain and the auditors see those.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fenzhang.client.errors import ApiError, WrongNetwork
from fenzhang.client.flow import Flow
from fenzhang.client.models import (
    ConditionView,
    InstructionType,
    NewCondition,
    NewInstruction,
    NewOrder,
    NewRefund,
    NewRelease,
    NewReturn,
    NewRule,
    NewSplit,
)
from fenzhang.client.signing import PlatformKey, Signer, default_deadline, with_recipients
from fenzhang.domain import identifiers
from fenzhang.domain.errors import InvalidInput
from fenzhang.domain.records import NOTHING, Instruction, InstructionKind

if TYPE_CHECKING:
    from fenzhang.client.operations import Operations
    from fenzhang.client.schedules import NewSchedule

_NOBODY = bytes(identifiers.ID_SIZE)


class Signatures:
    """Signs what a client writes. The network and the platform's id are asked for once."""

    def __init__(self, api: Operations, key: PlatformKey) -> None:
        self._api = api
        self._key = key
        self._signer: Signer | None = None
        self._ids: dict[str, bytes] = {}

    def authorization(self, items: Sequence[NewInstruction], deadline: int | None) -> Flow[dict[str, Any]]:
        """The `authorization` of a request: one signature over all items but captures, in order.

        Raises WrongNetwork for an API or platform that is not the key's, and ApiError for a name that the API does not
        know, `values["item"]` saying in which item.
        """
        signer = yield from self._ready()
        orders: dict[str, bytes] = {}
        instructions = []
        for index, item in enumerate(items):
            if isinstance(item, NewOrder):
                continue
            try:
                instruction = yield from self._instruction(signer.platform, item, orders, items)
            except ApiError as refusal:
                refusal.values.setdefault("item", index)
                raise
            if isinstance(item, NewSplit):
                orders[item.out_split_no] = instruction.order_id
            instructions.append(instruction)
        return signer.authorize(instructions, default_deadline() if deadline is None else deadline)

    def proposal(self, rule: NewRule) -> Flow[dict[str, Any]]:
        """What a signed proposal has beside its legs. Raises InvalidInput when it names no version."""
        if rule.version is None:
            raise InvalidInput("version", "a signed proposal names it")
        signer = yield from self._ready()
        ids = yield from self._participants(rule.recipients.values())
        legs = with_recipients(rule.legs, rule.recipients, ids)
        effective_from = rule.effective_from or 0
        signature = signer.propose(rule.out_rule_no, rule.version, effective_from, legs, rule.terms)
        return {"version": rule.version, "effective_from": effective_from, "signature": signature}

    def condition(self, wanted: NewCondition) -> Flow[str]:
        """The signature of a condition."""
        signer = yield from self._ready()
        confirmer = NOTHING
        if wanted.confirmer is not None:
            confirmer = identifiers.parse_id("confirmer", wanted.confirmer)
        return signer.open(wanted.out_condition_no, wanted.needed, wanted.deadline, confirmer)

    def confirmation(self, found: ConditionView) -> Flow[str]:
        """The signature of a condition's confirmation."""
        signer = yield from self._ready()
        platform = identifiers.parse_id("platform_id", found.platform_id)
        return signer.confirm(platform, identifiers.parse_id("condition_id", found.condition_id))

    def schedule(self, schedule: NewSchedule) -> Flow[dict[str, Any]]:
        """What a signed proposal of a schedule has beside its entries. Raises InvalidInput when it names no version."""
        if schedule.version is None:
            raise InvalidInput("version", "a signed proposal names it")
        signer = yield from self._ready()
        entries = [entry.entry(signer.platform) for entry in schedule.entries]
        effective_from = schedule.effective_from or 0
        signature = signer.propose_schedule(schedule.version, effective_from, entries)
        return {"version": schedule.version, "effective_from": effective_from, "signature": signature}

    def schedule_retirement(self) -> Flow[str]:
        """The signature of the retirement of the platform's schedule."""
        return (yield from self._ready()).retire_schedule()

    def retirement(self, rule: str) -> Flow[str]:
        """The signature of a rule's retirement."""
        return (yield from self._ready()).retire(rule)

    def _ready(self) -> Flow[Signer]:
        if self._signer is None:
            network = yield from self._api.get_network()
            self._key.check(network)
            platform = yield from self._api.get_participant(self._key.platform)
            address = "0x" + self._key.key.address.hex()
            if platform.authority is None or platform.authority.lower() != address:
                raise WrongNetwork(
                    f"{self._key.platform} signs with {platform.authority}, and this key is {address}",
                    expected=address,
                    found=platform.authority,
                )
            platform_id = identifiers.parse_id("participant_id", platform.participant_id)
            self._signer = Signer.on(network, self._key.key, platform_id)
        return self._signer

    def _instruction(
        self,
        platform: bytes,
        item: NewSplit | NewRelease | NewReturn | NewRefund,
        orders: Mapping[str, bytes],
        items: Sequence[NewInstruction],
    ) -> Flow[Instruction]:
        match item:
            case NewSplit():
                bindings = yield from self._bindings(item, items)
                return Instruction(
                    kind=InstructionKind.SPLIT,
                    id=identifiers.split_id(platform, item.out_split_no),
                    order_id=identifiers.order_id(platform, item.out_order_no),
                    amount=item.amount,
                    bindings=bindings,
                    amounts=tuple(item.given or ()),
                )
            case NewRelease():
                return Instruction(
                    kind=InstructionKind.RELEASE,
                    id=identifiers.release_id(platform, item.out_release_no),
                    order_id=identifiers.order_id(platform, item.out_order_no),
                )
            case NewReturn():
                order_id = orders.get(item.out_split_no)
                if order_id is None:
                    order_id = yield from self._order_of_split(item.out_split_no)
                return Instruction(
                    kind=InstructionKind.RETURN,
                    id=identifiers.return_id(platform, item.out_return_no),
                    order_id=order_id,
                    split_id=identifiers.split_id(platform, item.out_split_no),
                    amount=item.amount,
                    amounts=tuple(item.amounts or ()),
                )

            case NewRefund():
                return Instruction(
                    kind=InstructionKind.REFUND,
                    id=identifiers.refund_id(platform, item.out_refund_no),
                    order_id=identifiers.order_id(platform, item.out_order_no),
                    amount=item.amount,
                )

    def _order_of_split(self, reference: str) -> Flow[bytes]:
        split = yield from self._api.get_instruction(InstructionType.SPLIT, reference)
        return identifiers.parse_id("order_id", split.order_id or "")

    def _bindings(self, split: NewSplit, items: Sequence[NewInstruction]) -> Flow[tuple[bytes, ...]]:
        """Nothing, or an entry for every role of the order's rule version."""
        if not split.bindings:
            return ()
        captured = next(
            (
                item
                for item in items
                if isinstance(item, NewOrder) and item.out_order_no == split.out_order_no
            ),
            None,
        )
        if captured is None:
            roles: Sequence[str] = list((yield from self._api.get_order(split.out_order_no)).bindings)
        else:
            roles = yield from self._roles(captured)
        ids = yield from self._participants(split.bindings.values())
        return tuple(ids[split.bindings[role]] if role in split.bindings else _NOBODY for role in roles)

    def _roles(self, order: NewOrder) -> Flow[Sequence[str]]:
        """Of the rule version that an order is going to be captured by."""
        if order.out_rule_no is None:
            selected = yield from self._api.select_rule(order.amount, order.currency, order.facts)
            return () if selected.rule is None else selected.rule.roles
        rule = yield from self._api.get_rule(order.out_rule_no)
        number = order.rule_version or rule.in_force or rule.latest
        return next(version.roles for version in rule.versions if version.version == number)

    def _participants(self, names: Iterable[str]) -> Flow[dict[str, bytes]]:
        for name in names:
            if name not in self._ids:
                found = yield from self._api.get_participant(name)
                self._ids[name] = identifiers.parse_id("participant_id", found.participant_id)
        return self._ids
