"""A deployed world on a hand-driven node, a database with its keys, and processes between them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fenzhang.chain.deployments import save
from fenzhang.chain.keystore import encrypt_key
from fenzhang.store import keys
from pipeline.conftest import built_world, pipeline, world
from pipeline.harness import Pipeline
from support.api import JWT_KEY
from support.parties import MALL, SHOP
from support.processes import Processes
from support.system import BANK, SUBMITTER

__all__ = ["built_world", "pipeline", "world"]
PASSWORD = "a password of the tests"
CHEAP = 1 << 4
"""scrypt's n for keys that need no guarding."""


@pytest.fixture
def processes(pipeline: Pipeline, tmp_path: Path) -> Iterator[Processes]:
    """Commands that see the pipeline's database, node and deployment."""
    deployment = tmp_path / "deployment.json"
    save(deployment, pipeline.world.system.deployment)
    processes = Processes(
        {
            "FENZHANG_HOME": str(tmp_path),
            "FENZHANG_DATABASE_URL": pipeline.database.url.render_as_string(hide_password=False),
            "FENZHANG_RPC_URL": pipeline.world.node.url,
            "FENZHANG_DEPLOYMENT": str(deployment),
            "FENZHANG_KEYSTORE_PASSWORD": PASSWORD,
            "FENZHANG_JWT_SECRET": JWT_KEY,
            "FENZHANG_LOG": "json",
        },
        tmp_path,
    )
    yield processes
    processes.end()


async def store_keys(pipeline: Pipeline) -> None:
    """The keys of submitter, bank and platforms, in the keystore."""
    stored = {
        keys.SUBMITTER: SUBMITTER,
        keys.ATTESTOR: BANK,
        keys.platform_label(MALL.id): MALL.key,
        keys.platform_label(SHOP.id): SHOP.key,
    }
    async with pipeline.database.write() as session:
        for label, key in stored.items():
            keys.add(session, label, key.address, encrypt_key(key, PASSWORD, work_factor=CHEAP))
