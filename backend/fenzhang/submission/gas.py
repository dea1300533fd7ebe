"""How much gas and calldata a transaction may take, from above, without asking the node.

The numbers are measured on the compiled contracts and rounded up (tests/pipeline/test_gas_model.py holds them against
receipts). What depends on who is paid is counted once per transaction: the first touch of a standing and of a position
is cold, later ones are nearly free.
"""

from __future__ import annotations

from fenzhang.domain.records import NOTHING, Capture, Instruction, InstructionKind

TRANSACTION = 110_000
"""Intrinsic gas, cold contracts and totals, sealing of the batch."""
GROUP = 42_000
"""One attestation or authorization: signature, a fresh nonce word, standing of the signer."""
WALLET = 240_000
"""What SplitLedger wants to have left when it asks a contract account for its signature, and what such an account
usually takes. Counted once in a transaction in which others signed than our own keys."""
COLD_STANDING = 10_000
"""First look at a recipient: status and consent. Most cost 7,300; a consent other than that of its enrolment costs
another cold slot."""
COLD_POSITION = 23_000
"""First payment to a recipient in a currency, from zero. A currency's total of refunds is a slot like it."""
COLD_RULE = 24_000
"""First use of a rule version, and for each leg:"""
COLD_RULE_LEG = 3_000

_CAPTURE = 32_300
_TERMS = 3_000
_JOIN = 13_000
"""Under a condition: the order joins it, and perhaps reaches it. What is cold then is counted once, with standings."""
_OBSTACLE = 6_000
"""Whether the condition of an order stops an instruction, asked twice."""
_SELECTION = 3_500
"""What the schedule of the platform selects, and for each of its entries:"""
_PER_ENTRY = 250
_PER_BINDING = 1_400
_WITNESS = 11_800
_PER_WITNESS_BINDING = 700
_PER_PAST_RECORD = 2_600
_PER_PAST_LEAF = 850
_SPLIT = 11_500
_PER_LEAF = 1_500
_CAPPED = 25_000
"""Under a cap: the sum of what left the merchant, from zero; and for each leaf, also of a return's opened past:"""
_PER_CAPPED_LEAF = 400
_RELEASE = 8_500
_RETURN = 18_800
_REFUND = 16_000
_PER_RETURNED_LEAF = 1_500
_PER_WORD = 700
_WORD = 32


def capture_gas(capture: Capture, entries: int = 0) -> int:
    """One capture, without its recipients and rule. `entries` are those of its platform's schedule."""
    words = capture.facts != NOTHING or capture.condition != NOTHING
    terms = _TERMS if capture.hold_until or capture.expires_at or words else 0
    selection = _SELECTION + _PER_ENTRY * entries if entries else 0
    joining = _JOIN if capture.condition != NOTHING else 0
    return _CAPTURE + _PER_BINDING * len(capture.bindings) + terms + selection + joining


def condition_gas(capture: Capture) -> int:
    """What the order's condition adds to an instruction or an expiry."""
    return _OBSTACLE if capture.condition != NOTHING else 0


def witness_gas(capture: Capture, past_records: int = 0, past_leaves: int = 0) -> int:
    """One witness. What a return or refund makes of the opened past is included, `past_leaves` in all its records."""
    return (
        _WITNESS
        + _PER_WITNESS_BINDING * len(capture.bindings)
        + _PER_PAST_RECORD * past_records
        + _PER_PAST_LEAF * past_leaves
    )


def instruction_gas(instruction: Instruction, leaves: int) -> int:
    """One instruction, without its recipients, rule and witness. `leaves` that it allocates to or takes from."""
    given = _PER_WORD * (len(instruction.bindings) + len(instruction.amounts))
    match instruction.kind:
        case InstructionKind.SPLIT:
            return _SPLIT + _PER_LEAF * leaves + given
        case InstructionKind.RELEASE:
            return _RELEASE
        case InstructionKind.RETURN:
            return _RETURN + _PER_RETURNED_LEAF * leaves + given
        case InstructionKind.REFUND:
            return _REFUND + _PER_RETURNED_LEAF * leaves


def expiry_gas(capture: Capture) -> int:
    """One order of an `expire`, with its merchant and platform looked at and paid for the first time, or refunded."""
    ending = _RELEASE + 2 * COLD_STANDING + COLD_POSITION
    return witness_gas(capture) + ending + condition_gas(capture)


def cap_gas(leaves: int) -> int:
    """What a cap adds to a split or return of an order: `leaves` are those of the split or of the opened past."""
    return _CAPPED + _PER_CAPPED_LEAF * leaves


def rule_gas(legs: int) -> int:
    """First use of a rule version of this many legs in a transaction."""
    return COLD_RULE + COLD_RULE_LEG * legs


# ------------------------------------------------------------------------------ calldata, bytes

TRANSACTION_BYTES = 700
GROUP_BYTES = 13 * _WORD
"""Head, signature, and the offsets of one attestation or authorization."""


def capture_bytes(capture: Capture) -> int:
    """One capture with its offset."""
    return _WORD * (14 + len(capture.bindings))


def witness_bytes(capture: Capture, past_records: int = 0, past_leaves: int = 0) -> int:
    """One witness with its offset."""
    return capture_bytes(capture) + _WORD * (5 + 7 * past_records + 2 * past_leaves)


def instruction_bytes(instruction: Instruction) -> int:
    """One instruction with its offset and its order index."""
    return _WORD * (10 + len(instruction.bindings) + len(instruction.amounts)) + 2
