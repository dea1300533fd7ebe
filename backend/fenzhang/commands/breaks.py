"""`fenzhang breaks`: what two sides do not agree on, and what people say about it."""

from __future__ import annotations

import asyncio
import getpass
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from fenzhang.commands.output import print_json

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from fenzhang.clearing.reconciliation.breaks import Word
    from fenzhang.clearing.reconciliation.telling import Told
    from fenzhang.store.reconciliationtables import Break

T = TypeVar("T")
app = typer.Typer(no_args_is_help=True, help="What reconciliation found to differ, and what became of it.")
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
_Number = Annotated[int, typer.Argument(metavar="BREAK", min=1, help="Number of the break.")]
_Key = Annotated[
    str | None,
    typer.Option("--key", help="Your own reference: the same again is the same.", show_default=False),
]


@app.command("list")
def list_(
    *,
    state: Annotated[
        str | None, typer.Option(help="OPEN, EXPLAINED or RESOLVED. Default: not resolved.")
    ] = None,
    kind: Annotated[str | None, typer.Option(help="Only of this kind.")] = None,
    after: Annotated[int, typer.Option(min=0, help="Only behind this number.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=1_000)] = 100,
    as_json: _Json = False,
) -> None:
    """Breaks, the oldest first. Reads the database of FENZHANG_DATABASE_URL. See docs/reconciliation.md."""
    from fenzhang.clearing.reconciliation.telling import Wanted, page
    from fenzhang.store.reconciliationtables import BreakState

    if state is not None and state not in set(BreakState):
        raise typer.BadParameter(f"--state is one of {', '.join(BreakState)}")
    wanted = Wanted(None if state is None else BreakState(state), kind)
    found = asyncio.run(_read(lambda session: page(session, wanted, after, limit)))
    if as_json:
        from fenzhang.api.breaks import break_answer

        print_json({"breaks": [break_answer(row) for row in found.breaks], "next": found.next})
        return
    for row in found.breaks:
        typer.echo(line_of(row))
    if found.next is not None:
        typer.echo(f"more: --after {found.next}", err=True)


@app.command("show")
def show(number: _Number, *, as_json: _Json = False) -> None:
    """All about a break: what either side says, what happened to it, and which statement lines belong to it."""
    from fenzhang.clearing.reconciliation.telling import told

    _tell(asyncio.run(_read(lambda session: told(session, number))), as_json=as_json)


@app.command("explain")
def explain(
    number: _Number,
    *,
    note: Annotated[str, typer.Option(help="What the break is.")],
    key: _Key = None,
) -> None:
    """Say what a break is. It stays until a run does not see it any more, or until it is resolved."""
    from fenzhang.clearing.reconciliation import breaks

    row, _ = asyncio.run(_write(lambda session: breaks.explain(session, number, _word(key, note))))
    typer.echo(line_of(row))


@app.command("resolve")
def resolve(
    number: _Number,
    *,
    note: Annotated[str, typer.Option(help="Why nothing more is to be done.")],
    correction: Annotated[
        str | None,
        typer.Option(
            metavar="KIND:ID",
            help="What makes up for it: posting:N, record:N, break:N or payout:END-TO-END-ID.",
            show_default=False,
        ),
    ] = None,
    key: _Key = None,
) -> None:
    """Resolve a break that was explained, with what makes up for it if anything does."""
    from fenzhang.clearing.reconciliation import corrections
    from fenzhang.store.reconciliationtables import CorrectionTarget

    named = None
    if correction is not None:
        target, _, identity = correction.partition(":")
        if target not in set(CorrectionTarget) or not identity:
            raise typer.BadParameter(f"--correction is KIND:ID, KIND one of {', '.join(CorrectionTarget)}")
        named = corrections.Named(CorrectionTarget(target), identity)
    row, _ = asyncio.run(
        _write(lambda session: corrections.resolve(session, number, _word(key, note), named))
    )
    typer.echo(line_of(row))


def line_of(row: Break) -> str:
    """A break in one line."""
    amount = "" if row.amount is None or row.currency is None else f" {money_text(row.amount, row.currency)}"
    age = age_text(int(time.time()) - row.first_seen)
    subject = f" {row.subject}" if row.subject else ""
    return f"{row.id} {row.state} {row.kind}{subject}{amount} ({row.owner}, {age})"


def money_text(amount: int, currency: str) -> str:
    """An amount with its currency."""
    from fenzhang.domain.money import format_amount

    return f"{format_amount(amount, currency)} {currency}"


def age_text(seconds: int) -> str:
    """An age in the largest unit that it has."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{max(0, seconds)} s"


def _tell(found: Told, *, as_json: bool) -> None:
    from fenzhang.api.breaks import told_answer

    answer = told_answer(found)
    if as_json:
        print_json(answer)
        return
    typer.echo(line_of(found.row))
    for name, value in found.row.details.items():
        typer.echo(f"  {name}: {value}")
    for event in answer["events"]:
        note = "" if event["note"] is None else f": {event['note']}"
        typer.echo(f"  {event['kind']} by {event['who']}{note}")
    for each in found.corrections:
        typer.echo(f"  made up for by {each.target} {each.target_id}")
    for line in found.lines:
        typer.echo(
            f"  line {line.id} of {line.booked_on}: {money_text(line.amount, found.row.currency or '')}"
        )


def _word(key: str | None, note: str) -> Word:
    from fenzhang.clearing.reconciliation.breaks import Word

    return Word(f"cli:{getpass.getuser()}"[:100], key or secrets.token_hex(8), note, int(time.time()))


async def _read(work: Callable[[AsyncSession], Awaitable[T]]) -> T:
    from fenzhang.settings import Settings
    from fenzhang.store.session import Database

    async with Database(Settings.from_environment().database) as database:
        await database.check()
        async with database.read() as session:
            return await work(session)


async def _write(work: Callable[[AsyncSession], Awaitable[T]]) -> T:
    from fenzhang.settings import Settings
    from fenzhang.store.session import Database

    async with Database(Settings.from_environment().database) as database:
        await database.check()
        async with database.write() as session:
            return await work(session)
