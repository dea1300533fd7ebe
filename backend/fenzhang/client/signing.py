"""Signing on the client's side: the platform's key never leaves its process.

Everything that is signed follows from the content: ids from the references, the nonce from the instructions, and the
deadline from the day. So the same request signed again gives the same bytes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from fenzhang.chain.eip712 import (
    SigningDomain,
    authorization_digest,
    condition_digest,
    conditions_domain,
    confirmation_digest,
    instruction_hash,
    proposal_digest,
    retirement_digest,
    rule_book_domain,
    split_ledger_domain,
)
from fenzhang.chain.schedules import schedule_digest
from fenzhang.chain.signer import LocalKey
from fenzhang.client.errors import WrongNetwork
from fenzhang.client.models import Network
from fenzhang.domain import identifiers
from fenzhang.domain.records import Authorization, Instruction
from fenzhang.domain.rules import Leg, RuleTerms
from fenzhang.domain.schedules import SCHEDULE, Entry

DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformKey:
    """A platform's signing key, and what it signs for.

    `platform` is the platform's reference. `chain_id` and `ledger` (address of SplitLedger, 0x hex), when given, are
    what the API must serve: WrongNetwork is raised before anything is signed for another.
    """

    key: LocalKey
    platform: str
    chain_id: int | None = None
    ledger: str | None = None

    def check(self, network: Network) -> None:
        """Raises WrongNetwork unless `network` is the pinned one."""
        found = network.contracts["SplitLedger"]
        if self.chain_id not in {None, network.chain_id}:
            raise WrongNetwork(
                f"the API is for chain {network.chain_id}, not {self.chain_id}",
                expected=self.chain_id,
                found=network.chain_id,
            )
        if self.ledger is not None and self.ledger.lower() != found.lower():
            raise WrongNetwork(
                f"the API is for the SplitLedger {found}, not {self.ledger}",
                expected=self.ledger,
                found=found,
            )


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs for one platform (32-byte id) on one network."""

    key: LocalKey
    platform: bytes
    ledger: SigningDomain
    rules: SigningDomain
    conditions: SigningDomain

    @classmethod
    def on(cls, network: Network, key: LocalKey, platform: bytes) -> Signer:
        """A signer for the contracts of `network`."""
        names = ("SplitLedger", "RuleBook", "Conditions")
        ledger, rules, conditions = (_address(network.contracts[name]) for name in names)
        return cls(
            key,
            platform,
            split_ledger_domain(network.chain_id, ledger),
            rule_book_domain(network.chain_id, rules),
            conditions_domain(network.chain_id, conditions),
        )

    def authorize(self, instructions: Sequence[Instruction], deadline: int) -> dict[str, Any]:
        """The `authorization` of a request with these instructions, in order. `deadline` is Unix seconds."""
        nonce = nonce_of(self.platform, instructions)
        digest = authorization_digest(
            self.ledger, Authorization(self.platform, nonce, deadline, tuple(instructions))
        )
        return {"nonce": hex(nonce), "deadline": deadline, "signature": _hex(self.key.sign_digest(digest))}

    def propose(
        self, rule: str, version: int, effective_from: int, legs: Sequence[Leg], terms: RuleTerms
    ) -> str:
        """The signature of a rule proposal; recipients of `legs` are ids."""
        rule_id = identifiers.rule_id(self.platform, rule)
        digest = proposal_digest(self.rules, self.platform, rule_id, version, effective_from, legs, terms)
        return _hex(self.key.sign_digest(digest))

    def open(self, condition: str, needed: int, deadline: int, confirmer: bytes) -> str:
        """The signature of a condition of the platform; `confirmer` is an id, 32 zero bytes for nobody."""
        condition_id = identifiers.condition_id(self.platform, condition)
        terms = (self.platform, condition_id, needed, deadline, confirmer)
        return _hex(self.key.sign_digest(condition_digest(self.conditions, *terms)))

    def confirm(self, platform: bytes, condition_id: bytes) -> str:
        """The signature of the confirmation of a platform's condition."""
        return _hex(self.key.sign_digest(confirmation_digest(self.conditions, platform, condition_id)))

    def propose_schedule(self, version: int, effective_from: int, entries: Sequence[Entry]) -> str:
        """The signature of a proposal of a schedule."""
        digest = schedule_digest(self.rules, self.platform, version, effective_from, entries)
        return _hex(self.key.sign_digest(digest))

    def retire_schedule(self) -> str:
        """The signature of the retirement of the platform's schedule."""
        return _hex(self.key.sign_digest(retirement_digest(self.rules, self.platform, SCHEDULE)))

    def retire(self, rule: str) -> str:
        """The signature of a rule's retirement."""
        digest = retirement_digest(self.rules, self.platform, identifiers.rule_id(self.platform, rule))
        return _hex(self.key.sign_digest(digest))


def nonce_of(platform: bytes, instructions: Sequence[Instruction]) -> int:
    """The nonce of these instructions in this order.

    It does not depend on the deadline: however often the same instructions are signed, they take effect once.
    """
    content = b"".join(map(instruction_hash, instructions))
    return int.from_bytes(sha256(b"fenzhang nonce\0" + platform + content).digest(), "big")


def default_deadline(now: float | None = None) -> int:
    """The end of tomorrow (UTC), one to two days ahead: the same all day, so that signing again gives the same."""
    return (int(time.time() if now is None else now) // DAY_S + 2) * DAY_S


def with_recipients(
    legs: Sequence[Leg], recipients: Mapping[int, str], ids: Mapping[str, bytes]
) -> list[Leg]:
    """Legs whose fixed recipients are ids, as they go on chain."""
    return [
        Leg(leg.parent, leg.kind, leg.value, leg.min, leg.max, ids[recipients[index]])
        if index in recipients
        else leg
        for index, leg in enumerate(legs)
    ]


def _address(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def _hex(value: bytes) -> str:
    return "0x" + value.hex()
