"""Hashes of what is signed, held against eth-account's EIP-712 encoder."""

from __future__ import annotations

from typing import Any

from eth_account.messages import _hash_eip191_message, encode_typed_data
from hypothesis import given
from hypothesis import strategies as st

from fenzhang.chain import eip712, schedules
from fenzhang.chain.abi import currency_bytes, role_bytes
from fenzhang.chain.eip712 import (
    SigningDomain,
    attestation_digest,
    authorization_digest,
    clearing_domain,
    condition_digest,
    conditions_domain,
    confirmation_digest,
    cycle_digest,
    proposal_digest,
    proposal_hash,
    report_digest,
    retirement_digest,
    rule_book_domain,
    split_ledger_domain,
)
from fenzhang.domain.clearing import Cycle, Outcome, OutcomeKind
from fenzhang.domain.records import Attestation, Authorization, Capture, Instruction
from fenzhang.domain.rules import Leg, RuleTerms
from fenzhang.domain.schedules import Entry
from unit.chain import values

LEDGER = split_ledger_domain(20261, bytes(range(20)))
RULES = rule_book_domain(1, bytes(20))
CONDITIONS = conditions_domain(7, bytes(range(20)))
CLEARING = clearing_domain(8, bytes(range(20)))


def _fields(type_string: str) -> list[dict[str, str]]:
    body = type_string[type_string.index("(") + 1 : type_string.index(")")]
    return [dict(zip(("type", "name"), field.split(" "), strict=True)) for field in body.split(",")]


TYPES = {
    string[: string.index("(")]: _fields(string)
    for string in (
        eip712.CAPTURE_TYPE,
        eip712.ATTESTATION_TYPE,
        eip712.INSTRUCTION_TYPE,
        eip712.AUTHORIZATION_TYPE,
        eip712.LEG_TYPE,
        eip712.RULE_TERMS_TYPE,
        eip712.RULE_PROPOSAL_TYPE,
        eip712.RULE_RETIREMENT_TYPE,
        eip712.CONDITION_TYPE,
        eip712.CONFIRMATION_TYPE,
        eip712.CYCLE_TYPE,
        eip712.OUTCOME_TYPE,
        eip712.REPORT_TYPE,
        schedules.ENTRY_TYPE,
        schedules.PROPOSAL_TYPE,
    )
}


def _needed(name: str, found: dict[str, Any] | None = None) -> dict[str, Any]:
    """The struct and those it holds: eth-account takes no type that is not used."""
    found = {} if found is None else found
    found[name] = TYPES[name]
    for field in TYPES[name]:
        kind = field["type"].removesuffix("[]")
        if kind in TYPES:
            _needed(kind, found)
    return found


def reference_digest(domain: SigningDomain, name: str, message: dict[str, Any]) -> bytes:
    signable = encode_typed_data(
        domain_data={
            "name": domain.name,
            "version": "1",
            "chainId": domain.chain_id,
            "verifyingContract": "0x" + domain.verifying_contract.hex(),
        },
        message_types=_needed(name),
        message_data=message,
    )
    return bytes(_hash_eip191_message(signable))


def _capture(capture: Capture) -> dict[str, Any]:
    return {
        "orderId": capture.order_id,
        "platform": capture.platform,
        "merchant": capture.merchant,
        "ruleId": capture.rule_id,
        "ruleVersion": capture.rule_version,
        "currency": capture.currency.encode(),
        "amount": capture.amount,
        "holdUntil": capture.hold_until,
        "expiresAt": capture.expires_at,
        "facts": capture.facts,
        "condition": capture.condition,
        "bindings": list(capture.bindings),
    }


def _instruction(instruction: Instruction) -> dict[str, Any]:
    return {
        "kind": int(instruction.kind),
        "id": instruction.id,
        "orderId": instruction.order_id,
        "splitId": instruction.split_id,
        "amount": instruction.amount,
        "bindings": list(instruction.bindings),
        "amounts": list(instruction.amounts),
    }


def _leg(leg: Leg) -> dict[str, Any]:
    return {
        "parent": leg.parent,
        "kind": int(leg.kind),
        "value": leg.value,
        "min": leg.min,
        "max": leg.max,
        "recipient": leg.recipient or bytes(32),
        "role": role_bytes(leg.role),
    }


@given(values.attestations)
def test_the_digest_of_an_attestation_is_that_of_eip712(attestation: Attestation) -> None:
    message = {
        "attestor": "0x" + attestation.attestor.hex(),
        "nonce": attestation.nonce,
        "deadline": attestation.deadline,
        "captures": [_capture(capture) for capture in attestation.captures],
    }
    assert attestation_digest(LEDGER, attestation) == reference_digest(LEDGER, "Attestation", message)


@given(values.authorizations)
def test_the_digest_of_an_authorization_is_that_of_eip712(authorization: Authorization) -> None:
    message = {
        "platform": authorization.platform,
        "nonce": authorization.nonce,
        "deadline": authorization.deadline,
        "instructions": [_instruction(instruction) for instruction in authorization.instructions],
    }
    assert authorization_digest(LEDGER, authorization) == reference_digest(LEDGER, "Authorization", message)


@given(
    values.words,
    values.words,
    st.integers(0, 2**32 - 1),
    values.uint64,
    st.lists(values.legs, max_size=5),
    values.terms,
)
def test_the_digest_of_a_rule_proposal_is_that_of_eip712(  # noqa: PLR0917 -- drawn one by one
    platform: bytes, rule_id: bytes, version: int, effective_from: int, legs: list[Leg], terms: RuleTerms
) -> None:
    message = {
        "platform": platform,
        "ruleId": rule_id,
        "version": version,
        "effectiveFrom": effective_from,
        "legs": [_leg(leg) for leg in legs],
        "terms": {"maxShareOut": terms.max_share_out, "mayOwe": terms.may_owe, "park": terms.park},
    }
    digest = proposal_digest(RULES, platform, rule_id, version, effective_from, legs, terms)
    assert digest == reference_digest(RULES, "RuleProposal", message)
    assert digest == RULES.digest(proposal_hash(platform, rule_id, version, effective_from, legs, terms))


@given(values.words, st.integers(0, 2**32 - 1), values.uint64, st.lists(values.entries, max_size=5))
def test_the_digest_of_a_schedule_proposal_is_that_of_eip712(
    platform: bytes, version: int, effective_from: int, entries: list[Entry]
) -> None:
    message = {
        "platform": platform,
        "version": version,
        "effectiveFrom": effective_from,
        "entries": [
            {
                "facts": entry.facts,
                "currency": entry.currency.encode() or bytes(3),
                "amountFrom": entry.amount_from,
                "amountBelow": entry.amount_below,
                "validFrom": entry.valid_from,
                "validUntil": entry.valid_until,
                "ruleId": entry.rule_id,
            }
            for entry in entries
        ],
    }
    digest = schedules.schedule_digest(RULES, platform, version, effective_from, entries)
    assert digest == reference_digest(RULES, "ScheduleProposal", message)
    assert digest == RULES.digest(schedules.schedule_hash(platform, version, effective_from, entries))


@given(values.words, values.words)
def test_the_digest_of_a_rule_retirement_is_that_of_eip712(platform: bytes, rule_id: bytes) -> None:
    message = {"platform": platform, "ruleId": rule_id}
    assert retirement_digest(RULES, platform, rule_id) == reference_digest(RULES, "RuleRetirement", message)


@given(values.words, values.words, st.integers(0, 2**32 - 1), values.uint64, values.words)
def test_the_digest_of_a_condition_is_that_of_eip712(
    platform: bytes, condition: bytes, needed: int, deadline: int, confirmer: bytes
) -> None:
    message: dict[str, Any] = {"platform": platform, "conditionId": condition}
    confirmed = confirmation_digest(CONDITIONS, platform, condition)
    assert confirmed == reference_digest(CONDITIONS, "Confirmation", message)
    message |= {"needed": needed, "deadline": deadline, "confirmer": confirmer}
    opened = condition_digest(CONDITIONS, platform, condition, needed, deadline, confirmer)
    assert opened == reference_digest(CONDITIONS, "Condition", message)


@given(values.authorizations)
def test_a_digest_is_for_one_chain_and_one_contract(authorization: Authorization) -> None:
    elsewhere = [
        split_ledger_domain(20262, LEDGER.verifying_contract),
        split_ledger_domain(20261, bytes(20)),
        rule_book_domain(20261, LEDGER.verifying_contract),
    ]
    digests = {authorization_digest(domain, authorization) for domain in (LEDGER, *elsewhere)}
    assert len(digests) == 4


@given(values.authorizations, values.signatures)
def test_the_signature_is_no_part_of_what_is_signed(authorization: Authorization, other: bytes) -> None:
    from dataclasses import replace

    resigned = replace(authorization, signature=other)
    assert authorization_digest(LEDGER, resigned) == authorization_digest(LEDGER, authorization)


@given(
    words=st.lists(values.words, min_size=3, max_size=3),
    currency=values.currencies,
    scheme=values.roles,
    numbers=st.lists(values.uint64, min_size=3, max_size=3),
    small=st.lists(st.integers(0, 2**32 - 1), min_size=2, max_size=2),
    total=st.integers(0, 2**128 - 1),
)
def test_a_cycle_is_hashed_as_eth_account_hashes_it(  # noqa: PLR0917 -- one strategy for each kind of field
    words: list[bytes], currency: str, scheme: str, numbers: list[int], small: list[int], total: int
) -> None:
    root, bills, head = words
    cycle = Cycle(
        currency, scheme, small[0], numbers[0], numbers[1], small[1], total, root, bills, head, numbers[2]
    )
    message = {
        "currency": currency_bytes(currency),
        "scheme": role_bytes(scheme),
        "number": cycle.number,
        "toBlock": cycle.to_block,
        "atBlock": cycle.at_block,
        "payouts": cycle.payouts,
        "total": cycle.total,
        "payoutRoot": cycle.payout_root,
        "billRoot": cycle.bill_root,
        "journalHead": cycle.journal_head,
        "deadline": cycle.deadline,
    }
    assert cycle_digest(CLEARING, cycle) == reference_digest(CLEARING, "Cycle", message)


@given(
    cycle_id=values.words,
    outcomes=st.lists(
        st.builds(Outcome, values.words, st.sampled_from(OutcomeKind), values.roles), max_size=4
    ),
)
def test_a_report_is_hashed_as_eth_account_hashes_it(cycle_id: bytes, outcomes: list[Outcome]) -> None:
    message = {
        "cycleId": cycle_id,
        "outcomes": [
            {"payoutId": each.payout_id, "kind": int(each.kind), "reason": role_bytes(each.reason)}
            for each in outcomes
        ],
    }
    assert report_digest(CLEARING, cycle_id, outcomes) == reference_digest(CLEARING, "Report", message)
