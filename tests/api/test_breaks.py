"""`/v1/breaks`: who sees them, what is said about them, and that saying it again is the same."""

from __future__ import annotations

import asyncio
import json

import pytest
from typer.testing import CliRunner

from fenzhang.clearing.reconciliation.breaks import Look, register
from fenzhang.clearing.reconciliation.model import Sighting
from fenzhang.cli import app as cli
from fenzhang.client import AsyncClient, Correction, Credentials
from fenzhang.intake.actor import Scope
from fenzhang.intake.apps import create_app
from fenzhang.store.reconciliationtables import Comparison
from support.api import Api

pytestmark = pytest.mark.either_database

EXPLANATION = {"out_request_no": "e-1", "explanation": "paid by hand"}


@pytest.fixture
async def broken(api: Api) -> Api:
    """Two breaks that make up for each other, and one of the chain."""
    found = [
        Sighting(Comparison.BANK, "PAID_TWICE", "E1", "CNY", -(2**64), {"payout": 2**64}),
        Sighting(Comparison.BANK, "LINE_WITHOUT_PAYOUT", "X1", "CNY", 2**64),
    ]
    async with api.database.write() as session:
        await register(session, Look(Comparison.BANK, 10), found, lambda _row: True)
        chain = Sighting(Comparison.CHAIN, "CHAIN_BATCHES", "", details={"chain": "2", "ledger": "1"})
        await register(session, Look(Comparison.CHAIN, 20), [chain], lambda _row: True)
    return api


async def test_operators_and_auditors_see_breaks_and_others_do_not(broken: Api) -> None:
    for client in (broken.operator, broken.auditor):
        listed = (await client.get("/v1/breaks")).json()
        assert [each["kind"] for each in listed["breaks"]] == [
            "PAID_TWICE",
            "LINE_WITHOUT_PAYOUT",
            "CHAIN_BATCHES",
        ]
        assert listed["next"] is None
        assert listed["breaks"][0] | {"details": None} == {
            "break_id": 1,
            "comparison": "BANK",
            "kind": "PAID_TWICE",
            "subject": "E1",
            "currency": "CNY",
            "amount": str(-(2**64)),
            "details": None,
            "owner": "clearing bank",
            "state": "OPEN",
            "present": True,
            "first_seen": 10,
            "last_seen": 10,
            "explanation": None,
            "explained_by": None,
            "previous_break_id": None,
        }
    assert (await broken.mall.get("/v1/breaks")).status_code == 403
    for client in (broken.mall, broken.auditor):
        refused = await client.post("/v1/breaks/1/explanations", json=EXPLANATION)
        assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("kind=PAID_TWICE", [1]),
        ("comparison=CHAIN", [3]),
        ("owner=clearing%20bank&limit=1", [1]),
        ("owner=clearing%20bank&after=1", [2]),
        ("state=RESOLVED", []),
        ("currency=EUR", []),
    ],
)
async def test_breaks_are_chosen_and_paged(broken: Api, query: str, numbers: list[int]) -> None:
    listed = (await broken.operator.get(f"/v1/breaks?{query}")).json()

    assert [each["break_id"] for each in listed["breaks"]] == numbers


async def test_a_break_is_explained_and_resolved_with_what_makes_up_for_it(broken: Api) -> None:
    async def explained(key: str, text: str) -> tuple[int, str]:
        body = {"out_request_no": key, "explanation": text}
        answer = await broken.operator.post("/v1/breaks/1/explanations", json=body)
        return answer.status_code, answer.json().get("code", answer.json().get("state"))

    async def resolved(key: str, correction: dict[str, str] | None) -> tuple[int, str]:
        body = {"out_request_no": key, "note": "it came back", "correction": correction}
        answer = await broken.operator.post("/v1/breaks/1/resolutions", json=body)
        return answer.status_code, answer.json().get("code", answer.json().get("state"))

    other = {"kind": "break", "id": "2"}
    assert await resolved("r-1", other) == (409, "break_not_explained")
    assert await explained("e-1", "paid by hand") == (201, "EXPLAINED")
    assert await explained("e-1", "paid by hand") == (200, "EXPLAINED")
    assert await explained("e-1", "something else") == (409, "reference_conflict")
    assert await resolved("r-1", {"kind": "break", "id": "1"}) == (422, "invalid_correction")
    assert await resolved("r-1", {"kind": "payout", "id": "E9"}) == (422, "invalid_correction")
    assert await resolved("r-1", {"kind": "day", "id": "2"}) == (422, "invalid_input")
    assert await resolved("r-1", other) == (201, "RESOLVED")
    assert await resolved("r-1", other) == (200, "RESOLVED")
    assert await resolved("r-1", None) == (409, "reference_conflict")
    assert await resolved("r-2", None) == (409, "break_resolved")
    assert await explained("e-2", "again") == (409, "break_resolved")

    story = (await broken.operator.get("/v1/breaks/1")).json()
    assert story["explanation"] == "paid by hand"
    assert [(each["kind"], each["note"]) for each in story["events"]] == [
        ("OPENED", None),
        ("EXPLAINED", "paid by hand"),
        ("RESOLVED", "it came back"),
    ]
    assert story["corrections"] == [{"kind": "break", "id": "2", "currency": "CNY", "amount": str(2**64)}]


async def test_what_is_not_there_or_makes_no_sense_is_refused(broken: Api) -> None:
    for path in (
        "/v1/breaks/9",
        "/v1/breaks/0",
        "/v1/breaks/x",
        "/v1/breaks?kind=NONE",
        "/v1/breaks?state=GONE",
    ):
        answer = await broken.operator.get(path)
        assert answer.status_code == (404 if path == "/v1/breaks/9" else 422), path
    missing = await broken.operator.post("/v1/breaks/9/explanations", json=EXPLANATION)
    assert (missing.status_code, missing.json()["code"]) == (404, "unknown_break")
    for text in ("", " ", "x" * 1_001, "a\nb"):
        answer = await broken.operator.post(
            "/v1/breaks/1/explanations", json=EXPLANATION | {"explanation": text}
        )
        assert answer.status_code == 422, text
    assert (await broken.operator.get("/v1/breaks/1")).json()["state"] == "OPEN"


async def test_the_command_line_says_the_same(broken: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FENZHANG_DATABASE_URL", broken.database.url.render_as_string(hide_password=False))

    def run(*arguments: str) -> str:
        # A thread: the command runs an event loop of its own.
        found = CliRunner().invoke(cli, ["breaks", *arguments])
        assert found.exit_code == 0, found.output
        return found.stdout

    listed = await asyncio.to_thread(run, "list", "--json")
    assert json.loads(listed)["breaks"] == (await broken.operator.get("/v1/breaks")).json()["breaks"]
    await asyncio.to_thread(run, "explain", "2", "--note", "it came back", "--key", "k1")
    resolved = await asyncio.to_thread(
        run, "resolve", "2", "--note", "both even out", "--correction", "break:1"
    )
    assert resolved.startswith("2 RESOLVED LINE_WITHOUT_PAYOUT X1 184467440737095516.16 CNY (clearing bank, ")
    shown = await asyncio.to_thread(run, "show", "2")
    assert "  EXPLAINED by cli:" in shown
    assert "  made up for by break 1\n" in shown
    assert await asyncio.to_thread(run, "list", "--state", "RESOLVED") == resolved


async def test_the_clients_have_methods_for_it(broken: Api) -> None:
    async with broken.database.write() as session:
        app = await create_app(session, "made", [Scope.OPERATOR], None)
    async with AsyncClient(broken.url, Credentials(app.client_id, app.secret)) as client:
        listed = await client.list_breaks(kind="PAID_TWICE")
        assert [(each.break_id, each.amount) for each in listed.breaks] == [(1, -(2**64))]
        assert (await client.explain_break(1, "paid by hand", "e-1")).state == "EXPLAINED"
        correction = Correction(kind="break", id="2")
        assert (await client.resolve_break(1, "it came back", "r-1", correction)).state == "RESOLVED"
        story = await client.get_break(1)
    assert story.corrections == (Correction(kind="break", id="2", currency="CNY", amount=2**64),)
    assert [each.kind for each in story.events] == ["OPENED", "EXPLAINED", "RESOLVED"]
