"""`fenzhang serve payouts` and `fenzhang bank reencrypt`, as processes."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from clearing.bankside import HONEST, NOON, SHOP, furnish, order, payout_file
from fenzhang.clearing import accounts, payments
from fenzhang.clearing.formats import ISO20022
from fenzhang.clearing.vault import Vault, key_id
from fenzhang.devnet.processes import free_port
from fenzhang.sandboxbank.bank import SandboxBank
from fenzhang.sandboxbank.folder import FolderDesk
from fenzhang.store.banktables import BankPayment
from fenzhang.store.session import Database
from support.processes import Processes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True),
]
OLD, NEW = b"o" * 32, b"n" * 32


@pytest.fixture
async def processes(tmp_path: Path, database_url: str) -> AsyncIterator[Processes]:
    environment = {
        "FENZHANG_HOME": str(tmp_path / "home"),
        "FENZHANG_DATABASE_URL": database_url,
        "FENZHANG_BANK_KEYS": OLD.hex(),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    made = Processes(environment, tmp_path)
    yield made
    made.end()


async def _prepare(database: Database, message_id: str, end_to_end_id: str) -> None:
    async with database.write() as session:
        file = payout_file(message_id, order(end_to_end_id))
        await payments.prepare(session, Vault([OLD]), "sandbox", ISO20022, file, now=1)


async def test_prepared_payouts_are_sent_and_statements_read(
    database: Database, processes: Processes, tmp_path: Path
) -> None:
    clock_ahead = time.time() - NOON  # so that the statement is of one of the last days
    sandbox = SandboxBank(tmp_path / "bank.db", lambda: NOON + clock_ahead)
    furnish(sandbox)
    sandbox.books.deposit(HONEST.account, 500, "D-2")
    desk = FolderDesk(sandbox, tmp_path / "drops")
    foreign = ISO20022.write_payouts(payout_file("M0", order("X1")))
    assert sandbox.receive(foreign, ISO20022).outcome is not None
    await _prepare(database, "M1", "E1")

    port = free_port("127.0.0.1")
    serving = processes.start("serve", "payouts", "--folder", str(tmp_path / "drops"), metrics_port=str(port))
    states: list[str] = []
    deadline = time.monotonic() + 60
    while states != ["PAID"] or "NOT_OURS" not in serving.said:
        assert time.monotonic() < deadline, serving.said
        assert serving.popen.poll() is None, serving.said
        await asyncio.to_thread(desk.tick)
        await asyncio.sleep(0.1)
        async with database.read() as session:
            states = list((await session.execute(select(BankPayment.state))).scalars())

    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        ready = await client.get("/readyz")
        counted = await client.get("/metrics")
    assert (ready.status_code, ready.json()["stages"][0]["active"]) == (200, True)
    assert "fenzhang_payouts_changed_total 1.0" in counted.text
    assert await serving.stop() == 0
    assert "end_to_end_id X1" in serving.said
    for secret in (SHOP.account.number, HONEST.account.number, HONEST.holder):
        assert secret not in serving.said
    assert sandbox.books.times_paid() == {"E1": 1, "X1": 1}
    sandbox.books.close()


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ((), "--url"),
        (("--url", "http://x", "--folder", "y"), "--url"),
        (("--url", "http://x", "--format", "mt940"), "--format"),
        (("--folder", "y", "--format", "csv"), "--format"),
        (("--folder", "y", "--name", ""), "--name"),
    ],
)
async def test_a_bank_that_is_none_is_refused(
    processes: Processes, arguments: tuple[str, ...], field: str
) -> None:
    code, _, said = await processes.run("serve", "payouts", *arguments)

    assert code == 1
    assert said.startswith(f"fenzhang: {field}: ")


async def test_bank_data_moves_to_the_newest_key(database: Database, processes: Processes) -> None:
    participant = b"\1" * 32
    await _prepare(database, "M1", "E1")
    async with database.write() as session:
        await accounts.store_account(session, Vault([OLD]), participant, "CNY", HONEST, now=1)

    code, _, said = await processes.run("bank", "reencrypt", bank_keys=NEW.hex())
    assert (code, said) == (
        1,
        f"fenzhang: what is stored is encrypted with the key {key_id(OLD).hex()}, which is not here\n",
    )
    both = f"{NEW.hex()},{OLD.hex()}"
    code, said, _ = await processes.run("bank", "reencrypt", bank_keys=both)
    assert (code, said) == (0, "2 encrypted with the newest key\n")
    assert (await processes.run("bank", "reencrypt", bank_keys=both))[1].startswith("0 ")
    async with database.read() as session:
        assert await accounts.account_of(session, Vault([NEW]), participant, "CNY") == HONEST
