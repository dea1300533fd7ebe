"""`fenzhang what-if`: what a draft of a rule would have made of settled orders."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from fenzhang.api.schemas.changes import WhatIfBody

MALFORMED = 2
"""Exit code for a question that is none: no legs, no such day, a field that does not fit."""


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("what-if")(what_if_command)


def what_if_command(
    platform: Annotated[str, typer.Argument(help="Reference of the platform whose rule it is.")],
    rule: Annotated[str, typer.Argument(help="The platform's reference of the rule.")],
    *,
    legs: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            readable=True,
            help="JSON array of legs as a proposal has them.",
            show_default=False,
        ),
    ] = None,
    version: Annotated[
        int | None, typer.Option(help="A version of the rule in place of legs.", show_default=False)
    ] = None,
    day: Annotated[
        str | None, typer.Option(help="Day of the captures: YYYY-MM-DD, UTC.", show_default=False)
    ] = None,
    begin: Annotated[
        int | None,
        typer.Option("--from", help="In place of a day: from this time, Unix seconds,", show_default=False),
    ] = None,
    end: Annotated[int | None, typer.Option("--to", help="to before this one.", show_default=False)] = None,
    limit: Annotated[
        int | None, typer.Option(help="Orders to look at, the earliest first.", show_default=False)
    ] = None,
) -> None:
    """Replay settled orders of a rule by a draft, and print who would have got what, as one JSON object.

    Reads the database of FENZHANG_DATABASE_URL and writes nothing. Exit code 2 names the field that does not fit.
    """
    from fenzhang.commands.output import print_json

    asked = {"version": version, "day": day, "from": begin, "to": end, "limit": limit}
    body = _body({name: value for name, value in asked.items() if value is not None}, legs)
    print_json(asyncio.run(_ask(platform, rule, body)))


def _body(asked: dict[str, Any], legs: Path | None) -> WhatIfBody:
    """The question as the API would get it."""
    from pydantic import ValidationError

    from fenzhang.api.problems import field_errors
    from fenzhang.api.schemas.changes import WhatIfBody
    from fenzhang.domain.errors import InvalidInput

    try:
        if legs is not None:
            asked["legs"] = json.loads(legs.read_text(encoding="utf-8"))
        body = WhatIfBody.model_validate(asked)
        body.check()
    except ValidationError as error:
        first = field_errors(error.errors())[0]
        _give_up(f"{first['field']}: {first['message']}")
    except InvalidInput as error:
        _give_up(error.message)
    except ValueError:
        _give_up(f"{legs} is not JSON")
    return body


async def _ask(platform: str, rule: str, body: WhatIfBody) -> dict[str, Any]:
    from fenzhang.api.trying import question_of, tried
    from fenzhang.domain.identifiers import rule_id
    from fenzhang.intake import participants, rules
    from fenzhang.intake.errors import UnknownRule
    from fenzhang.settings import Settings
    from fenzhang.store.session import Database

    async with Database(Settings.from_environment().database) as database:
        await database.check()
        async with database.read() as session:
            owner = await participants.platform_named(session, platform)
            found = await rules.versions_of(session, owner.id, rule_id(owner.id, rule))
            if not found:
                raise UnknownRule(rule)
            question = await question_of(session, found, body, named=True)
        return {
            "out_rule_no": rule,
            "version": body.version,
            **await tried(database, question, named=True),
        }


def _give_up(message: str) -> NoReturn:
    typer.echo(f"fenzhang: {' '.join(message.split())}", err=True)
    raise typer.Exit(MALFORMED)
