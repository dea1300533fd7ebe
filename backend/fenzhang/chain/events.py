"""Events from raw logs, in bulk. Their classes are those of `fenzhang.chain.eventtypes`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError

from fenzhang.chain.abi import Reader, currency_text, role_text
from fenzhang.chain.calldata import read_allocations, read_legs, read_terms
from fenzhang.chain.clearing import CYCLE_WORDS, read_cycle
from fenzhang.chain.errors import Undecodable
from fenzhang.chain.eventtypes import (
    AdministrationChanged,
    ApprovalLockChanged,
    AuthorityRotated,
    AuthorizationRejected,
    AuthorizationSkipped,
    BatchSealed,
    ClearingEvent,
    ConditionConfirmed,
    ConditionEvent,
    ConditionJoined,
    ConditionOpened,
    ConditionReached,
    ConsentChanged,
    CurrencyChanged,
    CycleClosed,
    Event,
    ExpiryPassedOver,
    FreezeChanged,
    HeirNamed,
    InstructionRejected,
    LedgerEvent,
    LogPosition,
    MaxShareOutChanged,
    OrderCaptured,
    OrderRefunded,
    OrderReleased,
    OrderSplit,
    OrderTerms,
    OutcomePassedOver,
    ParticipantEnrolled,
    ParticipantFreezeChanged,
    ParticipantPlaced,
    ParticipantStatusChanged,
    PayoutEvent,
    PayoutFailed,
    PayoutPaid,
    PayoutRefused,
    PayoutReturned,
    PayoutTaken,
    RoleGranted,
    RoleRevoked,
    RuleApproved,
    RuleProposed,
    RuleRetired,
    RuleVetoed,
    ScheduleProposed,
    SplitReturned,
    SuspenseResolved,
)
from fenzhang.chain.keccak import keccak
from fenzhang.chain.schedules import read_entries
from fenzhang.domain.clearing import OutcomeKind, PayoutState
from fenzhang.domain.records import ParticipantStatus, RecordKind

__all__ = [
    "AdministrationChanged",
    "ApprovalLockChanged",
    "AuthorityRotated",
    "AuthorizationRejected",
    "AuthorizationSkipped",
    "BatchSealed",
    "ClearingEvent",
    "ConditionConfirmed",
    "ConditionEvent",
    "ConditionJoined",
    "ConditionOpened",
    "ConditionReached",
    "ConsentChanged",
    "CurrencyChanged",
    "CycleClosed",
    "Event",
    "ExpiryPassedOver",
    "FreezeChanged",
    "HeirNamed",
    "InstructionRejected",
    "LedgerEvent",
    "LogPosition",
    "MaxShareOutChanged",
    "OrderCaptured",
    "OrderRefunded",
    "OrderReleased",
    "OrderSplit",
    "OrderTerms",
    "OutcomePassedOver",
    "ParticipantEnrolled",
    "ParticipantFreezeChanged",
    "ParticipantPlaced",
    "ParticipantStatusChanged",
    "PayoutEvent",
    "PayoutFailed",
    "PayoutPaid",
    "PayoutRefused",
    "PayoutReturned",
    "PayoutTaken",
    "RoleGranted",
    "RoleRevoked",
    "RuleApproved",
    "RuleProposed",
    "RuleRetired",
    "RuleVetoed",
    "ScheduleProposed",
    "SplitReturned",
    "SuspenseResolved",
    "decode_logs",
    "join_terms",
]

_Decoder = Callable[[LogPosition, Reader, Reader], Event]
"""Makes an event from its place, its topics (word 0 is the event's hash) and its data."""


def _order_captured(at: LogPosition, topics: Reader, data: Reader) -> OrderCaptured:
    return OrderCaptured(
        at,
        order_id=topics.raw(1),
        platform=topics.raw(2),
        merchant=data.raw(0),
        rule_id=data.raw(1),
        rule_version=data.uint(2, 32),
        currency=currency_text(data.fixed(3, 3)),
        amount=data.uint(4, 96),
        bindings=data.words(5),
    )


def _instruction_rejected(at: LogPosition, topics: Reader, data: Reader) -> InstructionRejected:
    return InstructionRejected(
        at,
        signer=topics.raw(1),
        id=topics.raw(2),
        order_id=topics.raw(3),
        kind=RecordKind(data.uint(0, 8)),
        amount=data.uint(1, 96),
        reason=data.blob(2),
    )


def _rule_proposed(at: LogPosition, topics: Reader, data: Reader) -> RuleProposed:
    return RuleProposed(
        at,
        platform=topics.raw(1),
        rule_id=topics.raw(2),
        version=topics.uint(3, 32),
        effective_from=data.uint(0, 64),
        content_hash=data.raw(1),
        legs=read_legs(data, 2),
        terms=read_terms(data, 3),
    )


def _schedule_proposed(at: LogPosition, topics: Reader, data: Reader) -> ScheduleProposed:
    return ScheduleProposed(
        at,
        platform=topics.raw(1),
        version=topics.uint(2, 32),
        effective_from=data.uint(0, 64),
        content_hash=data.raw(1),
        entries=read_entries(data, 2),
    )


def _cycle_closed(at: LogPosition, topics: Reader, data: Reader) -> CycleClosed:
    return CycleClosed(at, topics.raw(1), read_cycle(data, 0), data.address(CYCLE_WORDS))


def _role_granted(at: LogPosition, topics: Reader, data: Reader) -> RoleGranted:
    return RoleGranted(
        at, topics.uint(1, 64), topics.address(2), data.uint(0, 32), data.uint(1, 48), data.flag(2)
    )


def _text(raw: bytes) -> str:
    """A string of Solidity: nothing there makes it UTF-8, and no log may be beyond reading."""
    return raw.decode("utf-8", "replace")


def _administration(name: str, indexed: list[str], plain: list[str]) -> _Decoder:
    kinds, read = [*indexed, *plain], ["bytes" if kind == "string" else kind for kind in plain]

    def decoder(at: LogPosition, topics: Reader, data: Reader) -> AdministrationChanged:
        values = (*decode(indexed, topics.data[32:]), *decode(read, data.data))
        shown = [
            _text(value) if kind == "string" else value for kind, value in zip(kinds, values, strict=True)
        ]
        return AdministrationChanged(at, name, tuple(shown))

    return decoder


_EVENTS: dict[str, dict[str, _Decoder]] = {
    "ParticipantRegistry": {
        "ParticipantEnrolled(bytes32,address)": lambda at, t, _: ParticipantEnrolled(
            at, t.raw(1), t.address(2)
        ),
        "ParticipantStatusChanged(bytes32,uint8)": lambda at, t, d: ParticipantStatusChanged(
            at, t.raw(1), ParticipantStatus(d.uint(0, 8))
        ),
        "AuthorityRotated(bytes32,address,address)": lambda at, t, _: AuthorityRotated(
            at, t.raw(1), t.address(2), t.address(3)
        ),
        "ParticipantFreezeChanged(bytes32,address,bool,bytes32)": lambda at, t, d: ParticipantFreezeChanged(
            at, t.raw(1), t.address(2), d.flag(0), role_text(d.raw(1))
        ),
        "MaxShareOutChanged(bytes32,uint16)": lambda at, t, d: MaxShareOutChanged(
            at, t.raw(1), d.uint(0, 16)
        ),
        "ConsentChanged(bytes32,bytes32,bool)": lambda at, t, d: ConsentChanged(
            at, t.raw(1), t.raw(2), d.flag(0)
        ),
        "HeirNamed(bytes32,bytes32,address)": lambda at, t, _: HeirNamed(
            at, t.raw(1), t.raw(2), t.address(3)
        ),
        "ParticipantPlaced(bytes32,bytes32,uint8)": lambda at, t, d: ParticipantPlaced(
            at, t.raw(1), t.raw(2), d.uint(0, 8)
        ),
    },
    "RuleBook": {
        "RuleProposed(bytes32,bytes32,uint32,uint64,bytes32,"
        "(int8,uint8,uint96,uint96,uint96,bytes32,bytes32)[],(uint16,bool,bool))": _rule_proposed,
        "ScheduleProposed(bytes32,uint32,uint64,bytes32,"
        "(bytes32,bytes3,uint96,uint96,uint64,uint64,bytes32)[])": _schedule_proposed,
        "RuleApproved(bytes32,bytes32,uint32,bytes32,address)": lambda at, t, d: RuleApproved(
            at, t.raw(1), t.raw(2), t.uint(3, 32), d.raw(0), d.address(1)
        ),
        "RuleVetoed(bytes32,bytes32,uint32,bytes32,address,bytes32)": lambda at, t, d: RuleVetoed(
            at, t.raw(1), t.raw(2), t.uint(3, 32), d.raw(0), d.address(1), d.raw(2)
        ),
        "ApprovalLockChanged(uint64)": lambda at, _, d: ApprovalLockChanged(at, d.uint(0, 64)),
        "RuleRetired(bytes32,bytes32)": lambda at, t, _: RuleRetired(at, t.raw(1), t.raw(2)),
    },
    "Conditions": {
        "ConditionOpened(bytes32,bytes32,uint32,uint64,bytes32)": lambda at, t, d: ConditionOpened(
            at, t.raw(1), t.raw(2), d.uint(0, 32), d.uint(1, 64), t.raw(3)
        ),
        "ConditionJoined(bytes32,bytes32,bytes32,uint32)": lambda at, t, d: ConditionJoined(
            at, t.raw(1), t.raw(2), t.raw(3), d.uint(0, 32)
        ),
        "ConditionConfirmed(bytes32,bytes32)": lambda at, t, _: ConditionConfirmed(at, t.raw(1), t.raw(2)),
        "ConditionReached(bytes32,bytes32)": lambda at, t, _: ConditionReached(at, t.raw(1), t.raw(2)),
        "FreezeChanged(bytes32,bytes32,address,bool,bytes32)": lambda at, t, d: FreezeChanged(
            at, t.raw(1), t.raw(2), t.address(3), d.flag(0), role_text(d.raw(1))
        ),
    },
    "SplitLedger": {
        "OrderTerms(bytes32,uint64,uint64,bytes32,bytes32)": lambda at, t, d: OrderTerms(
            at, t.raw(1), d.uint(0, 64), d.uint(1, 64), d.raw(2), d.raw(3)
        ),
        "OrderCaptured(bytes32,bytes32,bytes32,bytes32,uint32,bytes3,uint96,bytes32[])": _order_captured,
        "OrderSplit(bytes32,bytes32,uint96,(bytes32,uint96)[])": lambda at, t, d: OrderSplit(
            at, t.raw(1), t.raw(2), d.uint(0, 96), read_allocations(d, 1)
        ),
        "OrderReleased(bytes32,bytes32,bytes32,uint96)": lambda at, t, d: OrderReleased(
            at, t.raw(1), t.raw(2), d.raw(0), d.uint(1, 96)
        ),
        "ExpiryPassedOver(bytes32,bytes)": lambda at, t, d: ExpiryPassedOver(at, t.raw(1), d.blob(0)),
        "SplitReturned(bytes32,bytes32,bytes32,uint96,(bytes32,uint96)[])": lambda at, t, d: SplitReturned(
            at, t.raw(1), t.raw(2), t.raw(3), d.uint(0, 96), read_allocations(d, 1)
        ),
        "OrderRefunded(bytes32,bytes32,uint96,uint96,(bytes32,uint96)[])": lambda at, t, d: OrderRefunded(
            at, t.raw(1), t.raw(2), d.uint(0, 96), d.uint(1, 96), read_allocations(d, 2)
        ),
        "InstructionRejected(bytes32,bytes32,bytes32,uint8,uint96,bytes)": _instruction_rejected,
        "AuthorizationRejected(bytes32,bytes32,uint256,bytes)": lambda at, t, d: AuthorizationRejected(
            at, t.raw(1), t.raw(2), d.uint(0), d.blob(1)
        ),
        "AuthorizationSkipped(bytes32,bytes32,uint256,bytes32)": lambda at, t, d: AuthorizationSkipped(
            at, t.raw(1), t.raw(2), d.uint(0), d.raw(1)
        ),
        "BatchSealed(uint256,bytes32,uint256)": lambda at, t, d: BatchSealed(
            at, t.uint(1), d.raw(0), d.uint(1)
        ),
        "CurrencyChanged(bytes3,bool)": lambda at, t, d: CurrencyChanged(
            at, currency_text(t.fixed(1, 3)), d.flag(0)
        ),
    },
    "ClearingHouse": {
        "CycleClosed(bytes32,(bytes3,bytes32,uint32,uint64,uint64,uint32,uint128,bytes32,bytes32,bytes32,uint64),"
        "address)": _cycle_closed,
        "PayoutTaken(bytes32,bytes32,uint32,bytes32,uint96)": lambda at, t, d: PayoutTaken(
            at, t.raw(1), t.raw(2), d.uint(0, 32), t.raw(3), d.uint(1, 96)
        ),
        "PayoutRefused(bytes32,bytes32,uint32,bytes32,uint96,bytes)": lambda at, t, d: PayoutRefused(
            at, t.raw(1), t.raw(2), d.uint(0, 32), t.raw(3), d.uint(1, 96), d.blob(2)
        ),
        "PayoutPaid(bytes32,bytes32,bytes32,uint96)": lambda at, t, d: PayoutPaid(
            at, t.raw(1), t.raw(2), t.raw(3), d.uint(0, 96)
        ),
        "PayoutFailed(bytes32,bytes32,bytes32,uint96,bytes32)": lambda at, t, d: PayoutFailed(
            at, t.raw(1), t.raw(2), t.raw(3), d.uint(0, 96), role_text(d.raw(1))
        ),
        "PayoutReturned(bytes32,bytes32,bytes32,uint96,bytes32)": lambda at, t, d: PayoutReturned(
            at, t.raw(1), t.raw(2), t.raw(3), d.uint(0, 96), role_text(d.raw(1))
        ),
        "OutcomePassedOver(bytes32,bytes32,uint8,uint8)": lambda at, t, d: OutcomePassedOver(
            at, t.raw(1), t.raw(2), OutcomeKind(d.uint(0, 8)), PayoutState(d.uint(1, 8))
        ),
        "SuspenseResolved(bytes3,bytes32,bytes32,uint96)": lambda at, t, d: SuspenseResolved(
            at, currency_text(t.fixed(1, 3)), t.raw(2), t.raw(3), d.uint(0, 96)
        ),
    },
    "AccessManager": {
        "RoleGranted(uint64,address,uint32,uint48,bool)": _role_granted,
        "RoleRevoked(uint64,address)": lambda at, t, _: RoleRevoked(at, t.uint(1, 64), t.address(2)),
    },
}
_ADMINISTRATION: tuple[tuple[str, list[str], list[str], str], ...] = (
    # Name, indexed types, other types, and the types in the order of declaration.
    ("AuthorityUpdated", [], ["address"], "address"),
    ("RoleLabel", ["uint64"], ["string"], "uint64,string"),
    ("RoleAdminChanged", ["uint64", "uint64"], [], "uint64,uint64"),
    ("RoleGuardianChanged", ["uint64", "uint64"], [], "uint64,uint64"),
    ("RoleGrantDelayChanged", ["uint64"], ["uint32", "uint48"], "uint64,uint32,uint48"),
    ("TargetClosed", ["address"], ["bool"], "address,bool"),
    ("TargetFunctionRoleUpdated", ["address", "uint64"], ["bytes4"], "address,bytes4,uint64"),
    ("TargetAdminDelayUpdated", ["address"], ["uint32", "uint48"], "address,uint32,uint48"),
    (
        "OperationScheduled",
        ["bytes32", "uint32"],
        ["uint48", "address", "address", "bytes"],
        "bytes32,uint32,uint48,address,address,bytes",
    ),
    ("OperationExecuted", ["bytes32", "uint32"], [], "bytes32,uint32"),
    ("OperationCanceled", ["bytes32", "uint32"], [], "bytes32,uint32"),
)


def _dispatch() -> dict[bytes, tuple[str | None, _Decoder]]:
    table: dict[bytes, tuple[str | None, _Decoder]] = {
        keccak(signature.encode()): (contract, decoder)
        for contract, events in _EVENTS.items()
        for signature, decoder in events.items()
    }
    for name, indexed, plain, types in _ADMINISTRATION:
        table[keccak(f"{name}({types})".encode())] = (None, _administration(name, indexed, plain))
    return table


_DISPATCH = _dispatch()


def decode_logs(
    raw_logs: Iterable[Mapping[str, Any]], contracts: Mapping[bytes, str] | None = None
) -> list[Event]:
    """Events from logs as eth_getLogs answers them, in the given order.

    `contracts` names the contract at each address (Deployment.contracts); with it, an event from an address
    that does not declare it raises Undecodable. Unknown events and malformed logs always do. The times of an order are
    with its capture (`join_terms`).
    """
    return join_terms([_decode_log(raw, contracts) for raw in raw_logs])


def join_terms(events: list[Event]) -> list[Event]:
    """The events with every OrderTerms put into the OrderCaptured that it stands before; others stay as they are."""
    if not any(type(event) is OrderTerms for event in events):
        return events
    joined: list[Event] = []
    for event in events:
        terms = joined[-1] if joined else None
        if isinstance(event, OrderCaptured) and isinstance(terms, OrderTerms) and _belong(terms, event):
            joined[-1] = replace(
                event,
                hold_until=terms.hold_until,
                expires_at=terms.expires_at,
                facts=terms.facts,
                condition=terms.condition,
            )
        else:
            joined.append(event)
    return joined


def _belong(terms: OrderTerms, captured: OrderCaptured) -> bool:
    following = replace(terms.at, log_index=terms.at.log_index + 1)
    return (terms.order_id, following) == (captured.order_id, captured.at)


def _decode_log(raw: Mapping[str, Any], contracts: Mapping[bytes, str] | None) -> Event:
    try:
        topics = bytes.fromhex("".join([topic[2:] for topic in raw["topics"]]))
        at = LogPosition(
            block_number=int(raw["blockNumber"], 16),
            block_hash=bytes.fromhex(raw["blockHash"][2:]),
            tx_hash=bytes.fromhex(raw["transactionHash"][2:]),
            tx_index=int(raw["transactionIndex"], 16),
            log_index=int(raw["logIndex"], 16),
        )
        data = bytes.fromhex(raw["data"][2:])
        contract, decoder = _DISPATCH[topics[:32]]
        if contracts is not None:
            _check_origin(contracts, contract, bytes.fromhex(raw["address"][2:]))
        return decoder(at, Reader(topics), Reader(data))
    except Undecodable as error:
        raise Undecodable(f"log {_place(raw)}: {error.message}") from None
    except (KeyError, ValueError, TypeError, DecodingError, OverflowError) as error:
        raise Undecodable(f"log {_place(raw)} is no event of these contracts: {error!r}") from None


def _check_origin(contracts: Mapping[bytes, str], contract: str | None, address: bytes) -> None:
    found = contracts.get(address)
    if found is None or contract not in {None, found}:
        raise Undecodable(f"an event of {contract} does not come from 0x{address.hex()}")


def _place(raw: Mapping[str, Any]) -> str:
    return f"{raw.get('logIndex')} of block {raw.get('blockNumber')}"
