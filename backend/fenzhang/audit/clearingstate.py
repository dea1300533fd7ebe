"""What ClearingHouse holds of cycles and payouts, against what their history leads to."""

from __future__ import annotations

from typing import Any

from fenzhang.audit.differences import Code
from fenzhang.audit.model import Model
from fenzhang.audit.state import StateReader
from fenzhang.chain.abi import currency_bytes, role_bytes
from fenzhang.chain.clearing import CONTRACT
from fenzhang.domain.clearing import LastCycle, PayoutState

INDICES = 1_000
"""Payouts in one question: their states stand in words of 128."""


async def compare_cycles(state: StateReader, model: Model) -> None:
    """Compare every cycle, the newest of each currency and scheme, and the state of every payout.

    Raises NodeUnavailable, RpcError.
    """
    await _cycles(state, model)
    await _newest(state, model)
    await _payout_states(state, model)


async def _cycles(state: StateReader, model: Model) -> None:
    cycles = model.world.cycles
    for (cycle_id,), (found,) in await state.ask(CONTRACT, "cycleOf", [(each,) for each in cycles]):
        known = cycles[cycle_id]
        currency = currency_bytes(known.currency)
        expected = (known.payout_root, known.total, known.taken, currency, known.number, known.payouts)
        if found != expected:
            what = f"cycle 0x{cycle_id.hex()}"
            _differs(state, Code.CYCLE, what, expected, found, currency=known.currency)


async def _newest(state: StateReader, model: Model) -> None:
    newest = {
        (currency_bytes(currency), role_bytes(scheme)): (currency, scheme)
        for currency, scheme in model.world.last_cycles
    }
    for asked, found in await state.ask(CONTRACT, "lastCycle", list(newest)):
        currency, scheme = newest[asked]
        expected = model.world.last_cycles[currency, scheme]
        if LastCycle(*found) != expected:
            what = f"the newest cycle of {currency} {scheme}"
            _differs(state, Code.CYCLE, what, expected, LastCycle(*found), currency=currency)


async def _payout_states(state: StateReader, model: Model) -> None:
    questions = [
        (cycle_id, tuple(range(start, min(start + INDICES, cycle.payouts))))
        for cycle_id, cycle in model.world.cycles.items()
        for start in range(0, cycle.payouts, INDICES)
    ]
    owners = {
        (trail.cycle_id, trail.payout.index): trail.payout.participant for trail in model.payouts.values()
    }
    for (cycle_id, indices), (states,) in await state.ask(CONTRACT, "payoutStates", questions):
        for index, number in zip(indices, states, strict=True):
            expected = model.world.payouts.get((cycle_id, index), PayoutState.NONE)
            if number != expected:
                _differs(
                    state,
                    Code.PAYOUT_STATE,
                    f"payout {index} of cycle 0x{cycle_id.hex()}",
                    expected.name,
                    PayoutState(number).name if number in set(PayoutState) else str(number),
                    participant=owners.get((cycle_id, index)),
                )
        state.findings.count("payout_states", len(indices))


def _differs(
    state: StateReader, code: Code, what: str, expected: object, found: object, **details: Any
) -> None:
    state.findings.report(
        code,
        f"{what}: the chain holds another value than its history leads to",
        block=state.block if isinstance(state.block, int) else None,
        expected=expected,
        found=found,
        **details,
    )
