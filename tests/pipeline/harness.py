"""Submission and mirror against a hand-driven node, with instructions accepted as intake stores them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from sqlalchemy import func, select, update

from fenzhang.chain.codec import UNKNOWN_ORDER_INDEX, encode_settle
from fenzhang.chain.eip712 import attestation_digest, authorization_digest, proposal_hash
from fenzhang.chain.node import NodeClient
from fenzhang.chain.signer import LocalKey
from fenzhang.domain.records import (
    Attestation,
    Authorization,
    Capture,
    Instruction,
    OrderWitness,
    ParticipantStatus,
)
from fenzhang.ledger.reconcile import reconcile
from fenzhang.mirror.config import MirrorConfig
from fenzhang.mirror.mirror import Mirror
from fenzhang.store import keys, payloads, tables
from fenzhang.store.session import Database
from fenzhang.store.tables import InstructionState, InstructionType
from fenzhang.submission.config import SubmissionConfig
from fenzhang.submission.keyring import Keyring
from fenzhang.submission.submitter import Submitter
from support.node import Mined
from support.parties import (
    BOTH,
    COURIER,
    MALL,
    MARKET,
    MERCHANT,
    PAIR,
    PROMOTER,
    SHOP,
    STRANGER,
    SUPPLIER,
    VENDING,
    VENDOR,
    RuleRef,
)
from support.system import APPROVER, BANK, GUARDIAN, OUTSIDER, REGISTRAR, SECOND_GUARDIAN, SUBMITTER
from support.world import World

What = Capture | Instruction
Payload = payloads.Payload
FAST = SubmissionConfig(
    rebroadcast_s=0.0,
    lost_after_s=0.0,
    first_backoff_s=0.05,
    longest_backoff_s=0.1,
    poll_interval_s=0.02,
    linger_s=0.0,
)
"""Does at once what patience would put off."""


def keyring(chain_id: int) -> Keyring:
    """All keys that the backend holds in these tests."""
    given: dict[str, LocalKey] = {
        keys.SUBMITTER: SUBMITTER,
        keys.REGISTRAR: REGISTRAR,
        keys.APPROVER: APPROVER,
        keys.GUARDIAN: GUARDIAN,
        keys.SECOND_GUARDIAN: SECOND_GUARDIAN,
        keys.ATTESTOR: BANK,
        **{keys.platform_label(each.id): each.key for each in (MALL, SHOP)},
    }
    return Keyring(chain_id, given=given)


@dataclass(slots=True)
class Pipeline:
    """One database, one chain, and the stages between them; nothing runs by itself."""

    world: World
    database: Database
    node: NodeClient
    config: SubmissionConfig = FAST
    mirror_config: MirrorConfig = field(default_factory=lambda: MirrorConfig(shrink_patience_s=0.0))
    submitter: Submitter = field(init=False)
    mirror: Mirror = field(init=False)
    _numbers: Any = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """New processes: stages that remember nothing."""
        self.submitter = self.new_submitter()
        self.mirror = self.new_mirror()

    async def take_over(self) -> None:
        """The processes were killed long enough ago for their leases to have ended; new ones begin."""
        async with self.database.write() as session:
            await session.execute(update(tables.Lease).values(expires_at=0))
        self.restart()

    def new_submitter(self, config: SubmissionConfig | None = None) -> Submitter:
        """Another submitter for the same keys."""
        deployment = self.world.system.deployment
        return Submitter(
            self.database, self.node, deployment, keyring(deployment.chain_id), config or self.config
        )

    def new_mirror(self) -> Mirror:
        """Another mirror of the same chain."""
        return Mirror(self.database, self.node, self.world.system.deployment, self.mirror_config)

    # -------------------------------------------------------------------------- intake

    async def prepare(self) -> None:
        """Rows of the parties and rules that the world enrolled and approved."""
        async with self.database.write() as session:
            for platform, members in (
                (MALL, (MALL, STRANGER, BOTH, MERCHANT, PROMOTER, COURIER, SUPPLIER)),
                (SHOP, (SHOP, VENDOR)),
            ):
                for each in members:
                    session.add(
                        tables.Participant(
                            id=each.id,
                            platform_id=platform.id,
                            reference=each.name,
                            authority=each.key.address,
                            status=int(ParticipantStatus.ACTIVE),
                        )
                    )
        await self.add_rules(MARKET, PAIR, VENDING)

    async def add_rules(self, *rules: RuleRef) -> None:
        """Rows of rules, as intake leaves them; the mirror reads what became of them."""
        async with self.database.write() as session:
            for rule in rules:
                session.add(
                    tables.RuleVersion(
                        platform_id=rule.platform.id,
                        rule_id=rule.rule_id,
                        version=rule.version,
                        reference=rule.rule_id.hex(),
                        legs=payloads.legs_to_json(rule.legs),
                        terms=payloads.terms_to_json(rule.terms),
                        effective_from=0,
                        content_hash=proposal_hash(
                            rule.platform.id, rule.rule_id, rule.version, 0, rule.legs, rule.terms
                        ),
                    )
                )

    async def accept(self, *what: What, signed: Attestation | Authorization | None = None) -> list[int]:
        """Accept captures or instructions, under one client's signature or for the keystore. Returns their seqs."""
        async with self.database.write() as session:
            authorization_id = None
            if signed is not None:
                row = self._authorization_row(signed)
                session.add(row)
                await session.flush()
                authorization_id = row.id
            rows = [self._row(item, authorization_id, place) for place, item in enumerate(what)]
            session.add_all(rows)
            await session.flush()
            return [row.seq for row in rows]

    async def accept_signed(self, signed: Attestation | Authorization) -> list[int]:
        """Accept what a client signed."""
        items = signed.captures if isinstance(signed, Attestation) else signed.instructions
        return await self.accept(*items, signed=signed)

    def _authorization_row(self, signed: Attestation | Authorization) -> tables.Authorization:
        attested = isinstance(signed, Attestation)
        digest = (
            attestation_digest(self.world.domain, signed)
            if isinstance(signed, Attestation)
            else authorization_digest(self.world.domain, signed)
        )
        return tables.Authorization(
            signer=signed.attestor.rjust(32, b"\0") if isinstance(signed, Attestation) else signed.platform,
            is_attestation=attested,
            nonce=signed.nonce.to_bytes(32, "big"),
            deadline=signed.deadline,
            digest=digest,
            signature=signed.signature,
        )

    def _row(self, what: What, authorization_id: int | None, place: int) -> tables.Instruction:
        if isinstance(what, Capture):
            kind, number, platform = InstructionType.CAPTURE, what.order_id, what.platform
        else:
            kind, number, platform = (
                InstructionType[what.kind.name],
                what.id,
                self._platform_of(what.order_id),
            )
        row = self.unsent(kind, number, platform, what)
        row.order_id = what.order_id
        if authorization_id is not None:
            row.authorization_id, row.position = authorization_id, place
        return row

    def unsent(
        self, kind: InstructionType, number: bytes, platform: bytes, payload: Payload
    ) -> tables.Instruction:
        """The row of an instruction that was accepted just now."""
        return tables.Instruction(
            id=number,
            type=kind.value,
            platform_id=platform,
            app_id="test",
            reference=f"r{next(self._numbers)}",
            content={},
            content_hash=b"",
            payload=payloads.to_json(payload),
            state=InstructionState.ACCEPTED.value,
            accepted_at=int(time.time()),
        )

    owners: dict[bytes, bytes] = field(default_factory=dict)
    """Platform of orders that are not the mall's."""

    def _platform_of(self, order_id: bytes) -> bytes:
        return self.owners.get(order_id, MALL.id)

    async def ask(self, kind: InstructionType, platform: bytes, payload: Payload) -> int:
        """Accept a governance instruction."""
        async with self.database.write() as session:
            row = self.unsent(kind, self.world.fresh("governance"), platform, payload)
            session.add(row)
            await session.flush()
            return row.seq

    # -------------------------------------------------------------------------- time

    async def submit(self) -> int:
        """One tick of submission."""
        return await self.submitter.tick()

    def mine(self, blocks: int = 1) -> None:
        """Make blocks."""
        for _ in range(blocks):
            self.world.node.mine()

    async def follow(self) -> None:
        """Mirror until there is nothing new."""
        await self.mirror.tick()
        while self.mirror.more:
            await self.mirror.tick()

    async def round(self) -> None:
        """Submit, one block, mirror, and see what became of the transactions."""
        await self.submit()
        self.mine()
        await self.follow()
        await self.submit()

    async def settle_all(self, rounds: int = 30) -> None:
        """Rounds until every instruction has its outcome."""
        await self.follow()
        for _ in range(rounds):
            if not await self.open_count():
                return
            await self.round()
        raise AssertionError(f"{await self.open_count()} instructions are still open after {rounds} rounds")

    # -------------------------------------------------------------------------- foreign relayers

    def relay(
        self,
        *signed: Attestation | Authorization,
        witnesses: Sequence[OrderWitness] = (),
        sender: LocalKey = OUTSIDER,
    ) -> Mined:
        """Somebody else brings signed things to the chain, in a block of its own."""
        attestations = [item for item in signed if isinstance(item, Attestation)]
        authorizations = [item for item in signed if isinstance(item, Authorization)]
        known = [c.order_id for attestation in attestations for c in attestation.captures]
        known += [witness.capture.order_id for witness in witnesses]
        index = [
            known.index(i.order_id) if i.order_id in known else UNKNOWN_ORDER_INDEX
            for authorization in authorizations
            for i in authorization.instructions
        ]
        data = encode_settle(attestations, authorizations, witnesses, index)
        mined = self.world.node.transact(sender.address, self.world.system.deployment.split_ledger, data)
        assert mined.error is None
        return mined

    async def witness(self, capture: Capture) -> OrderWitness:
        """A witness from the mirrored row."""
        async with self.database.read() as session:
            head = (
                await session.execute(
                    select(tables.Order.head).where(tables.Order.order_id == capture.order_id)
                )
            ).scalar_one()
        return OrderWitness(capture, head)

    # -------------------------------------------------------------------------- what the database says

    async def rows(self, entity: type[Any], *where: Any) -> list[Any]:
        """Rows of a table by primary key."""
        async with self.database.read() as session:
            primary = list(entity.__table__.primary_key.columns)
            return list((await session.execute(select(entity).where(*where).order_by(*primary))).scalars())

    async def instruction(self, seq: int) -> tables.Instruction:
        """An instruction."""
        [row] = await self.rows(tables.Instruction, tables.Instruction.seq == seq)
        assert isinstance(row, tables.Instruction)
        return row

    async def states(self, *seqs: int) -> list[str]:
        """States of instructions."""
        return [(await self.instruction(seq)).state for seq in seqs]

    async def reasons(self, *seqs: int) -> list[str | None]:
        """Codes of the reasons of rejected instructions."""
        rows = [await self.instruction(seq) for seq in seqs]
        return [row.reason["code"] if row.reason else None for row in rows]

    async def open_count(self) -> int:
        """How many instructions have no outcome."""
        async with self.database.read() as session:
            query = select(func.count()).where(tables.Instruction.state.in_(["ACCEPTED", "SUBMITTED"]))
            return (await session.execute(query)).scalar_one()

    async def transactions(self) -> list[tables.Transaction]:
        """Stored transactions."""
        return await self.rows(tables.Transaction)

    async def check_reconciled(self) -> None:
        """Chain and ledger agree."""
        assert await reconcile(self.database, self.node, self.world.system.deployment) == []
