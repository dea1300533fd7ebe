"""One replay from beginning to end."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fenzhang.chain.deployments import Deployment
from fenzhang.chain.node import NodeClient
from fenzhang.client import AsyncClient, InstructionType, RetryPolicy, State
from fenzhang.domain.identifiers import parse_id
from fenzhang.domain.suspense import suspense_id
from fenzhang.replay.acting import Actor, Outcome, SetLock
from fenzhang.replay.checking import Findings, check_levels, check_platform, check_totals
from fenzhang.replay.credentials import Apps, Memory
from fenzhang.replay.day import REFUSED
from fenzhang.replay.player import Player, Refusal, Tally
from fenzhang.replay.preparing import PlayedPlatform, Preparation, ReplayFailed, together
from fenzhang.replay.scenario import ORDERS, Scenario
from fenzhang.replay.standing import WAITS, CurrencyStanding, read_standing

KEYSTORE_ONLY = "none"
"""In place of a platform's name: no platform signs for itself."""
END = "(end)"
"""In place of a part's name: the day is over."""
FIRST_PATIENCE_S = 10.0
"""How long an API that does not answer from the beginning is waited for."""
LISTED_REFUSALS = 100
"""As many refusals are in a report by line; all are in its counts."""


def _ignore(_: int) -> None:
    """Hear nothing."""


@dataclass(slots=True, kw_only=True)
class Progress:
    """Who hears how far it is: things prepared, writes answered, writes decided, each as how many more."""

    prepared: Callable[[int], None] = _ignore
    sent: Callable[[int], None] = _ignore
    decided: Callable[[int], None] = _ignore


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayReport:
    """What came of a replay. `seconds` and `rate` are of the orders alone, without the preparation."""

    counts: dict[str, int]
    states: dict[str, dict[str, int]]
    """Writes by type and state; REFUSED are those that the API did not accept."""
    rejections: dict[str, int]
    """Refused and rejected writes by code."""
    refusals: list[Refusal]
    undecided: list[str]
    instructions: int
    """Writes of the scenario."""
    fresh: int
    """Those of them that were not decided before this run."""
    prepare_seconds: float
    seconds: float
    standing: dict[str, CurrencyStanding] | None
    """By currency, read from the chain; None if no node was given."""
    acts: list[Outcome] = field(default_factory=list)
    """What came of the acts of the day, part by part."""
    findings: Findings = field(default_factory=Findings)
    """What was compared with the expectations of the scenario."""

    @property
    def rate(self) -> float:
        """Writes decided per second by this run, measured from the first request to the last decision."""
        return self.fresh / self.seconds if self.seconds else 0.0

    @property
    def complete(self) -> bool:
        """Whether everything is decided, the chain's money adds up, and what the scenario expects came about."""
        standing = (self.standing or {}).values()
        conserved = all(currency.conserved for currency in standing)
        return conserved and not self.undecided and not self.findings.differences

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "counts": self.counts,
            "positions": None
            if self.standing is None
            else {currency: found.to_json() for currency, found in self.standing.items()},
            "states": self.states,
            "rejections": self.rejections,
            "refused": [
                {
                    "at": f"{ORDERS} line {refusal.line}",
                    "type": refusal.key[0].value,
                    "reference": refusal.key[1],
                    "code": refusal.code,
                    "detail": refusal.detail,
                }
                for refusal in self.refusals[:LISTED_REFUSALS]
            ],
            "undecided": self.undecided,
            "acts": [
                {
                    "part": found.part,
                    "op": found.act.kind.value,
                    "platform": found.act.platform,
                    "ref": found.act.reference,
                    "state": found.state,
                    "reason": found.reason,
                }
                for found in self.acts
            ],
            "expected": {"compared": self.findings.compared, "differences": self.findings.differences},
            "instructions": self.instructions,
            "decided_by_this_run": self.fresh,
            "seconds": {"prepare": round(self.prepare_seconds, 3), "play": round(self.seconds, 3)},
            "instructions_per_second": round(self.rate, 1),
        }


@dataclass(slots=True, kw_only=True)
class Replay:
    """Plays `scenario` on the API at `api` with the apps of the file `credentials`.

    `signs_itself` names the platform that signs with a key of its own, KEYSTORE_ONLY none; by default it is the one
    with the fewest orders and without bulk files, if there are several. `rpc` and `deployment` are where the result is
    read from. `set_lock` is for days that set the approval lock.
    """

    scenario: Scenario
    api: str
    credentials: Path
    rpc: str | None = None
    deployment: Deployment | None = None
    signs_itself: str | None = None
    set_lock: SetLock | None = None
    policy: RetryPolicy = field(default_factory=lambda: RetryPolicy(patience_s=120.0))
    progress: Progress = field(default_factory=Progress)

    async def run(self) -> ReplayReport:
        """Prepare, play, and look at the chain. Raises CredentialsUnreadable, ReplayFailed, and the client's errors."""
        began = time.monotonic()
        apps = Apps.load(self.credentials)
        await self._check_network(apps)
        memory = Memory.beside(self.credentials)
        preparation = Preparation(
            api=self.api,
            apps=apps,
            memory=memory,
            policy=self.policy,
            done=lambda: self.progress.prepared(1),
        )
        async with AsyncExitStack() as stack:
            platforms = await preparation.platforms(self.scenario, self._own_key())
            for platform in platforms:
                stack.push_async_callback(platform.client.close)
            prepared = time.monotonic()
            actor = await Actor.opened(
                stack, self.api, apps, self.policy, self.scenario, platforms, self.set_lock
            )
            players = [self._player(platform) for platform in platforms]
            outcomes = await self._play(actor, players, memory)
            played = time.monotonic()
            names = await _names(platforms)
            standing = await self._standing(platforms, names)
            report = _report(
                [player.tally for player in players], prepared - began, played - prepared, standing
            )
            return replace(
                report, acts=outcomes, findings=await self._check(players, outcomes, report, names)
            )

    async def _play(self, actor: Actor, players: Sequence[Player], memory: Memory) -> list[Outcome]:
        """All parts of the day, one after the other."""
        outcomes: list[Outcome] = []
        day, parts = self.scenario.platforms[0], self.scenario.parts
        ends = [part.name for part in parts[1:]] + [END]
        for number, (part, following) in enumerate(zip(parts, ends, strict=True)):
            begin = memory.begin_of(day, part.name)
            if begin is None:
                if part.after is not None:
                    earlier, seconds = part.after
                    await actor.wait_until(actor.begins[earlier] + seconds)
                begin = await actor.now()
                memory.remember_begin(day, part.name, begin)
            actor.begins[part.name] = begin
            # An earlier run that was interrupted in a part goes on in it.
            over = memory.begin_of(day, following) is not None
            outcomes += await actor.carry_out(part, over=over)
            await together(player.play(number, begin, over=over) for player in players)
        await together(player.finish() for player in players)
        if len(parts) > 1:
            memory.remember_begin(day, END, await actor.now())
        return outcomes

    async def _check(
        self,
        players: Sequence[Player],
        outcomes: Sequence[Outcome],
        report: ReplayReport,
        names: Mapping[bytes, str],
    ) -> Findings:
        findings = Findings(
            len(outcomes), [each.difference for each in outcomes if each.difference is not None]
        )
        await together(check_platform(player, names, findings) for player in players)
        clients = {player.platform.name: player.platform.client for player in players}
        await check_levels(self.scenario, clients, findings)
        check_totals(self.scenario, report.counts, report.rejections, report.standing, findings)
        return findings

    def steps_to_prepare(self) -> int:
        """How many things `progress.prepared` will hear of."""
        return sum(
            1 + len(self.scenario.recipients_of(name)) + len(self.scenario.rules_of.get(name, ()))
            for name in self.scenario.platforms
            if self.scenario.orders_of(name)
        )

    def writes(self) -> int:
        """How many writes the scenario has."""
        return sum(1 + len(order.steps) for order in self.scenario.orders)

    async def _check_network(self, apps: Apps) -> None:
        """Before anything is written: the API is there, and works with the contracts that the result is read from."""
        hasty = RetryPolicy(patience_s=FIRST_PATIENCE_S)
        async with AsyncClient(self.api, apps.operator, policy=hasty) as operator:
            network = await operator.get_network()
        if self.deployment is None:
            return
        ledger = "0x" + self.deployment.split_ledger.hex()
        if (network.chain_id, network.contracts["SplitLedger"].lower()) != (self.deployment.chain_id, ledger):
            raise ReplayFailed(
                f"the API works with the SplitLedger {network.contracts['SplitLedger']} on chain {network.chain_id}, "
                f"the deployment file names {ledger} on chain {self.deployment.chain_id}"
            )

    def _own_key(self) -> str | None:
        if self.signs_itself is not None:
            return None if self.signs_itself == KEYSTORE_ONLY else self.signs_itself
        orders = Counter(order.platform for order in self.scenario.orders)
        if len(orders) <= 1:
            return None
        # Rows of a bulk file are signed by the keystore.
        for platform in {order.platform for order in self.scenario.orders if order.file is not None}:
            del orders[platform]
        return min(orders, key=lambda name: (orders[name], name), default=None)

    def _player(self, platform: PlayedPlatform) -> Player:
        return Player(platform, self.scenario, self.progress.sent, self.progress.decided)

    async def _standing(
        self, platforms: Sequence[PlayedPlatform], names: Mapping[bytes, str]
    ) -> dict[str, CurrencyStanding] | None:
        if self.rpc is None or self.deployment is None:
            return None
        async with NodeClient(self.rpc) as node:
            ids = [platform.id for platform in platforms]
            return await read_standing(node, self.deployment, ids, names)


async def _names(platforms: Sequence[PlayedPlatform]) -> dict[bytes, str]:
    """The scenario's names by participant id, and of their suspense positions."""
    listed = await asyncio.gather(*(platform.client.list_participants() for platform in platforms))
    names = {
        parse_id("participant_id", found.participant_id): found.out_participant_no
        for page in listed
        for found in page
    }
    return names | {suspense_id(known): f"{name} {WAITS}" for known, name in names.items()}


def _report(
    tallies: Sequence[Tally],
    prepare_seconds: float,
    seconds: float,
    standing: dict[str, CurrencyStanding] | None,
) -> ReplayReport:
    rejections: Counter[str] = sum((tally.rejected() for tally in tallies), Counter())

    def settled(kind: InstructionType) -> int:
        return sum(tally.settled(kind) for tally in tallies)

    return ReplayReport(
        counts={
            "captured": settled(InstructionType.CAPTURE),
            "settled": settled(InstructionType.SPLIT),
            "released": settled(InstructionType.RELEASE),
            "returned": settled(InstructionType.RETURN),
            "refunded": settled(InstructionType.REFUND),
            "rejected": rejections.total(),
        },
        states=_states(tallies),
        rejections=dict(rejections.most_common()),
        refusals=sorted(
            (refusal for tally in tallies for refusal in tally.refusals), key=lambda refusal: refusal.line
        ),
        undecided=[f"{kind.value} {ref}" for tally in tallies for kind, ref in tally.undecided()],
        instructions=sum(len(tally.items) for tally in tallies),
        fresh=sum(tally.fresh for tally in tallies),
        prepare_seconds=prepare_seconds,
        seconds=seconds,
        standing=standing,
    )


def _states(tallies: Sequence[Tally]) -> dict[str, dict[str, int]]:
    counted: Counter[tuple[InstructionType, str]] = Counter()
    for tally in tallies:
        counted.update((key[0], fate.state.value) for key, fate in tally.fates.items())
        counted.update((refusal.key[0], REFUSED) for refusal in tally.refusals)
    shown = [State.SETTLED.value, State.REJECTED.value, REFUSED, State.SUBMITTED.value, State.ACCEPTED.value]
    kinds = [kind for kind in InstructionType if any(counted[kind, state] for state in shown)]
    return {kind.value: {state: counted[kind, state] for state in shown} for kind in kinds}
