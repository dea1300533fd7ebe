"""Batches drawn at random, about a third of them wrong somewhere, for a system with rules in every state."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

from fenzhang.chain.governance import enroll_call, enroll_recipient_call
from fenzhang.chain.signer import LocalKey
from fenzhang.domain.money import MAX_AMOUNT
from fenzhang.domain.records import (
    Attestation,
    Authorization,
    Capture,
    Instruction,
    InstructionKind,
    RecordKind,
)
from fenzhang.domain.rules import Leg, LegKind
from unit.chain.system import ATTESTOR, REGISTRAR, System

NOBODY = bytes(32)
CURRENCIES = ("CNY", "JPY")
FAR = 2**63
KEYS = [LocalKey(bytes([number]) * 32) for number in (1, 2)]
PLATFORMS = [b"P" * 31 + bytes([number]) for number in (1, 2)]
RECIPIENTS = [b"R" * 31 + bytes([number]) for number in range(6)]
STRANGER, UNASKED = b"S" * 32, b"U" * 32
RULES = {
    name: name.ljust(32, b".") for name in (b"roles", b"fixed", b"nested", b"old", b"gone", b"new", b"late")
}


LEGS = {
    b"roles": (
        Leg(-1, LegKind.SHARE, 500, min=10, max=200, role="platform"),
        Leg(-1, LegKind.SHARE, 1_500, role="promoter"),
        Leg(-1, LegKind.REMAINDER, role="merchant"),
    ),
    b"fixed": (
        Leg(-1, LegKind.FIXED, 300, recipient=RECIPIENTS[0]),
        Leg(-1, LegKind.SHARE, 3_333, recipient=RECIPIENTS[1]),
        Leg(-1, LegKind.REMAINDER, recipient=RECIPIENTS[0]),
    ),
    b"nested": (
        Leg(-1, LegKind.SHARE, 1_000, role="platform"),
        Leg(-1, LegKind.REMAINDER),
        Leg(1, LegKind.SHARE, 2_500, recipient=RECIPIENTS[2]),
        Leg(1, LegKind.REMAINDER),
        Leg(3, LegKind.SHARE, 9_999, role="merchant"),
        Leg(3, LegKind.REMAINDER, role="platform"),
    ),
}
ROLES = {b"roles": 3, b"fixed": 0, b"nested": 2}


async def populate(system: System) -> None:
    """Participants and rules in every state."""
    for platform, key in zip(PLATFORMS, KEYS, strict=True):
        await system.govern(REGISTRAR, "ParticipantRegistry", enroll_call(platform, key.address))
    for recipient in RECIPIENTS:
        await system.govern(REGISTRAR, "ParticipantRegistry", enroll_recipient_call(recipient, PLATFORMS[0]))
    await system.govern(REGISTRAR, "ParticipantRegistry", enroll_call(UNASKED))
    mine = (KEYS[0], PLATFORMS[0])
    for name, legs in LEGS.items():
        await system.rule(*mine, RULES[name], legs)
    await system.rule(*mine, RULES[b"old"], LEGS[b"roles"])
    await system.rule(*mine, RULES[b"old"], LEGS[b"nested"], version=2)
    await system.rule(*mine, RULES[b"gone"], LEGS[b"fixed"])
    await system.retire(*mine, RULES[b"gone"])
    await system.rule(*mine, RULES[b"new"], LEGS[b"fixed"], approve=False)
    await system.rule(*mine, RULES[b"late"], LEGS[b"fixed"], effective_from=FAR)
    await system.rule(
        KEYS[1], PLATFORMS[1], RULES[b"fixed"], (Leg(-1, LegKind.REMAINDER, recipient=PLATFORMS[1]),)
    )


@dataclass
class Chooser:
    """Draws batches in which about a third of everything is wrong somewhere."""

    system: System
    dice: random.Random
    signed: list[Attestation | Authorization] = field(default_factory=list)
    serial: int = 0

    def chance(self, percent: int) -> bool:
        """Whether something with this probability happens."""
        return self.dice.randrange(100) < percent

    def new_id(self) -> bytes:
        """An id never used before."""
        self.serial += 1
        return self.serial.to_bytes(32, "big")

    def order_id(self) -> bytes:
        """An order to do something with; now and then an unknown one."""
        if self.chance(8) or not self.system.world.orders:
            return self.new_id()
        # Few orders get most of the instructions, so that long pasts come about.
        return self.dice.choice(list(self.system.world.orders)[-6:])

    def party(self) -> bytes:
        """A participant; now and then one that may not receive."""
        if self.chance(8):
            return self.dice.choice([STRANGER, UNASKED])
        return self.dice.choice([*RECIPIENTS, PLATFORMS[0]])

    def amount(self) -> int:
        """Small, large, at the limits and beyond."""
        if self.chance(6):
            return self.dice.choice([0, MAX_AMOUNT, MAX_AMOUNT + 1, 2**96 - 1])
        return self.dice.choice([1, 7, 299, 300, 1_000, 12_345, 999_999_999])

    def capture(self) -> Capture:
        """A capture of a new order, mostly good."""
        name = self.dice.choice([*LEGS, *LEGS, *LEGS, *RULES])
        version = self.dice.choice([1, 1, 1, 1, 2, 3]) if name == b"old" or self.chance(5) else 1
        roles = ROLES.get(name, 2 if version == 2 else 3)
        bindings = [NOBODY if self.chance(20) else self.party() for _ in range(roles)]
        if self.chance(5):
            bindings.append(NOBODY)
        return Capture(
            order_id=self.dice.choice(list(self.system.world.orders))
            if self.system.world.orders and self.chance(4)
            else self.new_id(),
            platform=PLATFORMS[0] if self.chance(92) else self.dice.choice([PLATFORMS[1], STRANGER]),
            merchant=self.party(),
            rule_id=RULES[name],
            rule_version=version,
            currency=self.dice.choice(CURRENCIES) if self.chance(95) else "EUR",
            amount=self.amount(),
            bindings=tuple(bindings),
        )

    def instruction(self, order_id: bytes) -> Instruction:
        """An instruction for an order."""
        kind = self.dice.choices(list(InstructionKind), weights=[6, 1, 4])[0]
        order = self.system.world.orders.get(order_id)
        held = order.held if order else 5
        instruction = Instruction(kind, self.new_id(), order_id)
        match kind:
            case InstructionKind.SPLIT:
                amount = held if self.chance(15) else self.dice.randrange(max(held, 1)) + 1
                instruction = replace(instruction, amount=0 if self.chance(3) else amount + self.chance(5))
                if order and self.chance(40):
                    own = [
                        self.party() if b == NOBODY or self.chance(8) else NOBODY
                        for b in order.capture.bindings
                    ]
                    instruction = replace(instruction, bindings=tuple(own))
                if self.chance(4):
                    instruction = replace(instruction, bindings=(*instruction.bindings, RECIPIENTS[0]))
            case InstructionKind.RETURN:
                instruction = self._return(instruction)
            case InstructionKind.RELEASE:
                if self.chance(10):
                    instruction = replace(instruction, amount=1)
        if self.chance(3):
            spoiled = (
                replace(instruction, split_id=self.new_id()),
                replace(instruction, amounts=(1,)),
                replace(instruction, bindings=(NOBODY,)),
            )
            instruction = self.dice.choice(spoiled)
        return instruction

    def _return(self, instruction: Instruction) -> Instruction:
        if self.chance(80):
            # An order with something to return, if there is one among the last.
            recent = list(self.system.world.orders.items())[-12:]
            split_ones = [key for key, order in recent if any(r.kind is RecordKind.SPLIT for r in order.past)]
            if split_ones:
                instruction = replace(instruction, order_id=self.dice.choice(split_ones))
        order = self.system.world.orders.get(instruction.order_id)
        splits = [record for record in order.past if record.kind is RecordKind.SPLIT] if order else []
        if not splits or self.chance(5):
            return replace(instruction, split_id=self.new_id(), amount=1)
        split = self.dice.choice(splits)
        if self.chance(10):
            # The id of an earlier split once more, as a split.
            again = self.dice.randrange(3) + 1
            return Instruction(InstructionKind.SPLIT, split.id, instruction.order_id, amount=again)
        amounts: tuple[int, ...] = ()
        amount = 0 if self.chance(3) else self.dice.randrange(split.amount + 1) + self.chance(5)
        if self.chance(40):
            amounts = tuple(self.dice.randrange(a.amount + 1) + self.chance(3) for a in split.allocations)
            amount = sum(amounts) + self.chance(5)
        return replace(instruction, split_id=split.id, amount=amount, amounts=amounts)

    def attestation(self) -> Attestation:
        """A signed list of captures."""
        captures = tuple(self.capture() for _ in range(self.dice.randrange(1, 5)))
        attestor = ATTESTOR if self.chance(95) else KEYS[0]
        drawn = Attestation(attestor.address, self.nonce(), self.deadline(), captures)
        return self.system.attest(drawn, attestor if self.chance(95) else KEYS[1])

    def authorization(self) -> Authorization:
        """A signed list of instructions; now and then an empty one."""
        orders = [self.order_id() for _ in range(self.dice.randrange(1, 6))]
        if self.chance(4):
            orders = []
        elif self.chance(25):
            # Several instructions for one order, one after the other.
            orders = [orders[0]] * len(orders)
        instructions = tuple(map(self.instruction, orders))
        number = 0 if self.chance(93) else 1
        platform = PLATFORMS[number] if self.chance(97) else STRANGER
        drawn = Authorization(platform, self.nonce(), self.deadline(), instructions)
        return self.system.authorize(drawn, KEYS[number if self.chance(96) else 1 - number])

    def nonce(self) -> int:
        """A nonce that nobody has used."""
        return self.dice.getrandbits(256)

    def deadline(self) -> int:
        """Far away; now and then long past."""
        return FAR if self.chance(95) else 1

    def batch(self) -> tuple[list[Attestation], list[Authorization]]:
        """What one transaction carries; now and then something that was sent before."""
        attestations = [self.attestation() for _ in range(self.dice.randrange(3))]
        authorizations = [self.authorization() for _ in range(self.dice.randrange(4))]
        for old in self.dice.sample(self.signed, min(len(self.signed), self.chance(20))):
            if isinstance(old, Attestation):
                attestations.append(old)
            else:
                authorizations.append(old)
        self.signed = [*self.signed, *attestations, *authorizations][-30:]
        return attestations, authorizations
