"""`fenzhang key`: keys of the operator go into the keystore and never show."""

from __future__ import annotations

import os
from pathlib import Path

import orjson
import pytest

from fenzhang.chain.keystore import decrypt_key, encrypt_key
from fenzhang.chain.signer import LocalKey
from fenzhang.store import tables
from pipeline.harness import Pipeline
from pipeline.processes import CHEAP, PASSWORD
from support.processes import Processes

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)


@pytest.fixture(autouse=True)
def _cheap_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FENZHANG_KEYSTORE_WORK_FACTOR", str(CHEAP))


async def test_a_key_is_made_and_listed(pipeline: Pipeline, processes: Processes) -> None:
    code, out, err = await processes.run("key", "create", "submitter:1")
    assert code == 0, err
    made = orjson.loads(out)

    code, out, _ = await processes.run("key", "list")

    assert (code, orjson.loads(out)) == (0, [made])
    [row] = await pipeline.rows(tables.KeystoreKey)
    key = decrypt_key(row.keyfile, PASSWORD)
    assert made == {"label": "submitter:1", "address": "0x" + key.address.hex()}
    assert key.secret().hex() not in out + err


async def test_a_key_is_imported_from_a_key_file(
    pipeline: Pipeline, processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = LocalKey(os.urandom(32))
    file = tmp_path / "key.json"
    file.write_bytes(orjson.dumps(encrypt_key(key, "its own password", work_factor=CHEAP)))

    monkeypatch.setenv("FENZHANG_KEY_PASSWORD", "another")
    code, _, err = await processes.run("key", "import", "registrar", str(file))
    assert code == 1
    assert "does not open" in err
    monkeypatch.setenv("FENZHANG_KEY_PASSWORD", "its own password")
    code, out, err = await processes.run("key", "import", "registrar", str(file))

    assert code == 0, err
    assert orjson.loads(out)["address"] == "0x" + key.address.hex()
    [row] = await pipeline.rows(tables.KeystoreKey)
    assert decrypt_key(row.keyfile, PASSWORD).secret() == key.secret()


@pytest.mark.parametrize("label", ["platform:" + "00" * 32, "submitter:0", "submitter:64", "", "Registrar"])
async def test_other_labels_are_refused(pipeline: Pipeline, processes: Processes, label: str) -> None:
    code, _, err = await processes.run("key", "create", label)

    assert code == 1
    assert "submitter:1" in err
    assert await pipeline.rows(tables.KeystoreKey) == []


async def test_a_label_has_one_key(pipeline: Pipeline, processes: Processes) -> None:
    await processes.run("key", "create", "attestor")
    [before] = await pipeline.rows(tables.KeystoreKey)

    code, _, err = await processes.run("key", "create", "attestor")

    assert code == 1
    assert "there is a key 'attestor' already" in err
    [after] = await pipeline.rows(tables.KeystoreKey)
    assert after.address == before.address
