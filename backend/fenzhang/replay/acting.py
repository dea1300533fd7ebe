"""Carries out the acts of a day: each as the one whose act it is, through the API, until the chain has decided it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Self

from fenzhang.client import (
    ApiError,
    AsyncClient,
    Instruction,
    InstructionType,
    NewCondition,
    NewEntry,
    NewFreeze,
    NewSchedule,
    RetryPolicy,
    State,
)
from fenzhang.replay.credentials import GUARDIANS, Apps
from fenzhang.replay.day import REFUSED, Act, ActKind, Part, outcome_text
from fenzhang.replay.preparing import PlayedPlatform, ReplayFailed, new_rule, together
from fenzhang.replay.scenario import Scenario

SetLock = Callable[[int], Awaitable[object]]
"""Sets the approval lock, in seconds. It is the administrator's of the contracts and so not in the API."""
_SETTLE_S = 120.0
_LOOK_S = 0.2
_DAY_S = 86_400
_FREEZER, _THAWER = GUARDIANS
_WAITED_FOR: Final = {
    ActKind.CONSENT: InstructionType.CONSENT,
    ActKind.CAP: InstructionType.CAP,
    ActKind.PLACE: InstructionType.PLACE,
    ActKind.SUSPEND: InstructionType.SUSPEND,
    ActKind.RESUME: InstructionType.RESUME,
    ActKind.CLOSE: InstructionType.CLOSE,
    ActKind.HEIR: InstructionType.HEIR,
    ActKind.RESOLVE: InstructionType.RESOLVE,
    ActKind.PROPOSE: InstructionType.PROPOSE,
    ActKind.APPROVE: InstructionType.APPROVE,
    ActKind.VETO: InstructionType.VETO,
    ActKind.RETIRE: InstructionType.RETIRE,
    ActKind.PROPOSE_SCHEDULE: InstructionType.PROPOSE,
    ActKind.APPROVE_SCHEDULE: InstructionType.APPROVE,
    ActKind.VETO_SCHEDULE: InstructionType.VETO,
    ActKind.RETIRE_SCHEDULE: InstructionType.RETIRE,
}
"""Acts whose outcome their platform is told."""
_OF_SCHEDULES: Final = frozenset(
    {
        ActKind.PROPOSE_SCHEDULE,
        ActKind.APPROVE_SCHEDULE,
        ActKind.VETO_SCHEDULE,
        ActKind.RETIRE_SCHEDULE,
    }
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an act. `answer` is that of a question."""

    part: str
    act: Act
    state: str
    reason: str | None = None
    answer: Any = None

    @property
    def difference(self) -> str | None:
        """What is not as the day expects it, None if nothing."""
        act, found = self.act, outcome_text(self.state, self.reason)
        what = f"{act.place} ({act.kind} {act.reference})"
        if found != str(act.expect):
            return f"{what}: expected {act.expect}, found {found}"
        if act.kind.is_question and not _contains(self.answer, act.values["answer"]):
            return f"{what}: expected {act.values['answer']}, found {self.answer}"
        return None


@dataclass(slots=True)
class Actor:
    """Carries out acts on `platforms`. `begins` says when each part began, Unix seconds by name."""

    scenario: Scenario
    platforms: Mapping[str, PlayedPlatform]
    operator: AsyncClient
    approver: AsyncClient
    guardians: Mapping[str, AsyncClient]
    set_lock: SetLock | None
    begins: dict[str, int] = field(default_factory=dict)

    @classmethod
    async def opened(  # noqa: PLR0917 -- with whom, on what
        cls,
        stack: AsyncExitStack,
        api: str,
        apps: Apps,
        policy: RetryPolicy,
        scenario: Scenario,
        platforms: Sequence[PlayedPlatform],
        set_lock: SetLock | None,
    ) -> Self:
        """With clients for everybody, closed with the stack."""
        named = {"operator": apps.operator, "approver": apps.approver, **apps.guardians}
        clients = {
            name: await stack.enter_async_context(AsyncClient(api, app, policy=policy))
            for name, app in named.items()
        }
        guardians = {name: clients[name] for name in apps.guardians}
        by_name = {platform.name: platform for platform in platforms}
        return cls(scenario, by_name, clients["operator"], clients["approver"], guardians, set_lock)

    async def now(self) -> int:
        """The chain's time as the mirror knows it, Unix seconds."""
        found = (await self.operator.get_trial_balance()).block_time
        return int(time.time()) if found is None else found

    async def wait_until(self, moment: int) -> None:
        """Until the mirror has read a block of this time or later."""

        async def reached() -> bool:
            return await self.now() >= moment

        ahead_s = max(0, moment - await self.now())
        await _until(reached, f"the chain's time is {moment}", ahead_s + _SETTLE_S)

    async def carry_out(self, part: Part, *, over: bool = False) -> list[Outcome]:
        """All acts of a part at the same time.

        Once the part is `over`, those are left out that would not be answered as they were then. Writes are known by
        their references, and not done again.
        """
        acts = [act for act in part.acts if not over or (act.kind.is_write and act.expect.state != REFUSED)]
        return await together(self._carry_out(part, act) for act in acts)

    async def _carry_out(self, part: Part, act: Act) -> Outcome:
        try:
            match act.kind:
                case ActKind.DIFF | ActKind.WHAT_IF | ActKind.SELECT:
                    return Outcome(part.name, act, "SETTLED", answer=await self._answer(act))
                case ActKind.EXPIRY:
                    await together(self._expired(act, order) for order in act.values["orders"])
                    return Outcome(part.name, act, "SETTLED")
                case ActKind.APPROVAL_LOCK:
                    await self._lock(act)
                    return Outcome(part.name, act, "SETTLED")
                case ActKind.FREEZE | ActKind.UNFREEZE:
                    found = await self._freeze(act)
                case ActKind.OPEN:
                    found = await self._open(part, act)
                case ActKind.CONFIRM:
                    found = await self._confirm(act)
                case _:
                    await self._ask(part, act)
                    client = self._client(act)
                    found = await client.wait_for(_WAITED_FOR[act.kind], act.reference, timeout_s=_SETTLE_S)
        except ApiError as refusal:
            return Outcome(part.name, act, REFUSED, refusal.code)
        return Outcome(part.name, act, found.state.value, None if found.reason is None else found.reason.code)

    async def _ask(self, part: Part, act: Act) -> None:
        """Write what the act asks for."""
        if act.kind in _OF_SCHEDULES:
            await self._change_schedule(part, act)
        elif "rule" in act.values:
            await self._change_rule(part, act)
        else:
            await self._change_participant(act)

    async def _change_participant(self, act: Act) -> None:
        values, client = act.values, self._client(act)
        match act.kind:
            case ActKind.CONSENT:
                await client.change_consent(values["participant"], act.reference, granted=values["granted"])
            case ActKind.CAP:
                guardian = self._guardian(_FREEZER)
                await guardian.cap_platform(act.platform, act.reference, values["max_share_out"])
            case ActKind.HEIR:
                guardian, names = self._guardian(_FREEZER), (values["participant"], values["heir"])
                await guardian.name_heir(act.platform, *names, act.reference)
            case ActKind.PLACE:
                await client.place_participant(values["participant"], values["below"], act.reference)
            case ActKind.SUSPEND:
                await client.suspend_participant(values["participant"], act.reference)
            case ActKind.RESUME:
                await client.resume_participant(values["participant"], act.reference)
            case ActKind.CLOSE:
                await client.close_participant(values["participant"], act.reference)
            case _:
                await client.resolve_suspense(values["participant"], values["currency"], act.reference)

    def _schedule(self, part: Part, act: Act) -> NewSchedule:
        begin = self.begins[part.name]
        entries = [
            NewEntry(
                out_rule_no=entry.rule,
                facts=entry.facts,
                currency=entry.currency,
                amount_from=entry.amount_from,
                amount_below=entry.amount_below,
                valid_from=entry.valid_from.at(begin),
                valid_until=entry.valid_until.at(begin),
            )
            for entry in act.values["entries"]
        ]
        return NewSchedule(out_request_no=act.reference, entries=entries, version=act.values["schedule"])

    async def _change_schedule(self, part: Part, act: Act) -> None:
        """Propose, approve, veto or retire."""
        if act.kind is ActKind.PROPOSE_SCHEDULE:
            await self._client(act).propose_schedule(self._schedule(part, act))
            return
        if act.kind is ActKind.RETIRE_SCHEDULE:
            await self._client(act).retire_schedule(act.reference)
            return
        approves, number = act.kind is ActKind.APPROVE_SCHEDULE, act.values["schedule"]
        client = self.approver if approves else self._guardian(_FREEZER)
        versions = (await client.get_schedule(act.platform)).versions
        read = next((each for each in versions if each.version == number), None)
        if read is None:
            raise ReplayFailed(f"{act.place}: there is no version {number} of the schedule")
        if approves:
            await client.approve_schedule(act.reference, act.platform, read)
        else:
            await client.veto_schedule(act.reference, act.platform, read, act.values["reason"])

    async def _change_rule(self, part: Part, act: Act) -> None:
        """Propose, approve, veto or retire."""
        rule, number = act.values["rule"], act.values.get("version")
        if number is None:
            await self._client(act).retire_rule(rule, act.reference)
            return
        if act.kind is ActKind.PROPOSE:
            version = self.scenario.rules[rule][number - 1]
            moment = version.effective_from
            begin = 0 if moment is None else moment.at(self.begins[part.name])
            await self._client(act).propose_rule(new_rule(act.reference, rule, version, number, begin))
            return
        approves = act.kind is ActKind.APPROVE
        client = self.approver if approves else self._guardian(_FREEZER)
        versions = (await client.get_rule(rule, act.platform)).versions
        read = next((each for each in versions if each.version == number), None)
        if read is None:
            raise ReplayFailed(f"{act.place}: there is no version {number} of {rule}")
        if approves:
            await client.approve_rule(act.reference, act.platform, read)
        else:
            await client.veto_rule(act.reference, act.platform, read, act.values["reason"])

    async def _freeze(self, act: Act) -> Instruction:
        values, freezes = act.values, act.kind is ActKind.FREEZE
        guardian = self._guardian(values["by"] or (_FREEZER if freezes else _THAWER))
        wanted = NewFreeze(
            out_request_no=act.reference,
            platform=act.platform,
            reason=values["reason"],
            out_order_no=values["order"],
            out_split_no=values["split"],
            out_participant_no=values["participant"],
        )
        found = await (guardian.freeze(wanted) if freezes else guardian.unfreeze(wanted))
        look = guardian.get_freeze if freezes else guardian.get_unfreeze
        while not found.state.is_terminal:
            found = await look(act.reference, act.platform, wait_s=30.0)
        return found

    async def _open(self, part: Part, act: Act) -> Instruction:
        values, client = act.values, self._client(act)
        wanted = NewCondition(
            out_condition_no=act.reference,
            deadline=values["deadline"].at(self.begins[part.name]),
            needed=values["needed"] or 0,
            confirmer=values["confirmer"],
        )
        await client.open_condition(wanted)
        return await client.wait_for(InstructionType.CONDITION, act.reference, timeout_s=_SETTLE_S)

    async def _confirm(self, act: Act) -> Instruction:
        condition, by = act.values["condition"], self._client(act, act.values["by"])
        found = await by.confirm_condition(act.reference, act.platform, condition)

        async def confirmed() -> bool:
            return (await by.get_condition(condition, act.platform)).confirmed

        await _until(confirmed, f"{act.place}: {condition} is confirmed")
        return replace(found, state=State.SETTLED)

    async def _lock(self, act: Act) -> None:
        """Set the approval lock, and wait until the backend knows it."""
        if self.set_lock is None:
            raise ReplayFailed(f"{act.place}: nobody here may set the approval lock")
        seconds: int = act.values["seconds"]
        await self.set_lock(seconds)

        async def known() -> bool:
            return (await self._client(act).get_rule(act.values["rule"])).approval_lock == seconds

        await _until(known, f"{act.place}: the approval lock is {seconds} s")

    async def _expired(self, act: Act, order: str) -> None:
        """Wait until an order was released by its expiry."""

        async def released() -> bool:
            return (await self._client(act).get_order(order)).held == 0

        await _until(released, f"{act.place}: order {order} is released")

    async def _answer(self, act: Act) -> Any:
        values, client = act.values, self._client(act)
        if act.kind is ActKind.DIFF:
            return asdict(await client.diff_rule(values["rule"], values["from"], values["to"]))
        if act.kind is ActKind.SELECT:
            return asdict(await client.select_rule(values["amount"], values["currency"], values["facts"]))
        begin = min(self.begins.values())
        asked = (values["rule"], values["version"], begin - _DAY_S, begin + _DAY_S)
        return asdict(await client.what_if(*asked))

    def _client(self, act: Act, platform: str | None = None) -> AsyncClient:
        """That of the act's own platform, or of another one."""
        name = platform or act.platform
        found = self.platforms.get(name)
        if found is None:
            raise ReplayFailed(f"{act.place}: the platform {name} has no orders and is not played")
        return found.client

    def _guardian(self, name: str) -> AsyncClient:
        if name not in self.guardians:
            raise ReplayFailed(f"the file of apps has no {name}, and the day needs one")
        return self.guardians[name]


async def _until(true: Callable[[], Awaitable[bool]], what: str, timeout_s: float = _SETTLE_S) -> None:
    """Ask until it is true. Raises ReplayFailed when it does not become so."""
    deadline = time.monotonic() + timeout_s
    while not await true():
        if time.monotonic() > deadline:
            raise ReplayFailed(f"it is not so after {timeout_s:g} s that {what}")
        await asyncio.sleep(_LOOK_S)


def _contains(found: Any, expected: Any) -> bool:
    """Whether `found` has everything that is expected. Objects may have more members, lists any order."""
    if isinstance(expected, dict):
        return isinstance(found, Mapping) and all(
            name in found and _contains(found[name], value) for name, value in expected.items()
        )
    if isinstance(expected, list):
        return len(found) == len(expected) and all(
            any(_contains(each, wanted) for each in found) for wanted in expected
        )
    return bool(found == expected)
