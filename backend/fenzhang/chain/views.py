"""What the contracts answer, typed: reads of one deployment at one block, in chunks where there are many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from fenzhang.chain.abi import currency_bytes, currency_text, role_bytes, role_text
from fenzhang.chain.codec import decode_result, decode_revert, encode_call, leg_values, legs_from_values
from fenzhang.chain.deployments import Deployment
from fenzhang.chain.errors import RpcError
from fenzhang.chain.node import BlockTag, NodeClient
from fenzhang.chain.schedules import entries_from_values
from fenzhang.domain.clearing import CycleState, LastCycle, PayoutState
from fenzhang.domain.conditions import Condition
from fenzhang.domain.errors import FenzhangError
from fenzhang.domain.records import ParticipantStatus, RuleState
from fenzhang.domain.rules import Leg, RuleTerms
from fenzhang.domain.schedules import Entry

T = TypeVar("T")
CHUNK = 500
"""Ids in one call: at 2,100 gas for each cold slot it stays far below what nodes allow a call."""
ATTESTOR_ROLE = 3
"""Number of the attestors' role in the AccessManager (contracts/libraries/Roles.sol)."""
REGISTRAR_ROLE = 1
RULE_APPROVER_ROLE = 2
GUARDIAN_ROLE = 4
LEDGER_ROLE = 5
"""The SplitLedger's, for what it tells Conditions."""
CLEARING_HOUSE_ROLE = 6
"""The ClearingHouse's, for the positions that it moves."""
CLEARING_BANK_ROLE = 7


@dataclass(frozen=True, slots=True)
class Totals:
    """Of one currency, minor units: ever captured, held on open orders, ever refunded. `enabled`: open for captures."""

    captured: int
    held: int
    refunded: int
    enabled: bool


@dataclass(frozen=True, slots=True)
class ParticipantView:
    """Standing and signing address (20 bytes, zero for none) of a participant."""

    status: ParticipantStatus
    authority: bytes


@dataclass(frozen=True, slots=True)
class PlaceView:
    """Who stands directly above (32 zero bytes for nobody), the level from the top, and how many directly below."""

    parent: bytes
    level: int
    below: int


@dataclass(frozen=True, slots=True)
class RuleHeader:
    """Content hash, effective time (Unix seconds) and approval of a rule version, and who signed its proposal."""

    content_hash: bytes
    effective_from: int
    approved: bool
    proposer: bytes


@dataclass(frozen=True, slots=True)
class RuleView:
    """State now, legs, role names and terms of a rule version; UNKNOWN comes without legs."""

    state: RuleState
    legs: tuple[Leg, ...]
    roles: tuple[str, ...]
    terms: RuleTerms


@dataclass(frozen=True, slots=True)
class ScheduleView:
    """State now and entries of a version of a schedule; UNKNOWN comes without entries."""

    state: RuleState
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class SelectionView:
    """Version of a schedule (0: none is in force), and the entry and the rule that it selects."""

    version: int
    entry: int
    rule_id: bytes


@dataclass(frozen=True, slots=True)
class Quote:
    """The contract's dry run: amount per leaf, or why a split would be rejected."""

    leaves: tuple[int, ...]
    error: FenzhangError | None


@dataclass(frozen=True, slots=True)
class ChainView:
    """The contracts of `deployment` as they stand at `block`.

    Every method raises NodeUnavailable, RpcError, Undecodable, or the contract's own error.
    """

    node: NodeClient
    deployment: Deployment
    block: BlockTag = "latest"

    def at(self, block: BlockTag) -> ChainView:
        """The same contracts at another block."""
        return replace(self, block=block)

    # -------------------------------------------------------------------------- LedgerView

    async def order_slots(self, order_ids: Sequence[bytes]) -> list[int]:
        """Slots of orders: commitment << 96 | held; 0 means never captured."""
        return await self._chunked("orderSlots", (), order_ids)

    async def positions(self, currency: str, participants: Sequence[bytes]) -> list[int]:
        """What is payable to each participant in `currency`, minor units; negative is what it owes."""
        return await self._chunked("positions", (currency_bytes(currency),), participants)

    async def shared_out(self, order_ids: Sequence[bytes]) -> list[int]:
        """What left the merchants of orders, as far as it is kept (see ILedgerView), minor units."""
        return await self._chunked("sharedOut", (), order_ids)

    async def totals(self, currency: str) -> Totals:
        """Totals of a currency."""
        return Totals(*await self._call("LedgerView", "totals", currency_bytes(currency)))

    async def batch_count(self) -> int:
        """Number of the last sealed batch; they count up from 1."""
        [count] = await self._call("LedgerView", "batchCount")
        return int(count)

    async def batch_root(self, batch: int) -> bytes:
        """Root of a sealed batch, 32 zero bytes for none."""
        [root] = await self.batch_roots([batch])
        return root

    async def batch_roots(self, batches: Sequence[int]) -> list[bytes]:
        """Roots of many batches."""
        results = await self._calls("LedgerView", "batchRoot", [(batch,) for batch in batches])
        return [root for (root,) in results]

    async def nonce_bitmap(self, signer: bytes, word: int) -> int:
        """The 256 nonce bits of a signer at a word position (nonce >> 8). A set bit is a used nonce."""
        [bits] = await self._call("LedgerView", "nonceBitmap", signer, word)
        return int(bits)

    async def nonce_used(self, signer: bytes, nonce: int) -> bool:
        """Whether an authorization of `signer` (32 bytes) with this nonce has taken effect."""
        return bool(await self.nonce_bitmap(signer, nonce >> 8) >> (nonce & 0xFF) & 1)

    async def is_recorded(self, batch: int, leaf: bytes, proof: Sequence[bytes]) -> bool:
        """Whether the chain finds a leaf in a sealed batch by this proof."""
        [found] = await self._call("LedgerView", "isRecorded", batch, leaf, proof)
        return bool(found)

    # -------------------------------------------------------------------------- ParticipantRegistry

    async def participant_of(self, participant: bytes) -> ParticipantView:
        """Standing and authority of a participant."""
        [found] = await self.participants_of([participant])
        return found

    async def participants_of(self, participants: Sequence[bytes]) -> list[ParticipantView]:
        """Standing and authority of many participants."""
        results = await self._calls(
            "ParticipantRegistry", "participantOf", [(participant,) for participant in participants]
        )
        return [ParticipantView(ParticipantStatus(status), authority) for status, authority in results]

    async def places_of(self, participants: Sequence[bytes]) -> list[PlaceView]:
        """Where many participants stand among each other."""
        results = await self._calls(
            "ParticipantRegistry", "placeOf", [(participant,) for participant in participants]
        )
        return [PlaceView(parent, int(level), int(below)) for parent, level, below in results]

    async def max_shares_out(self, platforms: Sequence[bytes]) -> list[int]:
        """Caps of platforms in basis points, 0 for none."""
        results = await self._calls("ParticipantRegistry", "platformOf", [(each,) for each in platforms])
        return [int(cap) for _, _, cap in results]

    async def consents(self, pairs: Sequence[tuple[bytes, bytes]]) -> list[bool]:
        """Whether recipients agreed to receive from platforms."""
        results = await self._calls("ParticipantRegistry", "hasConsent", pairs)
        return [bool(given) for (given,) in results]

    async def standing(self, recipient: bytes, platform: bytes) -> tuple[ParticipantStatus, bool]:
        """Status of a recipient, and whether it agreed to receive from `platform`."""
        status, consented = await self._call("ParticipantRegistry", "standing", recipient, platform)
        return ParticipantStatus(status), bool(consented)

    # -------------------------------------------------------------------------- Conditions

    async def conditions_of(self, keys: Sequence[tuple[bytes, bytes]]) -> list[Condition]:
        """Conditions by platform and id; one that was never opened has no deadline."""
        results = await self._calls("Conditions", "conditionOf", keys)
        return [
            Condition(needed, deadline, confirmer, count, confirmed)
            for needed, deadline, confirmer, count, confirmed, _ in results
        ]

    # -------------------------------------------------------------------------- ClearingHouse

    async def cycle_of(self, cycle_id: bytes) -> CycleState:
        """What is kept of a cycle; its number is 0 when it was never closed."""
        [found] = await self.cycles_of([cycle_id])
        return found

    async def cycles_of(self, cycle_ids: Sequence[bytes]) -> list[CycleState]:
        """As `cycle_of`, of many."""
        results = await self._calls("ClearingHouse", "cycleOf", [(cycle_id,) for cycle_id in cycle_ids])
        return [
            CycleState(payout_root, total, taken, currency_text(currency), number, payouts)
            for ((payout_root, total, taken, currency, number, payouts),) in results
        ]

    async def last_cycle(self, currency: str, scheme: str) -> LastCycle:
        """The newest cycle of a currency and scheme."""
        asked = (currency_bytes(currency), role_bytes(scheme))
        return LastCycle(*await self._call("ClearingHouse", "lastCycle", *asked))

    async def payout_states(self, cycle_id: bytes, indices: Sequence[int]) -> list[PayoutState]:
        """States of a cycle's payouts by their indices."""
        results = await self._calls(
            "ClearingHouse", "payoutStates", [(cycle_id, chunk) for chunk in chunks(indices)]
        )
        return [PayoutState(state) for (states,) in results for state in states]

    # -------------------------------------------------------------------------- RuleBook

    async def latest_rule(self, platform: bytes, rule_id: bytes) -> tuple[int, bool]:
        """Highest proposed version of a rule (0 for none), and whether the rule is retired."""
        version, retired = await self._call("RuleBook", "latest", platform, rule_id)
        return int(version), bool(retired)

    async def rule_header(self, platform: bytes, rule_id: bytes, version: int) -> RuleHeader:
        """Header of a rule version."""
        return RuleHeader(*await self._call("RuleBook", "header", platform, rule_id, version))

    async def approval_lock(self) -> int:
        """Least number of seconds between the approval of a version and its effect."""
        [lock] = await self._call("RuleBook", "approvalLock")
        return int(lock)

    async def rule(self, platform: bytes, rule_id: bytes, version: int) -> RuleView:
        """State, legs, roles and terms of a rule version."""
        state, legs, roles, terms, _ = await self._call("RuleBook", "load", platform, rule_id, version)
        names = tuple(map(role_text, roles))
        return RuleView(RuleState(state), legs_from_values(legs), names, RuleTerms(*terms))

    async def schedule(self, platform: bytes, version: int) -> ScheduleView:
        """State and entries of a version of a platform's schedule."""
        state, entries = await self._call("RuleBook", "loadSchedule", platform, version)
        return ScheduleView(RuleState(state), entries_from_values(entries))

    async def select(self, platform: bytes, facts: bytes, currency: str, amount: int) -> SelectionView:
        """Which rule an order captured now would be of, by the schedule in force."""
        asked = (platform, facts, currency_bytes(currency), amount)
        return SelectionView(*await self._call("RuleBook", "select", *asked))

    async def quote(self, legs: Sequence[Leg], amount: int, given: Sequence[int] = ()) -> Quote:
        """Dry run of the allocation on chain. Raises ContractError for legs that form no tree."""
        [result] = await self.quotes([(legs, amount, given)])
        return result

    async def quotes(self, cases: Sequence[tuple[Sequence[Leg], int, Sequence[int]]]) -> list[Quote]:
        """Dry runs of many cases (legs, amount, given amounts). Raises for the first that is no tree."""
        arguments = [(list(map(leg_values, legs)), amount, given) for legs, amount, given in cases]
        results = await self._calls("RuleBook", "quote", arguments)
        return [Quote(leaves, decode_revert(reason) if reason else None) for leaves, reason in results]

    # -------------------------------------------------------------------------- AccessManager

    async def has_role(self, role: int, account: bytes) -> bool:
        """Whether an account (20 bytes) is a member of a role now."""
        member, _ = await self._call("AccessManager", "hasRole", role, account)
        return bool(member)

    # -------------------------------------------------------------------------- calls

    async def _call(self, contract: str, function: str, *args: Any) -> tuple[Any, ...]:
        [result] = await self._calls(contract, function, [args])
        return result

    async def _calls(
        self, contract: str, function: str, arguments: Sequence[Sequence[Any]]
    ) -> list[tuple[Any, ...]]:
        to = self.deployment.addresses[contract]
        calls = [(to, encode_call(contract, function, *args)) for args in arguments]
        try:
            results = await self.node.calls(calls, self.block)
        except RpcError as error:
            if error.revert_data is None:
                raise
            raise decode_revert(error.revert_data) from error
        return [decode_result(contract, function, data) for data in results]

    async def _chunked(self, function: str, first: tuple[Any, ...], ids: Sequence[bytes]) -> list[int]:
        results = await self._calls("LedgerView", function, [(*first, chunk) for chunk in chunks(ids)])
        return [value for (values,) in results for value in values]


def chunks(ids: Sequence[T], size: int = CHUNK) -> Iterator[Sequence[T]]:
    """`ids` in pieces of at most `size`."""
    for start in range(0, len(ids), size):
        yield ids[start : start + size]
