"""Bills over HTTP and by the command, and from another database that mirrored the same chain."""

from __future__ import annotations

import asyncio
import base64
import gzip
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from fenzhang.clearing.bills.formats import BillFormat
from fenzhang.cli import app as cli
from fenzhang.intake.actor import Scope
from fenzhang.mirror.config import MirrorConfig
from fenzhang.mirror.mirror import Mirror
from fenzhang.settings import Settings
from fenzhang.store import tables
from fenzhang.store.bulk import insert_rows
from fenzhang.store.session import Database
from fenzhang.store.tables import Base, InstructionState
from pipeline.harness import Pipeline
from support.api import Api, running_api
from support.bills import OF_MALL, content, of_merchant, of_participant, over, today, traffic
from support.databases import POSTGRESQL, SQLITE, fresh_database
from support.parties import MALL, MERCHANT, PROMOTER, SHOP, VENDOR

SUBJECTS = (OF_MALL, of_merchant(MERCHANT), of_participant(PROMOTER))
_ASKED = (
    tables.Participant,
    tables.RuleVersion,
    tables.Transaction,
    tables.Authorization,
    tables.Instruction,
)


async def _copy(source: Database, target: Database) -> None:
    """What was asked and sent, before any event was read."""
    async with source.read() as reading, target.write() as writing:
        for entity in _ASKED:
            table = Base.metadata.tables[entity.__tablename__]
            rows = [dict(row._mapping) for row in await reading.execute(select(table))]
            if entity is tables.Instruction:
                undone = {"state": InstructionState.SUBMITTED.value, "block_number": None, "tx_hash": None}
                rows = [row | undone | {"reason": None} for row in rows]
            await insert_rows(writing, entity, rows)


async def test_another_database_of_the_same_chain_makes_the_same_bytes(
    pipeline: Pipeline, database_kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    day = today(pipeline)
    await traffic(pipeline)
    await over(pipeline, day)
    other = POSTGRESQL if database_kind == SQLITE else SQLITE
    folder = tmp_path / "other"
    folder.mkdir()
    async with fresh_database(other, request, folder) as url, Database(url) as database:
        await _copy(pipeline.database, database)
        # Another mirror with other ranges: what is one transaction here is many there.
        mirror = Mirror(database, pipeline.node, pipeline.world.system.deployment, MirrorConfig(max_blocks=3))
        await mirror.tick()
        while mirror.more:
            await mirror.tick()
        for who in SUBJECTS:
            for form in BillFormat:
                theirs = await content(database, who, day, form)
                assert theirs == await content(pipeline.database, who, day, form)


@pytest.fixture
async def api(pipeline: Pipeline, tmp_path: Path) -> AsyncIterator[Api]:
    """The API beside the pipeline."""
    world = pipeline.world
    deployment = world.system.deployment
    async with running_api(
        pipeline.database, tmp_path, node_url=world.node.url, deployment=deployment, bill_depth=0
    ) as api:
        yield api


def _hash_of(answer: httpx.Response) -> bytes:
    digest = sha256(answer.content).digest()
    assert answer.headers["etag"] == f'"{digest.hex()}"'
    assert answer.headers["repr-digest"] == f"sha-256=:{base64.b64encode(digest).decode()}:"
    return digest


async def test_the_api_sends_the_same_bytes(pipeline: Pipeline, api: Api) -> None:
    day = today(pipeline)
    date = day.date.isoformat()
    await traffic(pipeline)
    async with (
        api.client("app_own", [Scope.PLATFORM], MALL.id) as mall,
        api.client("app_other", [Scope.PLATFORM], SHOP.id) as shop,
    ):
        early = await mall.get(f"/v1/bills/{date}")
        assert (early.status_code, early.json()["code"]) == (409, "day_not_final")
        await over(pipeline, day)
        for who, query in (
            (OF_MALL, {}),
            (of_merchant(MERCHANT), {"merchant": MERCHANT.name}),
            (of_participant(PROMOTER), {"participant": "0x" + PROMOTER.id.hex()}),
        ):
            for form in BillFormat:
                expected = await content(pipeline.database, who, day, form)
                asked = query | {"format": form.value}
                plain = await mall.get(f"/v1/bills/{date}", params=asked)
                assert plain.content == expected
                packed = await mall.get(f"/v1/bills/{date}", params=asked | {"gzip": "true"})
                assert gzip.decompress(packed.content) == expected
                assert _hash_of(packed) != _hash_of(plain)
                assert plain.headers["bill-sha256"] == packed.headers["bill-sha256"]
                assert plain.headers["bill-sha256"] == sha256(expected).hexdigest()
                for reader in (api.operator, api.auditor):
                    told = await reader.get(f"/v1/bills/{date}", params=asked | {"platform": MALL.name})
                    assert told.content == expected
        for client, query, code in (
            (mall, {"platform": "shop"}, "unknown_platform"),
            (mall, {"participant": VENDOR.name}, "unknown_participant"),
            (mall, {"participant": "merchant", "merchant": "merchant"}, "invalid_bill"),
            (mall, {"format": "xml"}, "invalid_input"),
            (shop, {"participant": PROMOTER.name}, "unknown_participant"),
            (api.auditor, {}, "invalid_input"),
            (api.auditor, {"platform": "nobody"}, "unknown_platform"),
            (api.approver, {"platform": "mall"}, "insufficient_scope"),
        ):
            assert (await client.get(f"/v1/bills/{date}", params=query)).json()["code"] == code
        for wrong in ("2026-02-30", "today", "1969-01-01"):
            refused = await mall.get(f"/v1/bills/{wrong}")
            assert (refused.status_code, refused.json()["code"]) == (422, "invalid_day")


async def test_the_command_writes_the_bill_and_its_hash(
    pipeline: Pipeline, database_url: str, tmp_path: Path
) -> None:
    day = today(pipeline)
    await traffic(pipeline)
    await over(pipeline, day)
    date = day.date.isoformat()
    environment = {"FENZHANG_DATABASE_URL": database_url, "FENZHANG_BILL_DEPTH": "0"}
    command = [sys.executable, "-m", "fenzhang", "bill", "--platform", "mall", "--day", date]
    names = [f"bill-platform-mall-{date}.jsonl", f"bill-merchant-mall-merchant-{date}.csv"]

    for more, name in (
        ([], names[0]),
        (["--merchant", "merchant", "--format", "csv"], names[1]),
        (["--gzip"], names[0] + ".gz"),
    ):
        result = await _run([*command, *more], environment, tmp_path)
        assert (result.returncode, result.stderr) == (0, ""), result.stderr
        assert result.stdout.strip() == name

    assert (tmp_path / names[0]).read_bytes() == await content(pipeline.database, OF_MALL, day)
    packed = (tmp_path / (names[0] + ".gz")).read_bytes()
    assert gzip.decompress(packed) == (tmp_path / names[0]).read_bytes()
    assert packed[3:8] == bytes(5)  # no name, no time
    for name in names:
        checked = await _run(["sha256sum", "--check", "--strict", f"{name}.sha256"], {}, tmp_path)
        assert checked.returncode == 0, checked.stderr
    assert len((tmp_path / f"{names[0]}.sha256").read_text().splitlines()) == 2
    early = await _run(command, environment | {"FENZHANG_BILL_DEPTH": "200"}, tmp_path)
    assert early.returncode == 1
    assert "is final when" in early.stderr


async def _run(
    arguments: list[str], environment: dict[str, str], folder: Path
) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(
        subprocess.run,
        arguments,
        env=os.environ | environment | {"PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_time_zone_that_is_none_is_refused() -> None:
    for name, value in (("BILL_TIME_ZONE", "Mars/Olympus"), ("BILL_TIME_ZONES", '{"mall": "nowhere"}')):
        command = ["bill", "--platform", "mall", "--day", "2026-11-22"]
        result = CliRunner(env={f"FENZHANG_{name}": value}).invoke(cli, command)
        assert result.exit_code == 1
        assert "not a time zone" in str(result.exception)


def test_each_platform_may_have_days_of_its_own() -> None:
    settings = Settings(bill_time_zones={"mall": "Europe/Berlin"})
    assert [settings.zone_of(name).key for name in ("mall", "shop")] == ["Europe/Berlin", "Asia/Shanghai"]
