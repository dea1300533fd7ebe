"""Before the first order: platforms with their apps, the participants that they pay, the rules that they split by."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, TypeVar

from fenzhang.chain.signer import LocalKey
from fenzhang.client import (
    AsyncClient,
    Conflict,
    Credentials,
    Instruction,
    InstructionType,
    NewRule,
    NotFound,
    ParticipantView,
    PlatformKey,
    RetryPolicy,
    State,
    Unauthenticated,
)
from fenzhang.client.models import RuleVersion
from fenzhang.domain.errors import FenzhangError
from fenzhang.domain.identifiers import parse_id
from fenzhang.domain.rules import Leg, LegKind
from fenzhang.replay.credentials import Apps, Memory
from fenzhang.replay.legs import ScenarioVersion
from fenzhang.replay.scenario import Scenario

T = TypeVar("T")
_AT_ONCE = 8
"""Requests under way at a time, of one platform."""
_SETTLE_S = 120.0
"""How long one enrolment, proposal or approval may take."""
_KEY_BYTES = 32
_LONGEST_REFERENCE = 64


class ReplayFailed(FenzhangError):
    """The scenario cannot be played on this system."""

    code = "replay_failed"


@dataclass(slots=True)
class PlayedPlatform:
    """A platform that is ready: its client, its id, and whether the client signs (else the keystore does)."""

    name: str
    client: AsyncClient
    id: bytes
    signs: bool


@dataclass(slots=True)
class Preparation:
    """Sets a scenario up through the API. `done` is called for each thing that is ready."""

    api: str
    apps: Apps
    memory: Memory
    policy: RetryPolicy
    done: Callable[[], None]

    async def platforms(self, scenario: Scenario, own_key: str | None) -> list[PlayedPlatform]:
        """Every platform with orders, and everything that these need.

        The platform `own_key` signs for itself if it is new.
        Raises ReplayFailed, ApiError, ApiUnreachable. What is there already is left as it is.
        """
        async with (
            AsyncClient(self.api, self.apps.operator, policy=self.policy) as operator,
            AsyncClient(self.api, self.apps.approver, policy=self.policy) as approver,
        ):
            return await together(
                self._platform(scenario, name, operator, approver, own_key=name == own_key)
                for name in scenario.platforms
                if scenario.orders_of(name)
            )

    async def _platform(
        self, scenario: Scenario, name: str, operator: AsyncClient, approver: AsyncClient, *, own_key: bool
    ) -> PlayedPlatform:
        key = await self._enrol(name, operator, own_key=own_key)
        governed = {act.values.get("rule") for act in scenario.acts if act.platform == name}
        signing = None if key is None else PlatformKey(key=key, platform=name)
        credentials = await self._app(name, operator)
        client = AsyncClient(self.api, credentials, key=signing, policy=self.policy)
        try:
            found = await client.get_participant(name)
            self.done()
            ids = {name: parse_id("participant_id", found.participant_id)}
            enrolling = asyncio.create_task(self._participants(client, scenario.recipients_of(name), ids))

            async def set_up(rule: str) -> None:
                wanted = scenario.rules[rule][0]
                if any(leg.recipient is not None for leg in wanted.legs):
                    await asyncio.shield(enrolling)
                await self._rule(client, approver, name, rule, wanted, ids, rule in governed)
                self.done()

            await together([enrolling, *map(set_up, scenario.rules_of.get(name, ()))])
        except BaseException:
            await client.close()
            raise
        return PlayedPlatform(name, client, ids[name], signs=key is not None)

    # -------------------------------------------------------------------------- platform and app

    async def _enrol(self, name: str, operator: AsyncClient, *, own_key: bool) -> LocalKey | None:
        """Enrol a platform, and return the key that it signs with itself, None if the keystore signs."""
        key = self.memory.key(name)
        if key is None and own_key and not await _is_known(operator, name):
            key = LocalKey(secrets.token_bytes(_KEY_BYTES))
            self.memory.remember_key(name, key)
        try:
            await operator.enrol_platform(name, None if key is None else "0x" + key.address.hex())
        except Conflict:
            found = await operator.get_platform(name)
            key = await self._other_way(name, operator, found)
        found = await operator.get_platform(name, wait_s=60.0)
        if found.enrolment is not None:
            _require_settled(await operator.wait_for(InstructionType.ENROLL, name, timeout_s=_SETTLE_S))
        return key

    async def _other_way(self, name: str, operator: AsyncClient, found: ParticipantView) -> LocalKey | None:
        """The platform was enrolled before, otherwise than it would be now: find out how it signs."""
        key = self.memory.key(name)
        if key is not None and found.authority == "0x" + key.address.hex():
            return key
        try:
            await operator.enrol_platform(name)
        except Conflict:
            raise ReplayFailed(
                f"the platform {name} signs for itself with {found.authority}, and {self.memory.path} does not have "
                "that key: without it nothing can be written for the platform",
                platform=name,
            ) from None
        return None

    async def _app(self, name: str, operator: AsyncClient) -> Credentials:
        """Credentials of an app of the platform: the remembered one if it still works, else a new one."""
        known = self.memory.app(name)
        if known is not None and await self._works(known, name):
            return known
        app_name = _reference("replay-", name)
        try:
            made = await operator.create_app(app_name, ["platform"], name)
        except Conflict:
            # It was made before, and its secret is lost.
            suffix = f"-{secrets.token_hex(4)}"
            app_name = app_name[: _LONGEST_REFERENCE - len(suffix)] + suffix
            made = await operator.create_app(app_name, ["platform"], name)
        credentials = Credentials(made.client_id, made.client_secret)
        self.memory.remember_app(name, credentials)
        return credentials

    async def _works(self, credentials: Credentials, platform: str) -> bool:
        async with AsyncClient(self.api, credentials, policy=self.policy) as client:
            try:
                found = await client.get_participant(platform)
            except (Unauthenticated, NotFound):
                return False
        return found.authority is not None

    # -------------------------------------------------------------------------- participants

    async def _participants(self, client: AsyncClient, names: Sequence[str], ids: dict[str, bytes]) -> None:
        """Enrol the participants that are not enrolled, and write down the ids of all."""
        known = {found.out_participant_no: found for found in await client.list_participants()}
        gate = asyncio.Semaphore(_AT_ONCE)

        async def enrol(name: str) -> None:
            found = known.get(name)
            async with gate:
                if found is None:
                    found = await client.enrol_participant(name)
            if found.status == "UNKNOWN":
                _require_settled(await client.wait_for(InstructionType.ENROLL, name, timeout_s=_SETTLE_S))
            ids[name] = parse_id("participant_id", found.participant_id)
            self.done()

        await together(enrol(name) for name in names)

    # -------------------------------------------------------------------------- rules

    async def _rule(  # noqa: PLR0917 -- who proposes, who approves, what
        self,
        client: AsyncClient,
        approver: AsyncClient,
        platform: str,
        name: str,
        wanted: ScenarioVersion,
        ids: dict[str, bytes],
        governed: bool,  # noqa: FBT001 -- as above
    ) -> None:
        """See to it that a version like this is in force: the next one, or of a `governed` rule the first one.

        What becomes of a governed rule after its first version was approved is said by the acts of the day.
        """
        rule = await client.find_rule(name)
        newest = None if rule is None else rule.versions[0 if governed else -1]
        if newest is None or not _is_like(newest, wanted, ids):
            if governed and newest is not None:
                raise ReplayFailed(f"rule {name} is known with another first version", rule=name)
            newest = await propose(client, name, wanted, 1 if rule is None else rule.latest + 1)
        elif newest.state == "IN_FORCE" or (governed and newest.state != "PROPOSED"):
            return
        else:
            # An interrupted run may have proposed it a moment ago.
            with suppress(NotFound):
                proposal = _reference(f"propose-{newest.version}-", name)
                await client.wait_for(InstructionType.PROPOSE, proposal, timeout_s=_SETTLE_S)
        approval = _reference(f"approve-{newest.version}-", name)
        try:
            await approver.approve_rule(approval, platform, newest)
            _require_settled(await client.wait_for(InstructionType.APPROVE, approval, timeout_s=_SETTLE_S))
        except Conflict as conflict:
            if conflict.code != "rule_already_approved":
                raise
        await _require_in_force(client, name, newest.version)


async def propose(client: AsyncClient, name: str, wanted: ScenarioVersion, version: int) -> RuleVersion:
    """Propose a version for as soon as it is approved, and wait for it. Raises ReplayFailed if the chain refuses."""
    request_no = _reference(f"propose-{version}-", name)
    await client.propose_rule(new_rule(request_no, name, wanted, version, 0))
    _require_settled(await client.wait_for(InstructionType.PROPOSE, request_no, timeout_s=_SETTLE_S))
    rule = await client.get_rule(name)
    return next(found for found in rule.versions if found.version == version)


def new_rule(
    request_no: str, name: str, wanted: ScenarioVersion, version: int, effective_from: int
) -> NewRule:
    """The proposal of a version."""
    legs = wanted.legs
    return NewRule(
        out_request_no=request_no,
        out_rule_no=name,
        legs=[leg.leg for leg in legs],
        recipients={index: leg.recipient for index, leg in enumerate(legs) if leg.recipient is not None},
        terms=wanted.terms,
        version=version,
        effective_from=effective_from,
    )


async def together(work: Iterable[Awaitable[T]]) -> list[T]:
    """All results in order; the first error cancels the rest and is raised as it is."""
    tasks = [asyncio.ensure_future(item) for item in work]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _is_known(operator: AsyncClient, name: str) -> bool:
    try:
        await operator.get_platform(name)
    except NotFound:
        return False
    return True


async def _require_in_force(client: AsyncClient, name: str, version: int) -> None:
    found = await client.get_rule(name)
    if found.in_force != version:
        state = next(row.state for row in found.versions if row.version == version)
        raise ReplayFailed(f"rule {name} version {version} is approved and not in force: {state}", rule=name)


def _require_settled(found: Instruction) -> None:
    if found.state is State.REJECTED:
        why = "" if found.reason is None else f": {found.reason.message}"
        raise ReplayFailed(
            f"the chain refuses {found.type.value} {found.reference}{why}", reference=found.reference
        )


def _is_like(version: RuleVersion, wanted: ScenarioVersion, ids: dict[str, bytes]) -> bool:
    legs = [leg.resolved(ids) for leg in wanted.legs]
    return (legs, wanted.terms) == ([_leg(leg) for leg in version.legs], version.terms)


def _leg(leg: Any) -> Leg:
    recipient = leg.get("recipient")
    return Leg(
        parent=leg["parent"],
        kind=LegKind[leg["kind"]],
        value=leg["value"],
        min=leg["min"],
        max=leg["max"],
        recipient=None if recipient is None else parse_id("recipient", recipient),
        role=leg.get("role"),
    )


def _reference(prefix: str, name: str) -> str:
    """A reference made of both; a name that is too long is replaced by its hash."""
    if len(prefix) + len(name) <= _LONGEST_REFERENCE:
        return prefix + name
    return prefix + sha256(name.encode()).hexdigest()[: _LONGEST_REFERENCE - len(prefix)]
