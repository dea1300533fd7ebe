"""Instructions that break the transaction they are in: found by halving, and their neighbours settle.

The platform's address becomes a contract (as EIP-7702 lets any account) after its signatures were accepted, so that the
chain asks the contract, which does what it likes with the gas that it is given.
"""

from __future__ import annotations

from fenzhang.chain.signer import LocalKey
from fenzhang.client import InstructionType, State
from support.faults.rig import Rig, Scenario
from support.faults.traffic import CAPTURED, HELD, Platform

_POISONED, _THINKING = 3, 10
_BURNS_ALL = bytes.fromhex("5b600056")
"""A contract that loops for ever."""
_LOOP = "62{rounds:06x}5b600190038060045750"
"""Counts down, at 26 gas a round."""
_YES = "631626ba7e60e01b5f5260205ff3"
"""Returns the magic value of ERC-1271, whatever it is asked."""
_SAYS_YES_FOR_180000_GAS = bytes.fromhex(_LOOP.format(rounds=6_900) + _YES)
"""Four times what a signature may cost by the submission's gas model."""


async def burns_gas(rig: Rig) -> int:
    """Authorities that burn all the gas there is: their splits are rejected, and nothing else is."""
    for _ in range(rig.rounds):
        platform, references = await _among_neighbours(rig, "burner", _POISONED, _BURNS_ALL)
        model = rig.traffic.model
        for reference in references:
            model.states[platform.name, InstructionType.SPLIT, reference] = State.REJECTED
        money = model.money[platform.name]
        captured = money[CAPTURED]
        money.clear()
        money.update({CAPTURED: captured, HELD: captured})
        rig.say(f"{len(references)} splits that burn all gas, among others")
    return _POISONED * rig.rounds


async def needs_more_gas(rig: Rig) -> int:
    """Signatures that cost far more than reckoned: any transaction with several of them exceeds its gas limit.

    Alone each fits, and settles.
    """
    for _ in range(rig.rounds):
        _, references = await _among_neighbours(rig, "thinker", _THINKING, _SAYS_YES_FOR_180000_GAS)
        rig.say(f"{len(references)} splits that need more gas than reckoned, among others")
    return _THINKING * rig.rounds


async def _among_neighbours(rig: Rig, name: str, count: int, code: bytes) -> tuple[Platform, list[str]]:
    """Splits of a new platform between others, all waiting together when its address becomes `code`.

    Returns the platform and the references of its splits, which the model takes for settled.
    """
    key = LocalKey(rig.chosen.randbytes(32))
    platform = await rig.traffic.join(f"{name}-{rig.chosen.randrange(10**9)}", key)
    # No other traffic comes from this platform.
    rig.traffic.platforms.remove(platform)
    rig.traffic.retired.append(platform)
    orders = [rig.traffic.new_order(platform, 1_000) for _ in range(count)]
    for order in orders:
        await rig.traffic.send(platform, order, order.new)
    await rig.settle()
    submission = rig.system.processes["submission"]
    submission.stop()
    references = []
    for order in orders:
        await rig.traffic.send_orders(1)
        split = rig.traffic.split(order, 500)
        await rig.traffic.send(platform, order, split)
        references.append(split.out_split_no)
    async with rig.system.node() as node:
        await node.request("anvil_setCode", "0x" + key.address.hex(), "0x" + code.hex())
    submission.start()
    await rig.settle()
    return platform, references


SCENARIOS = (
    Scenario("poison", "instructions that burn all gas of their transaction", burns_gas, 1, 3),
    Scenario(
        "too-large", "instructions that make their transaction exceed its gas limit", needs_more_gas, 1, 3
    ),
)
