"""Cycles, payouts and bank accounts over HTTP, by the client and by command."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from clearing.bankside import CLOSED, HONEST, VAULT
from clearing.bankside import SHOP as CLEARING_ACCOUNT
from clearing.closing import House, house_of
from fenzhang.chain.evidence import verify_proof
from fenzhang.clearing.accounts import CLEARING_ACCOUNT as NOBODY
from fenzhang.clearing.accounts import account_of
from fenzhang.cli import app as cli
from fenzhang.client import AsyncClient, Credentials, InvalidRequest, NotFound
from fenzhang.intake.actor import Scope
from fenzhang.store import tables
from pipeline.harness import Pipeline
from support.api import Api, running_api
from support.parties import MALL, MERCHANT, PROMOTER, SHOP, VENDING, VENDOR

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
KEY = (b"k" * 32).hex()


@pytest.fixture
async def house(pipeline: Pipeline, tmp_path: Path) -> AsyncIterator[House]:
    made = house_of(pipeline, tmp_path)
    await made.give_account(None, CLEARING_ACCOUNT)
    yield made
    await made.close()


@pytest.fixture
async def api(house: House, tmp_path: Path) -> AsyncIterator[Api]:
    """The API beside the clearing house, with the same keys for bank data."""
    world = house.pipeline.world
    async with running_api(
        house.pipeline.database,
        tmp_path,
        node_url=world.node.url,
        deployment=world.system.deployment,
        bank_keys=KEY,
    ) as api:
        yield api


async def test_a_cycle_over_http(house: House, api: Api) -> None:
    async with (
        api.client("app_mall", [Scope.PLATFORM], MALL.id) as mall,
        api.client("app_shop", [Scope.PLATFORM], SHOP.id) as shop,
    ):
        path = "/v1/participants/merchant/bank-accounts/CNY"
        assert (await mall.get(path)).json()["code"] == "unknown_bank_account"
        body = {
            "scheme": "OTHER",
            "number": HONEST.account.number,
            "holder": HONEST.holder,
            "bank": HONEST.bank,
        }
        answers = [await mall.put(path, json=body), await mall.put(path, json=body), await mall.get(path)]
        assert [answer.status_code for answer in answers] == [200, 200, 200]
        assert answers[0].json() == answers[1].json() == answers[2].json()
        assert answers[2].json()["number"] == "…0002"
        for answer in answers:
            assert HONEST.account.number not in answer.text
            assert HONEST.holder not in answer.text
        assert (await shop.put(path, json=body)).json()["code"] == "unknown_participant"
        async with house.pipeline.database.read() as session:
            assert await account_of(session, VAULT, MERCHANT.id, "CNY") == HONEST

        await house.settle(1_000)
        await house.settle(700, VENDING)
        await house.close_cycle()

        [cycle] = (await shop.get("/v1/cycles")).json()["cycles"]
        assert (cycle["state"], cycle["payouts"], cycle["total"]) == ("TAKEN", 1, 500)
        assert cycle["left_out"] == {"NO_ACCOUNT": 2}
        own = "/v1/cycles/CNY/standard/1"
        assert (await mall.get(own)).json() == cycle
        [first, second] = (await mall.get(f"{own}/payouts")).json()["payouts"]
        paid, unpaid = sorted((first, second), key=lambda each: -int(each["amount"]))
        assert (paid["out_participant_no"], paid["state"], paid["left_out"]) == ("merchant", "PAID", None)
        assert (unpaid["out_participant_no"], unpaid["left_out"], unpaid["due"]) == (
            "promoter",
            "NO_ACCOUNT",
            500,
        )
        [foreign] = (await shop.get(f"{own}/payouts")).json()["payouts"]
        assert foreign["out_participant_no"] == "vendor"
        assert (await shop.get("/v1/payouts")).json() == {"payouts": [], "next": None}
        assert (await mall.get("/v1/payouts")).json()["payouts"] == [paid]

        proven = (await mall.get(f"{own}/payouts/merchant")).json()
        _check_proven(proven, cycle)
        for hidden in (f"{own}/payouts/vendor", "/v1/cycles/CNY/standard/2", "/v1/cycles/JPY/standard/1"):
            assert (await mall.get(hidden)).status_code == 404
        assert (await mall.get("/v1/cycles/CNY/No/1")).status_code == 422


def _check_proven(proven: dict[str, Any], cycle: dict[str, Any]) -> None:
    assert proven["payout_root"] == cycle["payout_root"]
    root, leaf = (bytes.fromhex(proven[name][2:]) for name in ("payout_root", "payout_id"))
    assert verify_proof(root, leaf, [bytes.fromhex(each[2:]) for each in proven["proof"]])


async def test_the_operator_sees_what_clearing_asked_of_the_chain(house: House, api: Api) -> None:
    await house.give_account(MERCHANT, HONEST)
    await house.settle(1_000)
    await house.close_cycle()
    async with AsyncClient(api.url, await _app(api, Scope.OPERATOR)) as operator:
        page = await operator.completions()
        told = [each.instruction for each in page.completions]
        assert [(each.type.value, each.state.value) for each in told] == [
            ("CLOSE_CYCLE", "SETTLED"),
            ("TAKE", "SETTLED"),
            ("REPORT", "SETTLED"),
        ]
        assert {each.id for each in told} == {(await operator.get_cycle("CNY", "standard", 1)).cycle_id}


async def test_pages_follow_each_other(house: House, api: Api) -> None:
    for who in (MERCHANT, PROMOTER, VENDOR):
        await house.give_account(who, HONEST)
    for amount in (1_000, 600):
        await house.settle(amount)
        await house.settle(700, VENDING)
        await house.close_cycle()
    async with api.client("app_auditor", [Scope.AUDITOR]) as auditor:
        for path, name, count in (
            ("/v1/cycles", "cycles", 2),
            ("/v1/payouts", "payouts", 6),
            ("/v1/cycles/CNY/standard/2/payouts", "payouts", 3),
        ):
            whole = (await auditor.get(path)).json()
            assert len(whole[name]) == count
            found, after = [], None
            while True:
                page = (
                    await auditor.get(path, params={"limit": 1, **({"after": after} if after else {})})
                ).json()
                found += page[name]
                after = page["next"]
                if after is None:
                    break
            assert found == whole[name]
        one = (await auditor.get("/v1/payouts", params={"participant": f"0x{VENDOR.id.hex()}"})).json()
        assert [each["number"] for each in one["payouts"]] == [1, 2]
        by_name = await auditor.get("/v1/payouts", params={"participant": "vendor"})
        assert by_name.json()["code"] == "unknown_participant"


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"number": "DE89370400440532013001", "scheme": "IBAN"}, "number"),
        ({"number": "62220000!"}, "number"),
        ({"holder": " secret"}, "holder"),
        ({"bank": "nobank"}, "bank"),
        ({"scheme": "SWIFT"}, "scheme"),
        ({"number": "6" * 40}, "number"),
    ],
)
async def test_an_account_that_is_none_is_refused_and_not_repeated(
    api: Api, wrong: dict[str, str], field: str
) -> None:
    body = {"scheme": "OTHER", "number": "6222000000000002", "holder": "secret", "bank": ""} | wrong
    async with api.client("app_mall", [Scope.PLATFORM], MALL.id) as mall:
        path = "/v1/participants/merchant/bank-accounts/CNY"
        refused = await mall.put(path, json=body)
        assert refused.status_code == 422
        assert field in refused.text
        for secret in (body["number"], body["holder"].strip()):
            assert secret not in refused.text
        assert (await mall.get(path)).status_code == 404


async def test_the_client_and_the_command_tell_the_same(
    house: House, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.give_account(PROMOTER, CLOSED)
    async with AsyncClient(api.url, await _app(api)) as mall:
        kept = await mall.put_bank_account(
            "merchant", "CNY", number=HONEST.account.number, holder=HONEST.holder
        )
        assert kept == await mall.get_bank_account("merchant", "CNY")
        with pytest.raises(NotFound):
            await mall.get_bank_account("merchant", "JPY")
        with pytest.raises(InvalidRequest):
            await mall.put_bank_account("merchant", "CNY", number="!", holder="x")
        await house.settle(1_000)
        await house.close_cycle()
        [cycle] = await mall.list_cycles("CNY", "standard")
        assert cycle == await mall.get_cycle("CNY", "standard", 1)
        states = {each.out_participant_no: each.state for each in await mall.list_payouts()}
        assert states == {"merchant": "PAID", "promoter": "FAILED"}
        assert len(await mall.list_cycle_payouts("CNY", "standard", 1)) == 2
        proven = await mall.get_cycle_payout("CNY", "standard", 1, "merchant")
        assert proven.payout_root == cycle.payout_root
        assert proven.proof is not None

    url = house.pipeline.database.url.render_as_string(hide_password=False)
    monkeypatch.setenv("FENZHANG_DATABASE_URL", url)
    listed = await _run("cycle", "list", "--currency", "CNY")
    assert listed.output.startswith("CNY standard 1  TAKEN  2 payouts, 10.00")
    shown = json.loads((await _run("cycle", "show", "CNY", "standard", "1", "--json")).output)
    assert shown["cycle_id"] == cycle.cycle_id
    assert {each["amount"] for each in shown["payouts_by_participant"]} == {500}
    text = (await _run("cycle", "show", "CNY", "standard", "1")).output
    assert "merchant  due 5.00  5.00  PAID" in text


async def test_the_clearing_account_comes_from_standard_input(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = house.pipeline.database.url.render_as_string(hide_password=False)
    monkeypatch.setenv("FENZHANG_DATABASE_URL", url)
    monkeypatch.setenv("FENZHANG_BANK_KEYS", KEY)
    options = ["bank", "account", "--currency", "EUR", "--scheme", "IBAN", "--holder", "Clearing"]
    stored = await _run(*options, said="DE89370400440532013000\n")
    assert stored.output == "payouts in EUR are made from IBAN …3000\n"
    async with house.pipeline.database.read() as session:
        found = await account_of(session, VAULT, NOBODY, "EUR")
    assert found.account.number == "DE89370400440532013000"
    refused = await _run(*options, said="DE00\n")
    assert refused.exit_code != 0
    assert "DE00" not in refused.output


async def _app(api: Api, scope: Scope = Scope.PLATFORM) -> Credentials:
    """An app of the mall, or of nobody with another scope."""
    row = tables.App(
        client_id="app_with_secret",
        name="app",
        secret_hash=sha256(b"secret").digest(),
        scopes=scope.value,
        platform_id=MALL.id if scope is Scope.PLATFORM else None,
        created_at=1,
    )
    async with api.database.write() as session:
        session.add(row)
    return Credentials("app_with_secret", "secret")


async def _run(*arguments: str, said: str = "") -> Result:
    """A command, which has an event loop of its own."""
    return await asyncio.to_thread(lambda: CliRunner().invoke(cli, list(arguments), input=said))
