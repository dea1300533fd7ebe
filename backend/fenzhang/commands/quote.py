"""`fenzhang quote`: what a rule makes of an amount, by the specification or by the contract."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from fenzhang.commands.nearby import DEPLOYMENT_HELP, deployment_file

if TYPE_CHECKING:
    from fenzhang.chain.views import ChainView
    from fenzhang.domain.rules import Leg
    from fenzhang.intake.quotes import QuoteAnswer
    from fenzhang.replay.fields import Fields

MALFORMED = 2
"""Exit code for a file that holds something else than cases."""


class Case(NamedTuple):
    """One case of the file. `name` is None where it has none; `given` has amounts of GIVEN legs, in leg order."""

    name: Any
    legs: tuple[Leg, ...]
    amount: int
    given: tuple[int, ...]


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("quote")(quote)


def quote(
    file: Annotated[
        Path,
        typer.Argument(
            exists=True,
            dir_okay=False,
            readable=True,
            help="JSON array of cases with `legs`, `amount` and, for GIVEN legs, `given`.",
        ),
    ],
    *,
    on_chain: Annotated[
        bool, typer.Option("--on-chain", help="Let the contract compute instead of the Python specification.")
    ] = False,
    rpc: Annotated[
        str | None,
        typer.Option(
            help="Node to ask with --on-chain. Without it a chain of its own is started, and ended.",
            show_default=False,
        ),
    ] = None,
    deployment: Annotated[
        Path | None, typer.Option(help=f"That of --rpc. {DEPLOYMENT_HELP}", show_default=False)
    ] = None,
) -> None:
    """Allocate amounts by legs, and print one JSON object per case: `leaves`, or `error_leg`.

    A case with GIVEN legs also has `error` (a code) and `given`: what each of them may take.

    Exit code 2 names the case and field that is malformed.
    """
    from fenzhang.commands.output import print_json
    from fenzhang.replay.fields import Mistake

    if not on_chain and (rpc is not None or deployment is not None):
        raise typer.BadParameter("--rpc and --deployment go with --on-chain")
    try:
        cases = read_cases(file)
    except Mistake as mistake:
        typer.echo(f"fenzhang: {mistake.message}", err=True)
        raise typer.Exit(MALFORMED) from None
    answers = asyncio.run(_ask_chain(cases, rpc, deployment)) if on_chain else _specified(cases)
    print_json([_shown(case, answer) for case, answer in zip(cases, answers, strict=True)])


# ------------------------------------------------------------------------------ reading


def read_cases(path: Path) -> list[Case]:
    """The cases of a file. Raises Mistake naming the case by its number, counted from 1."""
    from fenzhang.replay.fields import Fields, read_json

    items = Fields(path.name, read_json(path)).items()
    return [
        _read_case(Fields(f"{path.name} case {number}", item.value))
        for number, item in enumerate(items, start=1)
    ]


def _read_case(fields: Fields) -> Case:
    from fenzhang.domain.errors import InvalidRule
    from fenzhang.domain.rules import MAX_CHAIN_AMOUNT, validate_tree
    from fenzhang.replay.legs import read_leg

    name = fields.get("name").value if "name" in fields else None
    legs = tuple(read_leg(leg) for leg in fields.get("legs").items())
    try:
        validate_tree(legs)
    except InvalidRule as error:
        raise fields.get("legs").mistake(error.message) from None
    amount = fields.get("amount").integer_within(1, MAX_CHAIN_AMOUNT)
    given = fields.get("given").items() if "given" in fields else []
    return Case(name, legs, amount, tuple(item.integer_within(0, MAX_CHAIN_AMOUNT) for item in given))


# ------------------------------------------------------------------------------ answering


def _specified(cases: Sequence[Case]) -> list[QuoteAnswer]:
    from fenzhang.intake.quotes import python_answer

    return [python_answer(case.legs, case.amount, case.given) for case in cases]


async def _ask_chain(cases: Sequence[Case], rpc: str | None, deployment: Path | None) -> list[QuoteAnswer]:
    from fenzhang.intake.quotes import chain_answers

    async with _own_chain() if rpc is None else _chain_at(rpc, deployment) as chain:
        return await chain_answers(chain, [(case.legs, case.amount, case.given) for case in cases])


@asynccontextmanager
async def _chain_at(rpc: str, path: Path | None) -> AsyncIterator[ChainView]:
    from fenzhang.chain.deployments import check_deployment, load
    from fenzhang.chain.node import NodeClient
    from fenzhang.chain.views import ChainView
    from fenzhang.settings import Settings

    async with NodeClient(rpc) as node:
        deployment = load(await deployment_file(Settings.from_environment(), path, node))
        await check_deployment(node, deployment)
        yield ChainView(node, deployment)


@asynccontextmanager
async def _own_chain() -> AsyncIterator[ChainView]:
    """A fresh devnet with the contracts on it, gone afterwards."""
    from fenzhang.chain.deploy import DeployPlan, deploy
    from fenzhang.chain.node import NodeClient
    from fenzhang.chain.signer import LocalKey
    from fenzhang.chain.views import ChainView
    from fenzhang.devnet import dev_account, ephemeral_node

    admin = LocalKey(bytes.fromhex(dev_account("admin").private_key.removeprefix("0x")))
    with ephemeral_node() as running:
        async with NodeClient(running.url) as node:
            path = running.home / "deployment.json"
            yield ChainView(node, await deploy(node, admin, DeployPlan(currencies=()), path))


def _shown(case: Case, answer: QuoteAnswer) -> dict[str, Any]:
    from dataclasses import asdict

    from fenzhang.domain.allocation import given_ranges

    named = {} if case.name is None else {"name": case.name}
    leaves = None if answer.leaves is None else list(answer.leaves)
    shown = named | {"leaves": leaves, "error_leg": answer.error_leg}
    ranges = given_ranges(case.legs, case.amount, case.given)
    if ranges or case.given:
        shown["error"] = None if answer.error is None else answer.error.code
        shown["given"] = [asdict(found) for found in ranges]
    return shown
