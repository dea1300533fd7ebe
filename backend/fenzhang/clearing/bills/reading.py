"""What happened on a day, read from the records and rejections in order, a few at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import Row, Select, func, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.clearing.bills.asking import (
    COLUMN_OF,
    NO_LOG,
    Asked,
    OrderFacts,
    asked_of,
    happening_of_rejection,
    happening_of_stranger,
)
from fenzhang.clearing.bills.lines import SETTLED, Happening, Key, Owner, Subject
from fenzhang.clearing.bills.payouts import Leaves, happening_of_payout, payout_facts
from fenzhang.domain.allocation import Allocation
from fenzhang.domain.days import Day
from fenzhang.domain.records import RecordKind
from fenzhang.domain.suspense import suspense_id
from fenzhang.ledger.captures import span_of, windows
from fenzhang.ledger.period import Period
from fenzhang.store import tables
from fenzhang.store.bulk import chunks
from fenzhang.store.orders import bindings_of
from fenzhang.store.tables import Block, Instruction, InstructionState, InstructionType, Participant, Record

_WINDOW = 200
"""Records, or rejections, per query; a record has at most 20 allocations. So few that others get their turn between."""
_MONEY = frozenset(kind.value for kind in (*tables.SETTLEMENT_TYPES, InstructionType.RESOLVE))


class _Name(NamedTuple):
    """What a settled instruction is called, by whom, and where it settled."""

    platform_id: bytes
    reference: str
    block_number: int
    tx_hash: bytes


_Keys = Mapping[int, Key]
"""By record."""
_Names = dict[tuple[str, bytes], list[_Name]]
"""By type and id. Several platforms, and several instructions of one, may have had the same id."""


class DayReader:
    """Reads a day of what can be on the bill of `subject`. The session sees one state of the database."""

    def __init__(self, session: AsyncSession, subject: Subject, day: Day) -> None:
        self._session = session
        self._subject = subject
        self._day = day
        self._rules: dict[tuple[bytes, bytes, int], frozenset[bytes]] = {}

    async def happenings(self) -> AsyncIterator[list[Happening]]:
        """Everything in order, in pieces."""
        recorded, refused = self._recorded(), self._refused()
        waiting: list[Happening] = []
        more_refused = True
        async for piece in recorded:
            while piece and more_refused and (not waiting or waiting[-1].key < piece[-1].key):
                found = await anext(refused, None)
                more_refused = found is not None
                waiting += found or []
            split = sum(each.key < piece[-1].key for each in waiting) if piece else 0
            yield sorted(piece + waiting[:split], key=lambda each: each.key)
            waiting = waiting[split:]
        yield waiting
        async for piece in refused:
            yield piece

    async def owners(self, happenings: Sequence[Happening]) -> dict[bytes, Owner]:
        """Who enrolled the recipients of these, also of what waits in suspense positions."""
        recipients = {leaf.recipient for each in happenings for leaf in each.allocations}
        recipients |= {each.payout.participant for each in happenings if each.payout is not None}
        return await self._owners(recipients | {suspense_id(recipient) for recipient in recipients})

    # -------------------------------------------------------------------------- records

    async def _recorded(self) -> AsyncIterator[list[Happening]]:
        for window in windows(await span_of(self._session, Period(self._day.begin, self._day.end)), _WINDOW):
            rows = (await self._session.execute(self._records(window))).all()
            if rows:
                yield await self._happenings(rows, window)

    def _records(self, window: range) -> Select[Record, int]:
        query = (
            select(Record, Block.timestamp)
            .join(Block, Block.number == Record.block_number)
            .where(Record.id >= window.start, Record.id < window.stop, Record.canonical.is_(True))
            .order_by(Record.id)
        )
        positions = self._subject.positions
        if not positions:
            return query
        leaf = tables.Allocation
        paid = select(leaf.record_id).where(leaf.record_id == Record.id, leaf.recipient.in_(positions))
        return query.where(or_(Record.kind == RecordKind.REJECTION, paid.exists()))

    async def _happenings(self, rows: Sequence[Row[Record, int]], window: range) -> list[Happening]:
        keys = {row[0].id: (row[1], row[0].block_number, row[0].log_index, 0) for row in rows}
        leaves = await self._leaves(window)
        of_payouts = [record for record, _ in rows if record.cycle_id is not None]
        others = [record for record, _ in rows if record.cycle_id is None]
        found = [
            *await self._of_payouts(of_payouts, keys, leaves),
            *await self._settled([r for r in others if r.kind != RecordKind.REJECTION], keys, leaves),
            *await self._rejected([r for r in others if r.kind == RecordKind.REJECTION], keys),
        ]
        return sorted(found, key=lambda each: each.key)

    async def _of_payouts(self, records: Sequence[Record], keys: _Keys, leaves: Leaves) -> list[Happening]:
        facts = await payout_facts(self._session, records, leaves)
        owners = await self._owners({each.participant for each in facts.values()})
        found = []
        for record in records:
            about = facts.get(record.id)
            if about is not None:
                owner = owners.get(about.participant)
                platform_id = None if owner is None else owner.platform_id
                leaf = leaves.get(record.id, ())
                found.append(happening_of_payout(record, keys[record.id], about, platform_id, leaf))
        return found

    async def _settled(self, records: Sequence[Record], keys: _Keys, leaves: Leaves) -> list[Happening]:
        orders = await self._orders({record.order_id for record in records})
        names = await self._names(records)
        resolutions = [record for record in records if record.kind == RecordKind.RESOLUTION]
        owners = await self._owners({record.instruction_id for record in resolutions})
        currencies = await self._currencies([record.id for record in resolutions])
        found = []
        for record in records:
            happening = _settled(record, keys[record.id], leaves.get(record.id, ()))
            order = orders.get(record.order_id)
            if order is not None:
                happening.platform_id, happening.currency = order.platform_id, order.currency
                happening.merchant = order.merchant
            elif record.instruction_id in owners:
                happening.platform_id = owners[record.instruction_id].platform_id
                happening.currency = currencies.get(record.id)
            happening.names = _names_of(record, happening.platform_id, names)
            found.append(happening)
        return found

    async def _rejected(self, records: Sequence[Record], keys: _Keys) -> list[Happening]:
        order_ids = {record.order_id for record in records}
        facts = await self._facts(order_ids, await self._orders(order_ids))
        asked = await self._asked(records)
        found = []
        for record in records:
            key = keys[record.id]
            known = asked.get((record.block_number, record.log_index))
            fact = _then(facts.get(record.order_id), key)
            found.append(
                happening_of_stranger(record, key, fact)
                if known is None
                else happening_of_rejection(known, key, fact, record)
            )
        return found

    async def _leaves(self, window: range) -> dict[int, tuple[Allocation, ...]]:
        leaf = tables.Allocation
        rows = await self._session.execute(
            select(leaf.record_id, leaf.recipient, leaf.amount)
            .where(leaf.record_id >= window.start, leaf.record_id < window.stop)
            .order_by(leaf.record_id, leaf.leaf)
        )
        return {
            record: tuple(Allocation(row.recipient, row.amount) for row in group)
            for record, group in groupby(rows, lambda row: row.record_id)
        }

    async def _names(self, records: Sequence[Record]) -> _Names:
        ids = {r.instruction_id for r in records} | {r.order_id for r in records}
        ids |= {r.split_id for r in records if r.split_id is not None}
        found: _Names = defaultdict(list)
        for chunk in chunks(sorted(ids)):
            query = (
                select(
                    Instruction.type,
                    Instruction.id,
                    Instruction.platform_id,
                    Instruction.reference,
                    Instruction.block_number,
                    Instruction.tx_hash,
                )
                .where(Instruction.id.in_(chunk), Instruction.state == InstructionState.SETTLED.value)
                .order_by(Instruction.seq)
            )
            for row in await self._session.execute(query):
                if row.block_number is not None and row.tx_hash is not None:
                    name = _Name(row.platform_id, row.reference, row.block_number, row.tx_hash)
                    found[row.type, row.id].append(name)
        return found

    async def _currencies(self, record_ids: Sequence[int]) -> dict[int, str]:
        """Of records of no order: the currency of what was posted for them."""
        found: dict[int, str] = {}
        for chunk in chunks(record_ids):
            query = (
                select(tables.Posting.record_id, tables.Account.currency)
                .join(tables.Account, tables.Account.id == tables.Posting.debit_account_id)
                .where(tables.Posting.record_id.in_(chunk))
            )
            found |= {row.record_id: row.currency for row in await self._session.execute(query)}
        return found

    # -------------------------------------------------------------------------- rejections

    async def _asked(self, rejected: Sequence[Record]) -> dict[tuple[int, int], Asked]:
        """The instructions that these records reject, by block and log."""
        found: dict[tuple[int, int], Asked] = {}
        for chunk in chunks(sorted({record.block_number for record in rejected})):
            query = _rejections().where(
                tables.Rejection.block_number.in_(chunk), tables.Rejection.log_index.is_not(None)
            )
            for row in await self._session.execute(query.order_by(tables.Rejection.instruction_seq.desc())):
                asked = asked_of(*row)
                if asked.kind is not None:
                    found[row[0].block_number, row[0].log_index] = asked
        return found

    async def _refused(self) -> AsyncIterator[list[Happening]]:
        """Rejections that no record tells of, in order."""
        rejection = tables.Rejection
        place = (
            rejection.time,
            func.coalesce(rejection.block_number, 0),
            func.coalesce(rejection.log_index, NO_LOG),
            rejection.instruction_seq,
        )
        record = select(Record.id).where(
            Record.block_number == rejection.block_number,
            Record.log_index == rejection.log_index,
            Record.kind == RecordKind.REJECTION,
            Record.canonical.is_(True),
        )
        query = (
            _rejections()
            .where(rejection.time >= self._day.begin, rejection.time < self._day.end)
            .where(Instruction.type.in_(_MONEY), ~record.exists())
            .order_by(*place)
            .limit(_WINDOW)
        )
        after: Key = (self._day.begin, -1, -1, -1)
        while True:
            rows = (await self._session.execute(query.where(tuple_(*place) > after))).all()
            if rows:
                all_asked = [asked_of(*row) for row in rows]
                order_ids = {asked.order_id for asked in all_asked if asked.order_id is not None}
                facts = await self._facts(order_ids, await self._orders(order_ids))
                found = []
                for asked in all_asked:
                    known = None if asked.order_id is None else _then(facts.get(asked.order_id), asked.key)
                    found.append(happening_of_rejection(asked, asked.key, known, None))
                yield found
                after = found[-1].key
            if len(rows) < _WINDOW:
                return

    async def _facts(
        self, order_ids: Collection[bytes], orders: dict[bytes, tables.Order]
    ) -> dict[bytes, OrderFacts]:
        """What is known of the orders of rejected instructions, and since when."""
        found: dict[bytes, OrderFacts] = {}
        for chunk in chunks(sorted(set(order_ids) & orders.keys())):
            query = (
                select(Record.order_id, Block.timestamp, Record.block_number, Record.log_index)
                .join(Block, Block.number == Record.block_number)
                .where(Record.order_id.in_(chunk), Record.kind == RecordKind.CAPTURE)
                .where(Record.canonical.is_(True))
            )
            for order_id, time, block, log in await self._session.execute(query):
                order = orders[order_id]
                found[order_id] = OrderFacts(
                    (time, block, log, 0),
                    order.platform_id,
                    order.merchant,
                    order.currency,
                    frozenset({order.merchant, *bindings_of(order)}) | await self._fixed(order),
                )
        names = await self._order_names(found)
        return {order_id: fact._replace(name=names.get(order_id)) for order_id, fact in found.items()}

    async def _order_names(self, facts: dict[bytes, OrderFacts]) -> dict[bytes, str]:
        found: dict[bytes, str] = {}
        for chunk in chunks(sorted(facts)):
            query = select(Instruction.id, Instruction.platform_id, Instruction.reference).where(
                Instruction.id.in_(chunk),
                Instruction.type == InstructionType.CAPTURE.value,
                Instruction.state == InstructionState.SETTLED.value,
            )
            rows = await self._session.execute(query)
            found |= {row.id: row.reference for row in rows if row.platform_id == facts[row.id].platform_id}
        return found

    async def _fixed(self, order: tables.Order) -> frozenset[bytes]:
        """Recipients that the order's rule names itself."""
        key = (order.platform_id, order.rule_id, order.rule_version)
        if key not in self._rules:
            row = await self._session.get(tables.RuleVersion, key)
            legs = [] if row is None else row.legs
            named = (leg["recipient"] for leg in legs)
            self._rules[key] = frozenset(bytes.fromhex(each[2:]) for each in named if each is not None)
        return self._rules[key]

    # -------------------------------------------------------------------------- both

    async def _orders(self, order_ids: Collection[bytes]) -> dict[bytes, tables.Order]:
        found: dict[bytes, tables.Order] = {}
        for chunk in chunks(sorted(order_ids)):
            query = select(tables.Order).where(tables.Order.order_id.in_(chunk))
            found |= {order.order_id: order for order in (await self._session.execute(query)).scalars()}
        return found

    async def _owners(self, ids: Collection[bytes]) -> dict[bytes, Owner]:
        found: dict[bytes, Owner] = {}
        for chunk in chunks(sorted(ids)):
            query = select(Participant.id, Participant.platform_id, Participant.reference).where(
                Participant.id.in_(chunk)
            )
            rows = await self._session.execute(query)
            found |= {row.id: Owner(row.platform_id, row.reference) for row in rows}
        return found


def _rejections() -> Select[*tuple[Any, ...]]:
    return select(tables.Rejection, Instruction).join(
        Instruction, Instruction.seq == tables.Rejection.instruction_seq
    )


def _settled(record: Record, key: Key, leaves: tuple[Allocation, ...]) -> Happening:
    return Happening(
        key,
        RecordKind(record.kind).name,
        SETTLED,
        None,
        record.amount,
        None,
        key[0],
        record.block_number,
        record.log_index,
        record.tx_hash,
        order_id=record.order_id,
        instruction_id=record.instruction_id,
        split_id=record.split_id,
        batch=record.batch,
        leaf_index=record.leaf_index,
        leaf=record.leaf,
        allocations=leaves,
    )


def _names_of(record: Record, platform_id: bytes | None, names: _Names) -> dict[str, str]:
    """What the platform calls a record's instruction, order and split, as far as they had settled by then.

    A name that is given to the same id later would change a bill that was made before.
    """

    def name(kind: str, number: bytes | None, *, own: bool = False) -> str | None:
        for found in names.get((kind, number or b""), ()):
            in_time = found.tx_hash == record.tx_hash if own else found.block_number <= record.block_number
            if found.platform_id == platform_id and in_time:
                return found.reference
        return None

    kind = RecordKind(record.kind)
    type_ = InstructionType.RESOLVE.value if kind is RecordKind.RESOLUTION else kind.name
    told = {
        "out_order_no": name(InstructionType.CAPTURE.value, record.order_id),
        "out_split_no": name(InstructionType.SPLIT.value, record.split_id),
        COLUMN_OF[kind]: name(type_, record.instruction_id, own=True),
    }
    return {column: found for column, found in told.items() if found is not None}


def _then(fact: OrderFacts | None, key: Key) -> OrderFacts | None:
    """What was known of an order at that place: an order that is captured later was unknown."""
    return fact if fact is not None and fact.since < key else None
