"""Group commit: requests that arrive while a transaction is under way share the next one.

A request that came alone would pay for a transaction and for every query by itself. Here whoever finds nobody writing
begins to write; all who come meanwhile are written together. Each has its own answers, errors included, and none has
them before the transaction has committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.domain.errors import FenzhangError
from fenzhang.intake.actor import Actor
from fenzhang.intake.requests import SettlementRequest
from fenzhang.intake.settlement import Answer, Draft, accept, draw_up, insert
from fenzhang.intake.signatures import Verifier
from fenzhang.store.errors import DatabaseError
from fenzhang.store.session import Database
from fenzhang.store.tables import Instruction

T = TypeVar("T")
Asked = Sequence[SettlementRequest | FenzhangError]
MAX_TOGETHER = 2_000
"""Items of one transaction, unless one request alone has more."""


@dataclass(slots=True)
class _Waiting:
    actor: Actor
    asked: Asked
    answer: asyncio.Future[list[Answer]]


@dataclass(frozen=True, slots=True)
class _Ahead:
    """Drafts for some actors, in order, or why there is none; they hold while `last_seq` is the newest."""

    last_seq: int
    drafts: Sequence[Draft | FenzhangError]


class Gatherer:
    """Accepts requests that are not signed. One per process; `verifier` is not asked for anything."""

    def __init__(self, database: Database, verifier: Verifier) -> None:
        self._database = database
        self._verifier = verifier
        self._waiting: list[_Waiting] = []
        self._writing: asyncio.Task[None] | None = None

    async def accept(self, actor: Actor, asked: Asked) -> list[Answer]:
        """As `settlement.accept`, durable when it returns. Raises UnknownPlatform and DatabaseUnavailable."""
        waiting = _Waiting(actor, asked, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all())
        return await waiting.answer

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                await self._try(self._next_group())
        finally:
            self._writing = None

    async def _try(self, group: Sequence[_Waiting]) -> None:
        try:
            await self._write(group)
        except Exception as error:  # noqa: BLE001 -- it belongs to those who wait, and their requests report it
            if len(group) > 1 and not isinstance(error, DatabaseError):
                # Something is wrong with one of them, and the others are not to suffer.
                for waiting in group:
                    await self._try([waiting])
                return
            for waiting in group:
                if not waiting.answer.done():
                    waiting.answer.set_exception(error)

    def _next_group(self) -> list[_Waiting]:
        count = items = 0
        for waiting in self._waiting:
            items += len(waiting.asked)
            if count and items > MAX_TOGETHER:
                break
            count += 1
        group, self._waiting = self._waiting[:count], self._waiting[count:]
        # Whoever has gone away in the meantime was promised nothing.
        return [waiting for waiting in group if not waiting.answer.done()]

    async def _write(self, group: Sequence[_Waiting]) -> None:
        if not group:
            return
        by_actor: dict[Actor, list[_Waiting]] = {}
        for waiting in group:
            by_actor.setdefault(replace(waiting.actor, request_id=None), []).append(waiting)
        ahead = await self._look_ahead(by_actor) if self._database.is_sqlite else None
        answers: list[list[Answer] | FenzhangError]
        async with self._database.write() as session:
            if ahead is not None and ahead.last_seq == await _last_seq(session):
                await insert(session, [draft for draft in ahead.drafts if isinstance(draft, Draft)])
                answers = [draft.answers if isinstance(draft, Draft) else draft for draft in ahead.drafts]
            else:
                answers = [await self._accept(session, actor, members) for actor, members in by_actor.items()]
        # Only now: the transaction has committed.
        for members, found in zip(by_actor.values(), answers, strict=True):
            _hand_out(members, found)

    async def _look_ahead(self, by_actor: Mapping[Actor, Sequence[_Waiting]]) -> _Ahead | None:
        """Do what needs no write lock before taking it: SQLite has one, and the other stages wait for it."""
        if len({actor.namespace for actor in by_actor}) < len(by_actor):
            return None  # two apps of one platform may bring the same references
        drafts: list[Draft | FenzhangError] = []
        async with self._database.read() as session:
            last_seq = await _last_seq(session)
            for actor, members in by_actor.items():
                asked, request_ids = _asked_of(members)
                drafts.append(await _or_refusal(draw_up(session, actor, asked, request_ids=request_ids)))
        return _Ahead(last_seq, drafts)

    async def _accept(
        self, session: AsyncSession, actor: Actor, members: Sequence[_Waiting]
    ) -> list[Answer] | FenzhangError:
        asked, request_ids = _asked_of(members)
        return await _or_refusal(accept(session, actor, asked, self._verifier, request_ids=request_ids))


async def _or_refusal(work: Awaitable[T]) -> T | FenzhangError:
    """What came of it, or why it was refused. Raises DatabaseError: nothing of this transaction will be written."""
    try:
        return await work
    except DatabaseError:
        raise
    except FenzhangError as refusal:
        return refusal


async def _last_seq(session: AsyncSession) -> int:
    """Of all instructions. While it stands, nobody has accepted anything."""
    return (await session.execute(select(func.max(Instruction.seq)))).scalar() or 0


def _asked_of(
    members: Sequence[_Waiting],
) -> tuple[list[SettlementRequest | FenzhangError], list[str | None]]:
    """Items of requests, and the id of the request that brought each."""
    asked = [item for waiting in members for item in waiting.asked]
    return asked, [waiting.actor.request_id for waiting in members for _ in waiting.asked]


def _hand_out(members: Sequence[_Waiting], found: list[Answer] | FenzhangError) -> None:
    start = 0
    for waiting in members:
        end = start + len(waiting.asked)
        if not waiting.answer.done():
            if isinstance(found, FenzhangError):
                waiting.answer.set_exception(found)
            else:
                waiting.answer.set_result(found[start:end])
        start = end
