"""Who gets in: apps, their secrets, and the tokens they trade them for."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path

import httpx
import jwt
import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from fenzhang.cli import app as cli
from fenzhang.intake.actor import Scope
from fenzhang.intake.apps import NewApp, create_app
from fenzhang.store.session import Database
from fenzhang.store.tables import App
from support.api import MALL, Api, populate

pytestmark = pytest.mark.either_database

GRANT = {"grant_type": "client_credentials"}


@pytest.fixture
async def made(api: Api) -> NewApp:
    """An app of the mall."""
    async with api.database.write() as session:
        return await create_app(session, "made", [Scope.AUDITOR, Scope.PLATFORM], "mall")


async def _token(api: Api, form: dict[str, str], basic: tuple[str, str] | None = None) -> httpx.Response:
    headers = {}
    if basic is not None:
        encoded = base64.b64encode(":".join(basic).encode()).decode()
        headers["Authorization"] = f"Basic {encoded}"
    return await api.anybody.post("/oauth/token", data=form, headers=headers)


# ------------------------------------------------------------------------------ tokens


async def test_id_and_secret_buy_a_token_by_basic_or_form(api: Api, made: NewApp) -> None:
    form = {**GRANT, "client_id": made.client_id, "client_secret": made.secret}
    for answer in (await _token(api, GRANT, (made.client_id, made.secret)), await _token(api, form)):
        assert answer.status_code == 200, answer.text
        assert answer.headers["cache-control"] == "no-store"
        token = answer.json()
        assert (token["token_type"], token["expires_in"], token["scope"]) == (
            "Bearer",
            3_600,
            "auditor platform",
        )
        headers = {"Authorization": f"Bearer {token['access_token']}"}
        participants = await api.anybody.get("/v1/participants", headers=headers)
        assert participants.status_code == 200
        assert "mall" in {item["out_participant_no"] for item in participants.json()["participants"]}


async def test_a_token_of_a_process_whose_clock_is_ahead_is_good(
    api: Api, made: NewApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    with monkeypatch.context() as ahead:
        ahead.setattr("fenzhang.api.auth.time.time", lambda: now + 600)
        token = (await _token(api, GRANT, (made.client_id, made.secret))).json()["access_token"]
    answer = await api.anybody.get("/v1/participants", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200


async def test_a_token_may_have_fewer_scopes_than_its_app(api: Api, made: NewApp) -> None:
    answer = await _token(api, {**GRANT, "scope": "auditor"}, (made.client_id, made.secret))
    assert answer.json()["scope"] == "auditor"
    headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    assert (await api.anybody.get("/v1/trial-balance", headers=headers)).status_code == 200
    assert (await api.anybody.get("/v1/participants", headers=headers)).status_code == 403


async def test_a_token_says_nothing_secret(api: Api, made: NewApp) -> None:
    token = (await _token(api, GRANT, (made.client_id, made.secret))).json()["access_token"]
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["sub"] == made.client_id
    assert claims["platform"] == MALL.hex()
    assert made.secret not in str(claims)


@pytest.mark.parametrize(
    ("form", "basic", "status", "code"),
    [
        ({}, None, 400, "invalid_request"),
        ({"grant_type": "password"}, None, 400, "unsupported_grant_type"),
        (GRANT, None, 401, "invalid_client"),
        (GRANT, ("made", "wrong"), 401, "invalid_client"),
        (GRANT, ("nobody", "secret"), 401, "invalid_client"),
        (GRANT, ("no\0body", "secret"), 401, "invalid_client"),
        ({**GRANT, "client_id": "made"}, None, 401, "invalid_client"),
        ({**GRANT, "scope": "operator"}, ("made", "right"), 400, "invalid_scope"),
        ({**GRANT, "scope": "root"}, ("made", "right"), 400, "invalid_scope"),
    ],
)
async def test_token_request_that_is_refused(
    api: Api, made: NewApp, *, form: dict[str, str], basic: tuple[str, str] | None, status: int, code: str
) -> None:
    if basic is not None:
        known = {"made": made.client_id, "right": made.secret}
        basic = (known.get(basic[0], basic[0]), known.get(basic[1], basic[1]))
    answer = await _token(api, form, basic)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    # OAuth2 clients look for this name.
    assert answer.json()["error"] == code
    if status == 401:
        assert answer.headers["www-authenticate"].startswith("Basic")


@pytest.mark.parametrize(
    "credentials", ["!!!", base64.b64encode(b"\xff\xfe").decode(), base64.b64encode(b"x").decode()]
)
async def test_unreadable_basic_credentials_are_401(api: Api, credentials: str) -> None:
    headers = {"Authorization": f"Basic {credentials}"}
    answer = await api.anybody.post("/oauth/token", data=GRANT, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_client")


@pytest.mark.parametrize(
    "form",
    [
        b"grant_type=client_credentials&client_id=%00&client_secret=%ED%A0%80",
        b"grant_type=client_credentials&client_id=" + b"a" * 500_000 + b"&client_secret=b",
        b"grant_type=client_credentials&" + b"a=b&" * 100_000,
        b"\xff\xfe=&%&&==;" * 1_000,
        b"grant_type[]=client_credentials&grant_type=",
        b"{}",
        b"",
    ],
    ids=lambda form: repr(form[:40]),
)
async def test_nonsense_at_the_token_endpoint_is_4xx_and_quickly_so(api: Api, form: bytes) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    started = time.monotonic()
    answer = await api.anybody.post("/oauth/token", content=form, headers=headers)
    assert answer.status_code in {400, 401}, answer.text
    assert answer.json()["error"] == answer.json()["code"]
    assert time.monotonic() - started < 5


async def test_token_request_is_a_form(api: Api) -> None:
    answer = await api.anybody.post("/oauth/token", json=GRANT)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


# ------------------------------------------------------------------------------ apps


async def test_operator_creates_an_app_and_sees_its_secret_once(api: Api) -> None:
    body = {"name": "mall-2", "scopes": ["platform"], "platform": "mall"}
    answer = await api.operator.post("/v1/apps", json=body)
    assert answer.status_code == 201
    made = answer.json()
    token = await _token(api, GRANT, (made["client_id"], made["client_secret"]))
    assert token.status_code == 200
    async with api.database.read() as session:
        app = (await session.execute(select(App).where(App.name == "mall-2"))).scalar_one()
    assert made["client_secret"].encode() not in app.secret_hash
    again = await api.operator.post("/v1/apps", json=body)
    assert (again.status_code, again.json()["code"]) == (409, "app_exists")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"name": "a", "scopes": ["platform"], "platform": "nobody"}, 404, "unknown_platform"),
        ({"name": "a", "scopes": ["platform"], "platform": "merchant-001"}, 404, "unknown_platform"),
        ({"name": "a", "scopes": ["platform"]}, 422, "invalid_input"),
        ({"name": "a", "scopes": ["operator"], "platform": "mall"}, 422, "invalid_input"),
        ({"name": "a", "scopes": ["root"]}, 422, "invalid_input"),
        ({"name": "a", "scopes": []}, 422, "invalid_input"),
        ({"name": "a b", "scopes": ["operator"]}, 422, "invalid_reference"),
    ],
)
async def test_app_that_cannot_be_created(api: Api, body: dict[str, object], status: int, code: str) -> None:
    answer = await api.operator.post("/v1/apps", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


# ------------------------------------------------------------------------------ the command


def _run(*arguments: str, environment: dict[str, str]) -> tuple[int, str]:
    result = CliRunner().invoke(cli, arguments, env=environment)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return 1, str(result.exception)
    return result.exit_code, result.output


def test_command_creates_an_app_in_the_database_of_the_environment(tmp_path: Path) -> None:
    environment = {"FENZHANG_HOME": str(tmp_path), "FENZHANG_DATABASE_URL": ""}
    create = ("app", "create", "--name", "first", "--scopes", "operator,auditor")
    assert "fenzhang db upgrade" in _run(*create, environment=environment)[1]
    assert _run("db", "upgrade", environment=environment)[0] == 0
    assert _run("db", "upgrade", environment=environment)[0] == 0
    code, output = _run(*create, environment=environment)
    assert code == 0, output
    assert json.loads(output)["scopes"] == ["auditor", "operator"]
    assert "exists" in _run(*create, environment=environment)[1]
    assert _run("app", "create", "--name", "p", "--scopes", "platform", environment=environment)[0] == 2
    unknown = ("app", "create", "--name", "p", "--scopes", "platform", "--platform", "nobody")
    assert "nobody" in _run(*unknown, environment=environment)[1]
    assert "scopes" in _run("app", "create", "--name", "p", "--scopes", "root", environment=environment)[1]


async def test_secrets_of_apps_differ(database: Database) -> None:
    await populate(database)
    async with database.write() as session:
        made = [await create_app(session, f"app-{n}", [Scope.OPERATOR], None) for n in range(3)]
    assert len({app.secret for app in made}) == len({app.client_id for app in made}) == 3
    assert min(len(app.secret) for app in made) >= 43
