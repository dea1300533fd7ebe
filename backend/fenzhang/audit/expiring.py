"""One `expire` decided again from its calldata: which orders it had to release or refund, and which to pass over."""

from __future__ import annotations

from collections.abc import Sequence

from fenzhang.audit.differences import Code
from fenzhang.audit.model import Model
from fenzhang.audit.records import Records
from fenzhang.audit.settling import is_known, take_seal
from fenzhang.audit.tape import NOWHERE, Tape
from fenzhang.chain.calldata import SentWitness
from fenzhang.chain.codec import encode_rejection
from fenzhang.chain.eventtypes import ExpiryPassedOver, OrderRefunded, OrderReleased
from fenzhang.domain.errors import OutdatedWitness, Rejection
from fenzhang.domain.records import RecordKind
from fenzhang.domain.settlement import decide_expiry


def replay_expiry(witnesses: Sequence[SentWitness], model: Model, records: Records, tape: Tape) -> None:
    """Take up all events of the call. Raises OutOfStep where they tell of something else than its calldata."""
    for witness in witnesses:
        order = witness.capture.order_id
        message = f"the expiry of order 0x{order.hex()} was decided otherwise"
        expected = _expected(witness, model, tape.transaction.timestamp)
        event = tape.expect(expected, Code.DECISION_DIFFERS, message, order=order)
        if isinstance(event, OrderReleased | OrderRefunded):
            records.apply(event, tape.transaction)
    take_seal(model, records, tape)


def _expected(
    witness: SentWitness, model: Model, now: int
) -> OrderReleased | OrderRefunded | ExpiryPassedOver:
    capture = witness.capture
    try:
        if capture.order_id in model.world.orders and not is_known(model, witness):
            raise OutdatedWitness(capture.order_id)
        outcome = decide_expiry(model.world, capture.order_id, now)
    except Rejection as rejection:
        return ExpiryPassedOver(NOWHERE, capture.order_id, encode_rejection(rejection))
    if outcome.kind is RecordKind.REFUND:
        order = capture.order_id
        return OrderRefunded(NOWHERE, order, order, outcome.amount, from_held=outcome.amount, takes=())
    return OrderReleased(NOWHERE, capture.order_id, capture.order_id, capture.merchant, outcome.amount)
