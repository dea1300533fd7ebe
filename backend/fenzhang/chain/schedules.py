"""Schedules as the contracts have them: what is signed, calldata, and entries read back.

Amounts are minor units, times Unix seconds, ids 32 bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from fenzhang.chain.abi import WORD, Reader, currency_bytes, currency_text, word
from fenzhang.chain.calldata import arguments_of
from fenzhang.chain.codec import encode_call, selector_of
from fenzhang.chain.eip712 import SigningDomain, proposal_hash
from fenzhang.chain.keccak import keccak
from fenzhang.domain.rules import Leg, RuleTerms
from fenzhang.domain.schedules import Entry

ENTRY_TYPE = (
    "ScheduleEntry(bytes32 facts,bytes3 currency,uint96 amountFrom,uint96 amountBelow,"
    "uint64 validFrom,uint64 validUntil,bytes32 ruleId)"
)
PROPOSAL_TYPE = (
    "ScheduleProposal(bytes32 platform,uint32 version,uint64 effectiveFrom,ScheduleEntry[] entries)"
    + ENTRY_TYPE
)
_ENTRY_HASH = keccak(ENTRY_TYPE.encode())
_PROPOSAL_HASH = keccak(PROPOSAL_TYPE.encode())
_ENTRY_WORDS = 7


def schedule_hash(platform: bytes, version: int, effective_from: int, entries: Sequence[Entry]) -> bytes:
    """EIP-712 struct hash of a schedule's version: the content hash that its approver names."""
    hashes = b"".join(map(_entry_hash, entries))
    return keccak(_PROPOSAL_HASH + platform + word(version) + word(effective_from) + keccak(hashes))


def schedule_digest(
    domain: SigningDomain, platform: bytes, version: int, effective_from: int, entries: Sequence[Entry]
) -> bytes:
    """What the platform's authority signs to propose a version of its schedule."""
    return domain.digest(schedule_hash(platform, version, effective_from, entries))


class Proposed(Protocol):
    """A proposal of a rule, which has legs and terms, or of a schedule, which has entries."""

    @property
    def platform(self) -> bytes:
        """Whose rule or schedule it is."""

    @property
    def rule_id(self) -> bytes:
        """Under which its versions stand."""

    @property
    def version(self) -> int:
        """Number of the version."""

    @property
    def effective_from(self) -> int:
        """When it takes effect."""

    @property
    def legs(self) -> Sequence[Leg]:
        """Legs of a rule."""

    @property
    def terms(self) -> RuleTerms:
        """Terms of a rule."""

    @property
    def entries(self) -> Sequence[Entry]:
        """Entries of a schedule; a rule has none."""


def content_hash_of(proposal: Proposed) -> bytes:
    """EIP-712 struct hash of what is proposed: the content hash that its approver names."""
    if proposal.entries:
        return schedule_hash(proposal.platform, proposal.version, proposal.effective_from, proposal.entries)
    content = (proposal.platform, proposal.rule_id, proposal.version, proposal.effective_from)
    return proposal_hash(*content, proposal.legs, proposal.terms)


def _entry_hash(entry: Entry) -> bytes:
    facts, currency, *numbers, rule_id = entry_values(entry)
    return keccak(b"".join((_ENTRY_HASH, facts, currency.ljust(WORD, b"\0"), *map(word, numbers), rule_id)))


def propose_schedule_call(
    *, platform: bytes, version: int, effective_from: int, entries: Sequence[Entry], signature: bytes
) -> bytes:
    """RuleBook.proposeSchedule; anyone may send it."""
    proposal = (platform, version, effective_from, list(map(entry_values, entries)))
    return encode_call("RuleBook", "proposeSchedule", proposal, signature)


def entry_values(entry: Entry) -> tuple[bytes, bytes, int, int, int, int, bytes]:
    """An entry as the tuple that `encode_call` takes."""
    return (
        entry.facts,
        currency_bytes(entry.currency) if entry.currency else bytes(3),
        entry.amount_from,
        entry.amount_below,
        entry.valid_from,
        entry.valid_until,
        entry.rule_id,
    )


def entries_from_values(values: Iterable[Sequence[Any]]) -> tuple[Entry, ...]:
    """Entries from decoded tuples; the inverse of `entry_values`."""
    return tuple(
        Entry(rule_id, facts, _currency(currency), *numbers) for facts, currency, *numbers, rule_id in values
    )


def read_entries(reader: Reader, slot: int) -> tuple[Entry, ...]:
    """The ScheduleEntry[] at `slot`. Raises Undecodable."""
    length, body = reader.array(slot, element_words=_ENTRY_WORDS)
    return tuple(_entry(Reader(body.data, body.base + _ENTRY_WORDS * WORD * i)) for i in range(length))


def _entry(entry: Reader) -> Entry:
    return Entry(
        rule_id=entry.raw(6),
        facts=entry.raw(0),
        currency=_currency(entry.fixed(1, 3)),
        amount_from=entry.uint(2, 96),
        amount_below=entry.uint(3, 96),
        valid_from=entry.uint(4, 64),
        valid_until=entry.uint(5, 64),
    )


def _currency(raw: bytes) -> str:
    return currency_text(raw) if any(raw) else ""


@dataclass(frozen=True, slots=True)
class SentSchedule:
    """The arguments of RuleBook.proposeSchedule."""

    platform: bytes
    version: int
    effective_from: int
    entries: tuple[Entry, ...]
    signature: bytes


def decode_schedule(calldata: bytes) -> SentSchedule:
    """The arguments of a `proposeSchedule`. Raises Undecodable."""
    arguments = arguments_of(calldata, selector_of("RuleBook", "proposeSchedule"), "proposeSchedule")
    proposal = arguments.follow(0)
    return SentSchedule(
        platform=proposal.raw(0),
        version=proposal.uint(1, 32),
        effective_from=proposal.uint(2, 64),
        entries=read_entries(proposal, 3),
        signature=arguments.blob(1),
    )
