"""The command `fenzhang verify`: what it prints, and its exit codes 0, 1 and 2."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from audit.auditing import Slots, mapped, poke, set_status
from fenzhang.chain.deployments import save
from fenzhang.commands.verify import register
from fenzhang.domain.identifiers import hex_id, order_id
from fenzhang.domain.records import Capture
from support.parties import MALL, MERCHANT, ident
from support.system import ADMIN
from support.world import World

APP = typer.Typer()
register(APP)


@APP.command("other")
def _other() -> None:
    """A second command, so that `verify` is named on the command line as it is in `fenzhang`."""


@pytest.fixture
def order(world: World) -> Capture:
    """An order of the mall that was split, once in vain."""
    captured = world.captured(1_000, order_id=order_id(MALL.id, "order-1"))
    world.settle(world.authorize(world.split(captured.order_id, 600), world.split(captured.order_id, 600)))
    return captured


@pytest.fixture
def deployment(world: World, tmp_path: Path) -> Path:
    """The deployment file."""
    path = tmp_path / "deployment.json"
    save(path, world.system.deployment)
    return path


def verify(world: World, deployment: Path, *options: str) -> Result:
    arguments = ["verify", "--rpc", world.node.url, "--deployment", str(deployment), *options]
    return CliRunner().invoke(APP, arguments)


@pytest.mark.usefixtures("order")
def test_what_holds_exits_with_0_and_says_what_was_checked(world: World, deployment: Path) -> None:
    result = verify(world, deployment, "--all")

    assert result.exit_code == 0, result.output
    assert "everything holds" in result.stdout
    assert "1 captures, 1 splits" in result.stdout
    assert "CNY" in result.stdout


@pytest.mark.usefixtures("order")
def test_json_has_the_counts_and_the_money(world: World, deployment: Path) -> None:
    result = verify(world, deployment, "--json")

    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["held"] is True
    assert found["differences"] == []
    assert found["checked"]["captures"] == 1
    assert found["checked"]["rejections"] == 1
    assert found["currencies"]["CNY"] == {
        "captured": 1_000,
        "held": 400,
        "positions": 600,
        "in_transit": 0,
        "paid": 0,
        "refunded": 0,
        "conserved": True,
    }


def test_differences_exit_with_1_and_are_named(world: World, deployment: Path, order: Capture) -> None:
    poke(world, "SplitLedger", mapped(Slots.ORDERS, order.order_id), 5)
    set_status(world, MERCHANT.id, 2)

    result, as_json = verify(world, deployment), verify(world, deployment, "--json")

    assert (result.exit_code, as_json.exit_code) == (1, 1)
    assert "order_slot" in result.stdout
    assert hex_id(order.order_id) in result.stdout
    assert "participant" in result.stdout
    assert "3 differences" in result.stdout
    found = json.loads(as_json.stdout)
    assert found["held"] is False
    slot = next(each for each in found["differences"] if each["code"] == "order_slot")
    assert slot["area"] == "storage"
    assert slot["order"] == hex_id(order.order_id)
    assert slot["expected"]["held"] == 400
    assert slot["found"] == {"commitment": "0x" + "0" * 40, "held": 5}
    standing = next(each for each in found["differences"] if each["code"] == "participant")
    assert standing["found"] == {"status": "SUSPENDED", "authority": "0x" + "0" * 40, "max_share_out": 0}


def test_the_life_of_an_order_is_told(world: World, deployment: Path, order: Capture) -> None:
    result, as_json = (
        verify(world, deployment, "--order", "order-1"),
        verify(world, deployment, "--order", hex_id(order.order_id), "--json"),
    )

    assert result.exit_code == 0, result.output
    assert hex_id(order.order_id) in result.stdout
    for word in ("CAPTURE", "SPLIT", "REJECTION of SPLIT", "leads to root", "captured 10.00, split 6.00"):
        assert word in result.stdout
    [told] = json.loads(as_json.stdout)["orders"]
    assert told["order_id"] == hex_id(order.order_id)
    assert (told["captured"], told["split"], told["held"]) == (1_000, 600, 400)
    assert [entry["kind"] for entry in told["records"]] == ["CAPTURE", "SPLIT", "REJECTION"]
    split, rejection = told["records"][1:]
    assert split["proof"] == [rejection["leaf"]]
    assert sum(allocation["amount"] for allocation in split["allocations"]) == 600
    assert rejection["reason"]["code"] == "insufficient_held"


def refused(result: Result) -> str:
    """The one line on standard error of a verification that could not be done."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    [line] = result.stderr.splitlines()
    assert line.startswith("fenzhang: ")
    return line


@pytest.mark.usefixtures("order")
def test_an_unknown_order_exits_with_2(world: World, deployment: Path) -> None:
    assert "no record on the chain names order order-2" in refused(
        verify(world, deployment, "--order", "order-2", "--json")
    )


def test_an_unreachable_node_exits_with_2(deployment: Path) -> None:
    result = CliRunner().invoke(
        APP, ["verify", "--rpc", "http://127.0.0.1:1", "--deployment", str(deployment), "--json"]
    )
    assert "cannot be reached" in refused(result)


def test_a_deployment_of_another_chain_exits_with_2(world: World, tmp_path: Path) -> None:
    deployment, path = world.system.deployment, tmp_path / "other.json"
    for other, why in (
        (replace(deployment, chain_id=1), "is for chain 1"),
        (replace(deployment, genesis_hash=ident("genesis")), "begins with another block 0"),
        (replace(deployment, split_ledger=ADMIN.address), "there is no SplitLedger at"),
    ):
        save(path, other)
        assert why in refused(verify(world, path))


def test_a_missing_or_broken_deployment_file_exits_with_2(world: World, tmp_path: Path) -> None:
    path = tmp_path / "deployment.json"
    assert "cannot be read" in refused(verify(world, path))
    path.write_text("{}")
    assert "no deployment file" in refused(verify(world, path))


def test_one_order_and_all_exclude_each_other(world: World, deployment: Path) -> None:
    result = verify(world, deployment, "--all", "--order", "order-1")
    assert result.exit_code == 2
    assert "exclude each other" in result.stderr
