"""Instructions that break the transaction they are in: found by halving, and their neighbours settle."""

from __future__ import annotations

from fenzhang.chain.signer import LocalKey
from fenzhang.client import InstructionType, State
from support.faults.rig import Rig, Scenario
from support.faults.system import FaultSystem
from support.faults.traffic import Platform

_EATS_ALL = bytes.fromhex("5b600056")
"""A contract that loops for ever."""
_YES = "631626ba7e60e01b5f5260205ff3"
"""Returns the magic value of ERC-1271, whatever it is asked."""
_SAYS_YES = bytes.fromhex(_YES)
_ROUNDS_OF_THREE_MILLION_GAS = 115_000
_SAYS_YES_AFTER_LONG_THOUGHT = bytes.fromhex(
    f"62{_ROUNDS_OF_THREE_MILLION_GAS:06x}" + "5b600190038060045750" + _YES
)


async def _set_code(system: FaultSystem, address: bytes, code: bytes) -> None:
    async with system.node() as node:
        await node.request("anvil_setCode", "0x" + address.hex(), "0x" + code.hex())


async def _wallet(rig: Rig, name: str) -> tuple[Platform, bytes]:
    """A platform whose authority is a contract that confirms every signature."""
    address = rig.chosen.randbytes(20)
    await _set_code(rig.system, address, _SAYS_YES)
    platform = await rig.traffic.join(name, LocalKey(rig.chosen.randbytes(32)), address)
    return platform, address


async def _among_neighbours(rig: Rig, platform: Platform, code: bytes, address: bytes) -> list[str]:
    """Splits of `platform` between others in one transaction, after its contract has become `code`.

    Returns the references of its splits, which the model takes for settled.
    """
    captured = [rig.traffic.new_order(platform, 1_000) for _ in range(3)]
    for order in captured:
        await rig.traffic.send(platform, order, order.new)
    await rig.settle()
    # Everything that follows is accepted before any of it is submitted.
    submission = rig.system.processes["submission"]
    submission.wanted = False
    submission.kill()
    references = []
    for order in captured:
        await rig.traffic.send_orders(4)
        split = rig.traffic.split(order, 500)
        await rig.traffic.send(platform, order, split)
        references.append(split.out_split_no)
    await rig.traffic.send_orders(4)
    await _set_code(rig.system, address, code)
    submission.start()
    await rig.settle()
    return references


async def eats_gas(rig: Rig) -> int:
    """A wallet that confirmed its signatures burns all gas when the chain asks it: rejected, it alone."""
    for _ in range(rig.rounds):
        platform, address = await _wallet(rig, f"eater-{rig.chosen.randrange(10**9)}")
        before = dict(rig.traffic.model.money[platform.name])
        captured = before.get("(captured)", 0)
        references = await _among_neighbours(rig, platform, _EATS_ALL, address)
        model = rig.traffic.model
        for reference in references:
            model.states[platform.name, InstructionType.SPLIT, reference] = State.REJECTED
        money = model.money[platform.name]
        total = money["(captured)"]
        money.clear()
        money.update({"(captured)": total, "(held)": total})
        rig.say(f"{len(references)} poisoned splits of {total - captured} rejected, their neighbours settled")
    return rig.rounds


async def needs_more_gas(rig: Rig) -> int:
    """A wallet that thinks long makes any full transaction exceed its gas limit; alone it fits, and settles."""
    for _ in range(rig.rounds):
        platform, address = await _wallet(rig, f"thinker-{rig.chosen.randrange(10**9)}")
        references = await _among_neighbours(rig, platform, _SAYS_YES_AFTER_LONG_THOUGHT, address)
        rig.say(f"{len(references)} splits whose signature costs 3,000,000 gas settled alone")
    return rig.rounds


SCENARIOS = (
    Scenario("poison", "instructions that use up all gas of their transaction", eats_gas, 1, 3),
    Scenario(
        "too-large", "instructions that make their transaction exceed its gas limit", needs_more_gas, 1, 3
    ),
)
