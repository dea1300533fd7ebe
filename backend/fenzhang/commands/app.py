"""`fenzhang app`: API clients, made by who runs the machine."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from fenzhang.commands.output import print_json
from fenzhang.domain.errors import InvalidInput
from fenzhang.domain.identifiers import check_reference
from fenzhang.intake.actor import Scope

if TYPE_CHECKING:
    from fenzhang.intake.apps import NewApp
    from fenzhang.settings import Settings

app = typer.Typer(no_args_is_help=True, help="API clients.")


@app.callback()
def _group() -> None:
    """A group with one command is still a group."""


@app.command("create")
def create(
    *,
    name: Annotated[str, typer.Option(help="Name of the app, unique.")],
    scopes: Annotated[
        str, typer.Option(help="operator, platform, approver, guardian, auditor; separated by commas.")
    ],
    platform: Annotated[
        str | None, typer.Option(help="Reference of the platform, for the scope platform.")
    ] = None,
) -> None:
    """Create an API client and print its id and secret as JSON. The secret cannot be shown again."""
    from fenzhang.settings import Settings

    granted = _scopes(scopes)
    if (Scope.PLATFORM in granted) != (platform is not None):
        raise typer.BadParameter("--platform goes with the scope platform, and only with it")
    check_reference("name", name)
    made = asyncio.run(_create(Settings.from_environment().prepared(), name, granted, platform))
    print_json({"client_id": made.client_id, "client_secret": made.secret, "scopes": list(made.scopes)})


def _scopes(text: str) -> list[Scope]:
    try:
        granted = sorted({Scope(scope) for scope in text.replace(",", " ").split()})
    except ValueError:
        granted = []
    if not granted:
        raise InvalidInput("scopes", f"they are {', '.join(Scope)}")
    return granted


async def _create(settings: Settings, name: str, scopes: list[Scope], platform: str | None) -> NewApp:
    from fenzhang.intake.apps import create_app
    from fenzhang.store.session import Database

    async with Database(settings.database) as database:
        await database.check()
        async with database.write() as session:
            return await create_app(session, name, scopes, platform)
