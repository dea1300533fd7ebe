"""Which blocks a question is about: up to one of the past, or from one to another."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.domain.errors import FenzhangError, InvalidInput
from fenzhang.ledger.period import InvalidPeriod
from fenzhang.store.clearingtables import CycleRow
from fenzhang.store.tables import Block

CYCLE_PATTERN = "[A-Z]{3}/[a-z0-9][a-z0-9-]{0,31}/[1-9][0-9]{0,9}"


class InvalidMoment(InvalidInput):
    """The moment is named twice."""

    code = "invalid_moment"


class CycleNotClosed(FenzhangError):
    """The ledger knows of no closed cycle of this currency, scheme and number."""

    code = "cycle_not_closed"

    def __init__(self, name: CycleName) -> None:
        super().__init__(f"no cycle {name} is closed", **name._asdict())


class BlockNotMirrored(FenzhangError):
    """The ledger has not come to this block yet, so nobody can say what it is going to make of it."""

    code = "block_not_mirrored"

    def __init__(self, number: int, newest: int) -> None:
        super().__init__(
            f"block {number} is not mirrored yet; the newest is {newest}", block_number=number, newest=newest
        )


class CycleName(NamedTuple):
    """Which cycle: its currency, scheme and number, as text CNY/standard/1."""

    currency: str
    scheme: str
    number: int

    @classmethod
    def read(cls, text: str) -> Self:
        """The cycle that `text` names. Raises InvalidInput naming `at_cycle`."""
        if not re.fullmatch(CYCLE_PATTERN, text):
            raise InvalidInput(
                "at_cycle", "a cycle is named by its currency, scheme and number: CNY/standard/1"
            )
        currency, scheme, number = text.split("/")
        return cls(currency, scheme, int(number))

    def __str__(self) -> str:
        return f"{self.currency}/{self.scheme}/{self.number}"


@dataclass(frozen=True, slots=True)
class Moment:
    """The end of a block, and the block's Unix time: None where there is no need to remember it."""

    block_number: int
    time: int | None
    is_newest: bool = False

    @property
    def until(self) -> int | None:
        """Last block whose postings count, None for everything posted."""
        return None if self.is_newest else self.block_number


@dataclass(frozen=True, slots=True)
class BlockRange:
    """Blocks from `first` to `last`, both included; none of them when `last` is before `first`."""

    first: int
    last: int


async def moment_of(
    session: AsyncSession,
    at_block: int | None = None,
    at: int | None = None,
    at_cycle: CycleName | None = None,
) -> Moment:
    """The end of block `at_block`, or of the last block by the time `at` (Unix seconds), or of the newest.

    Or of the last block whose records are members of the cycle `at_cycle`. Block 0 stands for the time before the
    first. Raises InvalidMoment for more than one of them, BlockNotMirrored and CycleNotClosed.
    """
    if sum(each is not None for each in (at_block, at, at_cycle)) > 1:
        raise InvalidMoment("at", "give one of at_block, at and at_cycle")
    if at_cycle is not None:
        at_block = await _last_block_of(session, at_cycle)
    newest = await newest_block(session)
    if at_block is None:
        behind = None if at is None else await first_block_from(session, at + 1)
        return newest if behind is None else await _last_block(session, behind - 1)
    if at_block > newest.block_number:
        raise BlockNotMirrored(at_block, newest.block_number)
    time = (await session.execute(select(Block.timestamp).where(Block.number == at_block))).scalar()
    return Moment(at_block, time)


async def _last_block_of(session: AsyncSession, name: CycleName) -> int:
    query = select(CycleRow.to_block).where(
        CycleRow.currency == name.currency, CycleRow.scheme == name.scheme, CycleRow.number == name.number
    )
    found = (await session.execute(query)).scalar()
    if found is None:
        raise CycleNotClosed(name)
    return found


async def range_of(
    session: AsyncSession,
    *,
    from_block: int | None = None,
    to_block: int | None = None,
    begin: int | None = None,
    end: int | None = None,
) -> BlockRange:
    """Blocks `from_block` to `to_block`, or those from the time `begin` to before `end` (Unix seconds).

    What is left out is the first block, or the newest. Raises InvalidPeriod, and BlockNotMirrored.
    """
    newest = (await newest_block(session)).block_number
    if begin is None and end is None:
        return _numbered(from_block or 0, newest if to_block is None else to_block, newest)
    if from_block is not None or to_block is not None:
        raise InvalidPeriod("from_block", "give either blocks, or times")
    if begin is not None and end is not None and end <= begin:
        raise InvalidPeriod("to", "the period ends after it begins")
    first = 0 if begin is None else await first_block_from(session, begin)
    behind = None if end is None else await first_block_from(session, end)
    return BlockRange(newest + 1 if first is None else first, newest if behind is None else behind - 1)


def _numbered(first: int, last: int, newest: int) -> BlockRange:
    for number in (last, first):
        if number > newest:
            raise BlockNotMirrored(number, newest)
    if last < first:
        raise InvalidPeriod("to_block", "the period ends after it begins")
    return BlockRange(first, last)


async def newest_block(session: AsyncSession) -> Moment:
    """The mirror's checkpoint; block 0 before there is one."""
    return await _last_block(session, None)


async def _last_block(session: AsyncSession, number: int | None) -> Moment:
    """The last remembered block, up to `number` if that is given."""
    query = select(Block.number, Block.timestamp).order_by(Block.number.desc()).limit(1)
    if number is not None:
        query = query.where(Block.number <= number)
    found = (await session.execute(query)).first()
    is_newest = number is None
    return Moment(0, None, is_newest) if found is None else Moment(found.number, found.timestamp, is_newest)


async def first_block_from(session: AsyncSession, time: int) -> int | None:
    """Number of the first mirrored block at or after `time`; there is no index on timestamps, so by halves.

    Timestamps never fall from block to block. Blocks without records are forgotten after a while and passed over.
    """
    bounds: Any = (await session.execute(select(func.min(Block.number), func.max(Block.number)))).one()
    low, high = bounds
    if low is None:
        return None
    while True:
        middle = (low + high) // 2
        found = (await session.execute(_next_block(middle))).first()
        if found is None:
            return None
        if found.timestamp < time:
            low = found.number + 1
            high = max(high, low)
        elif middle == low:
            return int(found.number)
        else:
            high = middle


def _next_block(number: int) -> Select[int, int]:
    wanted = select(Block.number, Block.timestamp).where(Block.number >= number)
    return wanted.order_by(Block.number).limit(1)
