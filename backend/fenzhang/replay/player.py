"""Plays the orders of one platform: sends them in batches and bulk files, follows what becomes of them.

The instructions of an order are sent in the order's own order; different orders are independent of each other. What
is sent depends on the scenario and on when its parts began, which is remembered, so a second run sends the same
requests and is given the same answers.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from fenzhang.client import (
    ApiError,
    Conflict,
    FileState,
    Instruction,
    InstructionType,
    InvalidRequest,
    NewInstruction,
    NewOrder,
    NewRefund,
    NewRelease,
    NewReturn,
    NewSplit,
    Refused,
    State,
)
from fenzhang.domain.rules import roles_of
from fenzhang.replay.bulk import rejected_rows, written
from fenzhang.replay.day import REFUSED, Expectation
from fenzhang.replay.preparing import PlayedPlatform, together
from fenzhang.replay.scenario import Operation, Scenario, ScenarioOrder, Step

Key = tuple[InstructionType, str]
BATCH = 200
"""Items of one request. An order is never divided between two requests unless it alone is longer."""
SIGNED_BATCH = 40
"""Items of one request under one client-side signature, which has to fit one transaction."""
LANES = 2
"""Requests of one platform that are under way at a time."""
_POLL_S = 2.0
"""How long one look at the feed waits for news."""
_HEAD_START_S = 0.3
"""How long after the first request the feed is looked at."""


@dataclass(frozen=True, slots=True)
class Item:
    """One write, and the line of the scenario that asks for it."""

    line: int
    new: NewInstruction
    expect: Expectation | None = None
    waits: bool = False

    @property
    def key(self) -> Key:
        """What the write is known by."""
        return self.new.type, self.new.reference


@dataclass(frozen=True, slots=True)
class Refusal:
    """A write that the API did not accept."""

    line: int
    key: Key
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Fate:
    """Where an accepted write stands, and the code of the chain's reason if it was rejected."""

    state: State
    reason: str | None = None


@dataclass(slots=True)
class Tally:
    """What became of a platform's writes. `undecided` are accepted and not settled or rejected."""

    items: list[Item] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    fates: dict[Key, Fate] = field(default_factory=dict)
    fresh: int = 0
    """Writes that were not known to be decided when this run sent them."""
    last_change: float = field(default_factory=time.monotonic)

    def settled(self, kind: InstructionType) -> int:
        """Settled writes of a type."""
        return sum(1 for key, fate in self.fates.items() if key[0] is kind and fate.state is State.SETTLED)

    def rejected(self) -> Counter[str]:
        """Refused and rejected writes by code."""
        refused = Counter(refusal.code for refusal in self.refusals)
        return refused + Counter(
            fate.reason or "" for fate in self.fates.values() if fate.state is State.REJECTED
        )

    def undecided(self) -> list[Key]:
        """Accepted writes whose fate is open."""
        return [key for key, fate in self.fates.items() if not fate.state.is_terminal]


@dataclass(slots=True)
class Player:
    """Plays one platform. `sent` and `decided` hear how many more writes were answered, or decided."""

    platform: PlayedPlatform
    scenario: Scenario
    sent: Callable[[int], None]
    decided: Callable[[int], None]
    stall_s: float = 180.0
    """Stop following when nothing was decided for so long."""
    tally: Tally = field(default_factory=Tally)
    _read_to: int = 0
    _waiting: set[Key] = field(default_factory=set)
    """Writes that wait for conditions, whose end later parts do not wait for."""

    async def play(self, part: int, begin: int, *, over: bool = False) -> None:
        """Send everything of a part that began at `begin`, and follow until it is decided or nothing moves any more.

        When the part is `over`, because an earlier run came to its end, what must be refused is not tried again: the
        world has changed since.
        """
        orders = self.scenario.orders_of(self.platform.name)
        groups, files = [], defaultdict[str, list[Item]](list)
        for order in orders:
            items = list(self._items(order, part, begin))
            self.tally.items += items
            self._waiting.update(item.key for item in items if item.waits)
            if order.file is not None and order.part == part:
                files[order.file] += items
                continue
            if over:
                items = list(self._without_known_refusals(items))
            if items:
                groups.append(items)
        if not groups and not files:
            return
        uploads = (self._upload(name, items) for name, items in files.items())
        sending = asyncio.ensure_future(together([self._send(groups), *uploads]))
        self.tally.last_change = time.monotonic()
        try:
            # What is refused at once is in no feed.
            await asyncio.wait([sending], timeout=_HEAD_START_S)
            await self._follow(sending)
            await sending
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def finish(self) -> None:
        """When all parts are played: follow what waited until it is decided as well."""
        self._waiting.clear()
        if self.tally.undecided():
            self.tally.last_change = time.monotonic()
            await self._follow(asyncio.ensure_future(together([])))

    # -------------------------------------------------------------------------- what is sent

    def _items(self, order: ScenarioOrder, part: int, begin: int) -> Iterator[Item]:
        if order.part == part:
            yield Item(order.line, self._capture(order, begin), order.expect)
        for step in order.steps:
            if step.part == part:
                yield Item(order.line, _new_step(order, step), step.expect, step.waits)

    def _capture(self, order: ScenarioOrder, begin: int) -> NewOrder:
        bindings = order.bindings
        if order.rule:
            versions = self.scenario.rules[order.rule]
            roles = {role for version in versions for role in roles_of([leg.leg for leg in version.legs])}
            # Who holds a role that the rule does not have is nothing to the split.
            bindings = {role: name for role, name in bindings.items() if role in roles}
        return NewOrder(
            out_order_no=order.reference,
            out_rule_no=order.rule or None,
            rule_version=order.rule_version,
            merchant=order.merchant,
            currency=order.currency,
            amount=order.amount,
            channel=order.channel,
            bindings=bindings,
            facts=order.facts,
            condition_no=order.condition,
            hold_until=None if order.hold_until is None else order.hold_until.at(begin),
            expires_at=None if order.expires_at is None else order.expires_at.at(begin),
        )

    def _without_known_refusals(self, items: Iterable[Item]) -> Iterator[Item]:
        for item in items:
            if item.expect is not None and item.expect.state == REFUSED:
                self._refuse(item, item.expect.reason or REFUSED, "refused by an earlier run")
            else:
                yield item

    def _requests(self, groups: Sequence[list[Item]]) -> Iterator[list[list[Item]]]:
        """Chains of requests: those of one chain are sent one after the other, chains independently."""
        if self.platform.signs:
            for chunk in _chunks(groups, SIGNED_BATCH):
                yield [part for wave in _waves(chunk) for part in _cut(wave, SIGNED_BATCH)]
        else:
            for chunk in _chunks(groups, BATCH):
                yield list(_cut([item for group in chunk for item in group], BATCH))

    async def _send(self, groups: Sequence[list[Item]]) -> None:
        chains = iter(list(self._requests(groups)))

        async def lane() -> None:
            for chain in chains:
                for request in chain:
                    await self._submit(request)

        await together(lane() for _ in range(LANES))

    # -------------------------------------------------------------------------- sending

    async def _submit(self, items: list[Item]) -> None:
        """Send one request; under a signature it is all or nothing, so what is refused is left out of the next try."""
        while items:
            try:
                answers = await self.platform.client.submit([item.new for item in items])
            except (Conflict, InvalidRequest) as refusal:
                if refusal.code in {"authorization_mixed", "authorization_too_large"} and len(items) > 1:
                    half = len(items) // 2
                    await self._submit(items[:half])
                    await self._submit(items[half:])
                    return
                items = self._without_refused(items, refusal)
            except ApiError as refusal:
                items = self._without_refused(items, refusal)
            else:
                for item, answer in zip(items, answers, strict=True):
                    self._note(item, answer)
                return

    def _without_refused(self, items: list[Item], refusal: ApiError) -> list[Item]:
        """The items without the one that `refusal` names. Raises it again when it names none."""
        index = refusal.values.get("item")
        if not isinstance(index, int) or not 0 <= index < len(items):
            raise refusal
        self._refuse(items[index], refusal.code, refusal.message)
        return items[:index] + items[index + 1 :]

    def _note(self, item: Item, answer: Instruction | Refused) -> None:
        if isinstance(answer, Refused):
            self._refuse(item, answer.code, answer.detail)
            return
        self.sent(1)
        if not answer.state.is_terminal:
            self.tally.fresh += 1
        self._decide(item.key, answer)

    def _refuse(self, item: Item, code: str, detail: str) -> None:
        self.tally.refusals.append(Refusal(item.line, item.key, code, detail))
        self.tally.last_change = time.monotonic()
        self.sent(1)
        self.decided(1)

    async def _upload(self, name: str, items: list[Item]) -> None:
        """Send items as a bulk file, and take note of its rows. A file that is known is not worked through again."""
        client = self.platform.client
        with written(name, [item.new for item in items]) as path:
            received = await client.upload_file(path, name)
        file = await client.wait_for_file(name)
        refused = rejected_rows(name, await client.get_rejections(name)) if file.rejected else {}
        for row, item in enumerate(items):
            if row in refused:
                self._refuse(item, *refused[row])
            elif file.known or received.state is not FileState.RECEIVED:
                # What became of it may stand in a part of the feed that was read before.
                self._note(item, await client.get_instruction(*item.key))
            else:
                self.sent(1)
                self.tally.fresh += 1
                self.tally.fates.setdefault(item.key, Fate(State.ACCEPTED))

    # -------------------------------------------------------------------------- following

    async def _follow(self, sending: asyncio.Future[list[None]]) -> None:
        """Read the feed until everything that was sent is decided."""
        wanted = {item.key for item in self.tally.items}
        while not (sending.done() and self._waiting.issuperset(self.tally.undecided())):
            if sending.done() and sending.exception() is not None:
                return
            page = await self.platform.client.completions(self._read_to, wait_s=_POLL_S)
            self._read_to = page.next
            for completion in page.completions:
                found = completion.instruction
                if (found.type, found.reference) in wanted:
                    self._decide((found.type, found.reference), found)
            if page.completions:
                continue
            if sending.done() and time.monotonic() - self.tally.last_change > self.stall_s:
                return

    def _decide(self, key: Key, found: Instruction) -> None:
        """Take note of a state; of an old state never, for answers and feed overtake each other."""
        before = self.tally.fates.get(key)
        was_decided = before is not None and before.state.is_terminal
        if was_decided and not found.state.is_terminal:
            return
        reason = None if found.reason is None else found.reason.code
        self.tally.fates[key] = Fate(found.state, reason)
        if found.state.is_terminal and not was_decided:
            self.tally.last_change = time.monotonic()
            self.decided(1)


def _new_step(order: ScenarioOrder, step: Step) -> NewInstruction:
    match step.operation:
        case Operation.SPLIT:
            return NewSplit(
                out_split_no=step.reference,
                out_order_no=order.reference,
                amount=step.amount,
                bindings=step.bindings,
                given=step.given or None,
            )
        case Operation.RETURN:
            return NewReturn(
                out_return_no=step.reference,
                out_split_no=step.split,
                amount=step.amount,
                amounts=step.amounts,
            )
        case Operation.RELEASE:
            return NewRelease(out_release_no=step.reference, out_order_no=order.reference)
        case Operation.REFUND:
            return NewRefund(out_refund_no=step.reference, out_order_no=order.reference, amount=step.amount)


def _chunks(groups: Sequence[list[Item]], size: int) -> Iterator[list[list[Item]]]:
    """Whole orders together, at most `size` items each unless one order alone has more."""
    chunk: list[list[Item]] = []
    count = 0
    for group in groups:
        if chunk and count + len(group) > size:
            yield chunk
            chunk, count = [], 0
        chunk.append(group)
        count += len(group)
    if chunk:
        yield chunk


def _waves(chunk: Sequence[list[Item]]) -> list[list[Item]]:
    """The items in rounds, so that no return or refund is in one round with an earlier instruction of its order.

    They open their order's past as it stands before their authorization, so they cannot be behind another there.
    """
    waves: list[list[Item]] = []
    for group in chunk:
        wave, begun = 0, False
        for item in group:
            if item.new.type in {InstructionType.RETURN, InstructionType.REFUND} and begun:
                wave, begun = wave + 1, False
            begun = begun or item.new.type is not InstructionType.CAPTURE
            waves.extend([] for _ in range(wave + 1 - len(waves)))
            waves[wave].append(item)
    return waves


def _cut(items: list[Item], size: int) -> Iterator[list[Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
