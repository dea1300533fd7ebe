"""`fenzhang cycle`: what cycles were planned and closed, and what they pay."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fenzhang.clearing.cycles.showing import ShownCycle, ShownPayout

app = typer.Typer(no_args_is_help=True, help="Cycles in the database: what was netted, closed and paid.")
_MOST = 100_000
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


@app.command("list")
def list_(
    *,
    currency: Annotated[str | None, typer.Option(help="Of this currency alone.", show_default=False)] = None,
    scheme: Annotated[str | None, typer.Option(help="Of this scheme alone.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """Print a line for each cycle, by currency, scheme and number."""
    found = asyncio.run(_list(currency, scheme))
    if as_json:
        from fenzhang.commands.output import print_json

        print_json({"cycles": found})
        return
    from fenzhang.domain.money import format_amount

    for each in found:
        total = format_amount(each["total"], each["currency"])
        name = f"{each['currency']} {each['scheme']} {each['number']}"
        typer.echo(f"{name}  {each['state']}  {each['payouts']} payouts, {total}  due {each['due'] or '-'}")


@app.command("show")
def show(
    *,
    currency: Annotated[str, typer.Argument(help="ISO 4217 letter code.")],
    scheme: Annotated[str, typer.Argument(help="Name of the settlement scheme.")],
    number: Annotated[int, typer.Argument(help="Of the cycle.", min=1)],
    as_json: Json = False,
) -> None:
    """Print a cycle with what it does for each participant: the amount, or why there is none."""
    cycle, payouts = asyncio.run(_show(currency, scheme, number))
    if as_json:
        from fenzhang.commands.output import print_json

        print_json(cycle | {"payouts_by_participant": payouts})
        return
    from fenzhang.domain.money import format_amount

    for name, value in cycle.items():
        if name not in {"left_out", "total"}:
            typer.echo(f"{name}: {'-' if value is None else value}")
    typer.echo(f"total: {format_amount(cycle['total'], currency)}")
    for each in payouts:
        who = each["out_participant_no"] or each["participant_id"]
        result = each["left_out"] or format_amount(each["amount"], currency)
        typer.echo(
            f"  {who}  due {format_amount(int(each['due']), currency)}  {result}  {each['state'] or '-'}"
        )


async def _list(currency: str | None, scheme: str | None) -> list[dict[str, Any]]:
    from fenzhang.clearing.cycles import showing
    from fenzhang.settings import Settings
    from fenzhang.store.session import Database
    from fenzhang.store.snapshots import freeze

    async with Database(Settings.from_environment().database) as database:
        await database.check()
        async with database.read() as session:
            await freeze(session)
            found = await showing.cycles(session, _MOST, currency=currency, scheme=scheme)
            return [await _told(session, each) for each in found]


async def _show(currency: str, scheme: str, number: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    from fenzhang.clearing.cycles import showing
    from fenzhang.settings import Settings
    from fenzhang.store.session import Database
    from fenzhang.store.snapshots import freeze

    async with Database(Settings.from_environment().database) as database:
        await database.check()
        async with database.read() as session:
            await freeze(session)
            found = await showing.cycle(session, showing.CycleName(currency, scheme, number))
            payouts: list[ShownPayout] = []
            if found.plan is not None:
                payouts = await showing.payouts_of_cycle(session, found.plan, None, b"", _MOST)
            return await _told(session, found), [_payout(each) for each in payouts]


async def _told(session: Any, found: ShownCycle) -> dict[str, Any]:
    from fenzhang.api.routes.cycles import cycle_answer
    from fenzhang.clearing.cycles.showing import left_out_counts

    counts = await left_out_counts(session, [found.plan.id] if found.plan else [])
    return cycle_answer(found, counts)


def _payout(found: ShownPayout) -> dict[str, Any]:
    from fenzhang.api.routes.cycles import payout_answer

    return payout_answer(found)
