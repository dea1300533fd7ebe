"""Positions as a test wants them: written into the chain's storage, as no function of the contract does."""

from __future__ import annotations

import json

from fenzhang.chain.abi import signed_word
from fenzhang.chain.artifacts import artifacts_folder
from fenzhang.chain.keccak import keccak
from support.parties import Party
from support.world import World


def write_position(world: World, who: Party, amount: int, currency: str = "CNY") -> None:
    """Make the position of a participant `amount` minor units, on the chain and in the twin."""
    ledger = "0x" + world.system.deployment.split_ledger.hex()
    slot = "0x" + position_slot(who.id, currency).hex()
    world.node.request("anvil_setStorageAt", ledger, slot, "0x" + signed_word(amount).hex())
    world.twin.world.positions[currency, who.id] = amount


def position_slot(participant: bytes, currency: str) -> bytes:
    """The storage slot of a position."""
    content = json.loads((artifacts_folder() / "SplitLedger.json").read_text(encoding="utf-8"))
    layout = content["storageLayout"]
    [books] = [entry for entry in layout["storage"] if entry["label"] == "_books"]
    members = layout["types"][books["type"]]["members"]
    [positions] = [member for member in members if member["label"] == "positions"]
    slot = int(books["slot"]) + int(positions["slot"])
    outer = keccak(currency.encode().ljust(32, b"\0") + slot.to_bytes(32, "big"))
    return keccak(participant + outer)
