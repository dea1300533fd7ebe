"""What is signed: EIP-712 struct hashes and digests of captures, instructions and rules.

Built on bytes by hand, for a batch holds hundreds of structs; tests hold it against eth-account's encoder.
Amounts are minor units, times Unix seconds, ids 32 bytes and addresses 20 bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fenzhang.chain.abi import currency_bytes, role_bytes, signed_word, word
from fenzhang.chain.keccak import keccak
from fenzhang.domain.clearing import Cycle, Outcome
from fenzhang.domain.records import Attestation, Authorization, Capture, Instruction
from fenzhang.domain.rules import NO_TERMS, Leg, RuleTerms

DOMAIN_TYPE = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
CAPTURE_TYPE = (
    "Capture(bytes32 orderId,bytes32 platform,bytes32 merchant,bytes32 ruleId,uint32 ruleVersion,"
    "bytes3 currency,uint96 amount,uint64 holdUntil,uint64 expiresAt,bytes32 facts,"
    "bytes32 condition,bytes32[] bindings)"
)
ATTESTATION_TYPE = (
    "Attestation(address attestor,uint256 nonce,uint64 deadline,Capture[] captures)" + CAPTURE_TYPE
)
INSTRUCTION_TYPE = (
    "Instruction(uint8 kind,bytes32 id,bytes32 orderId,bytes32 splitId,uint96 amount,"
    "bytes32[] bindings,uint96[] amounts)"
)
AUTHORIZATION_TYPE = (
    "Authorization(bytes32 platform,uint256 nonce,uint64 deadline,Instruction[] instructions)"
    + INSTRUCTION_TYPE
)
LEG_TYPE = "Leg(int8 parent,uint8 kind,uint96 value,uint96 min,uint96 max,bytes32 recipient,bytes32 role)"
RULE_TERMS_TYPE = "RuleTerms(uint16 maxShareOut,bool mayOwe,bool park)"
RULE_PROPOSAL_TYPE = (
    "RuleProposal(bytes32 platform,bytes32 ruleId,uint32 version,uint64 effectiveFrom,Leg[] legs,"
    "RuleTerms terms)" + LEG_TYPE + RULE_TERMS_TYPE
)
RULE_RETIREMENT_TYPE = "RuleRetirement(bytes32 platform,bytes32 ruleId)"
CONDITION_TYPE = (
    "Condition(bytes32 platform,bytes32 conditionId,uint32 needed,uint64 deadline,bytes32 confirmer)"
)
CONFIRMATION_TYPE = "Confirmation(bytes32 platform,bytes32 conditionId)"
CYCLE_TYPE = (
    "Cycle(bytes3 currency,bytes32 scheme,uint32 number,uint64 toBlock,uint64 atBlock,uint32 payouts,"
    "uint128 total,bytes32 payoutRoot,bytes32 billRoot,bytes32 journalHead,uint64 deadline)"
)
OUTCOME_TYPE = "Outcome(bytes32 payoutId,uint8 kind,bytes32 reason)"
REPORT_TYPE = "Report(bytes32 cycleId,Outcome[] outcomes)" + OUTCOME_TYPE

_DOMAIN_HASH = keccak(DOMAIN_TYPE.encode())
_CAPTURE_HASH = keccak(CAPTURE_TYPE.encode())
_ATTESTATION_HASH = keccak(ATTESTATION_TYPE.encode())
_INSTRUCTION_HASH = keccak(INSTRUCTION_TYPE.encode())
_AUTHORIZATION_HASH = keccak(AUTHORIZATION_TYPE.encode())
_LEG_HASH = keccak(LEG_TYPE.encode())
_RULE_TERMS_HASH = keccak(RULE_TERMS_TYPE.encode())
_RULE_PROPOSAL_HASH = keccak(RULE_PROPOSAL_TYPE.encode())
_RULE_RETIREMENT_HASH = keccak(RULE_RETIREMENT_TYPE.encode())
_CONDITION_HASH = keccak(CONDITION_TYPE.encode())
_CONFIRMATION_HASH = keccak(CONFIRMATION_TYPE.encode())
_CYCLE_HASH = keccak(CYCLE_TYPE.encode())
_OUTCOME_HASH = keccak(OUTCOME_TYPE.encode())
_REPORT_HASH = keccak(REPORT_TYPE.encode())
_EMPTY_HASH = keccak(b"")

LEDGER_NAME = "fenzhang SplitLedger"
RULE_BOOK_NAME = "fenzhang RuleBook"
CONDITIONS_NAME = "fenzhang Conditions"
CLEARING_HOUSE_NAME = "fenzhang ClearingHouse"
DOMAIN_VERSION = "1"


@dataclass(frozen=True, slots=True)
class SigningDomain:
    """The contract (20-byte address) and chain that a signature is for; no other accepts it."""

    name: str
    chain_id: int
    verifying_contract: bytes

    def separator(self) -> bytes:
        """EIP-712 domain separator."""
        return keccak(
            _DOMAIN_HASH
            + keccak(self.name.encode())
            + keccak(DOMAIN_VERSION.encode())
            + word(self.chain_id)
            + self.verifying_contract.rjust(32, b"\0")
        )

    def digest(self, struct_hash: bytes) -> bytes:
        """The 32 bytes to sign for a struct of this domain."""
        return keccak(b"\x19\x01" + self.separator() + struct_hash)


def split_ledger_domain(chain_id: int, address: bytes) -> SigningDomain:
    """Domain of attestations and authorizations: SplitLedger at `address` (20 bytes)."""
    return SigningDomain(LEDGER_NAME, chain_id, address)


def rule_book_domain(chain_id: int, address: bytes) -> SigningDomain:
    """Domain of rule proposals and retirements: RuleBook at `address` (20 bytes)."""
    return SigningDomain(RULE_BOOK_NAME, chain_id, address)


def conditions_domain(chain_id: int, address: bytes) -> SigningDomain:
    """Domain of conditions and confirmations: Conditions at `address` (20 bytes)."""
    return SigningDomain(CONDITIONS_NAME, chain_id, address)


def clearing_domain(chain_id: int, address: bytes) -> SigningDomain:
    """Domain of cycles and reports: ClearingHouse at `address` (20 bytes)."""
    return SigningDomain(CLEARING_HOUSE_NAME, chain_id, address)


def capture_hash(capture: Capture) -> bytes:
    """EIP-712 struct hash of a capture, which also names the order in its slot and its record's leaf."""
    return keccak(
        b"".join(
            (
                _CAPTURE_HASH,
                capture.order_id,
                capture.platform,
                capture.merchant,
                capture.rule_id,
                word(capture.rule_version),
                currency_bytes(capture.currency).ljust(32, b"\0"),
                word(capture.amount),
                word(capture.hold_until),
                word(capture.expires_at),
                capture.facts,
                capture.condition,
                keccak(b"".join(capture.bindings)) if capture.bindings else _EMPTY_HASH,
            )
        )
    )


def instruction_hash(instruction: Instruction) -> bytes:
    """EIP-712 struct hash of an instruction."""
    return keccak(
        b"".join(
            (
                _INSTRUCTION_HASH,
                word(instruction.kind),
                instruction.id,
                instruction.order_id,
                instruction.split_id,
                word(instruction.amount),
                keccak(b"".join(instruction.bindings)) if instruction.bindings else _EMPTY_HASH,
                keccak(b"".join(map(word, instruction.amounts))) if instruction.amounts else _EMPTY_HASH,
            )
        )
    )


def attestation_digest(domain: SigningDomain, attestation: Attestation) -> bytes:
    """What the attestor signs. The `signature` field is not part of it."""
    captures = keccak(b"".join(map(capture_hash, attestation.captures)))
    return domain.digest(
        keccak(
            _ATTESTATION_HASH
            + attestation.attestor.rjust(32, b"\0")
            + word(attestation.nonce)
            + word(attestation.deadline)
            + captures
        )
    )


def authorization_digest(domain: SigningDomain, authorization: Authorization) -> bytes:
    """What the platform's authority signs. The `signature` field is not part of it."""
    instructions = keccak(b"".join(map(instruction_hash, authorization.instructions)))
    return domain.digest(
        keccak(
            _AUTHORIZATION_HASH
            + authorization.platform
            + word(authorization.nonce)
            + word(authorization.deadline)
            + instructions
        )
    )


def leg_hash(leg: Leg) -> bytes:
    """EIP-712 struct hash of a leg."""
    return keccak(
        b"".join(
            (
                _LEG_HASH,
                signed_word(leg.parent),
                word(leg.kind),
                word(leg.value),
                word(leg.min),
                word(leg.max),
                leg.recipient or bytes(32),
                role_bytes(leg.role),
            )
        )
    )


def terms_hash(terms: RuleTerms) -> bytes:
    """EIP-712 struct hash of a version's terms."""
    return keccak(_RULE_TERMS_HASH + word(terms.max_share_out) + word(terms.may_owe) + word(terms.park))


def proposal_hash(  # noqa: PLR0917 -- the fields of RuleProposal in its order
    platform: bytes,
    rule_id: bytes,
    version: int,
    effective_from: int,
    legs: Sequence[Leg],
    terms: RuleTerms = NO_TERMS,
) -> bytes:
    """EIP-712 struct hash of a rule version: the content hash that its approver names."""
    return keccak(
        b"".join(
            (
                _RULE_PROPOSAL_HASH,
                platform,
                rule_id,
                word(version),
                word(effective_from),
                keccak(b"".join(map(leg_hash, legs))),
                terms_hash(terms),
            )
        )
    )


def proposal_digest(  # noqa: PLR0917 -- the fields of RuleProposal in its order
    domain: SigningDomain,
    platform: bytes,
    rule_id: bytes,
    version: int,
    effective_from: int,
    legs: Sequence[Leg],
    terms: RuleTerms = NO_TERMS,
) -> bytes:
    """What the platform's authority signs to propose a rule version."""
    return domain.digest(proposal_hash(platform, rule_id, version, effective_from, legs, terms))


def condition_digest(  # noqa: PLR0917 -- the fields of Condition in its order
    domain: SigningDomain, platform: bytes, condition_id: bytes, needed: int, deadline: int, confirmer: bytes
) -> bytes:
    """What the platform's authority signs to open a condition."""
    head = _CONDITION_HASH + platform + condition_id
    return domain.digest(keccak(head + word(needed) + word(deadline) + confirmer))


def confirmation_digest(domain: SigningDomain, platform: bytes, condition_id: bytes) -> bytes:
    """What the confirmer's authority signs to confirm a condition."""
    return domain.digest(keccak(_CONFIRMATION_HASH + platform + condition_id))


def retirement_digest(domain: SigningDomain, platform: bytes, rule_id: bytes) -> bytes:
    """What the platform's authority signs to retire a rule for ever."""
    return domain.digest(keccak(_RULE_RETIREMENT_HASH + platform + rule_id))


def cycle_words(cycle: Cycle) -> bytes:
    """A cycle as EIP-712 and the ABI encode it, 11 words."""
    return b"".join(
        (
            currency_bytes(cycle.currency).ljust(32, b"\0"),
            role_bytes(cycle.scheme),
            word(cycle.number),
            word(cycle.to_block),
            word(cycle.at_block),
            word(cycle.payouts),
            word(cycle.total),
            cycle.payout_root,
            cycle.bill_root,
            cycle.journal_head,
            word(cycle.deadline),
        )
    )


def cycle_hash(cycle: Cycle) -> bytes:
    """EIP-712 struct hash of a cycle, which is also the content of its record."""
    return cycle_words_hash(cycle_words(cycle))


def cycle_words_hash(words: bytes) -> bytes:
    """As `cycle_hash`, of `cycle_words`."""
    return keccak(_CYCLE_HASH + words)


def cycle_digest(domain: SigningDomain, cycle: Cycle) -> bytes:
    """What the clearing bank signs to close a cycle."""
    return domain.digest(cycle_hash(cycle))


def report_digest(domain: SigningDomain, cycle_id: bytes, outcomes: Sequence[Outcome]) -> bytes:
    """What the clearing bank signs to report what became of payouts of a cycle."""
    hashes = b"".join(
        keccak(_OUTCOME_HASH + outcome.payout_id + word(outcome.kind) + role_bytes(outcome.reason))
        for outcome in outcomes
    )
    return domain.digest(keccak(_REPORT_HASH + cycle_id + keccak(hashes)))
