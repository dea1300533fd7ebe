"""A sender is killed between its steps, a bank is killed under it: the bank's process pays each payout once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from clearing.bankside import CUSTOMER, HONEST, SHOP
from fenzhang import crashpoints
from fenzhang.devnet.processes import free_port
from fenzhang.store.banktables import BankFile, BankPayment
from fenzhang.store.session import Database
from support.processes import Process, Processes

pytestmark = [pytest.mark.fault, pytest.mark.slow]
PROGRAM = Path(__file__).parent / "sending_process.py"
IDS = [f"E{number}" for number in range(1, 4)]


@dataclass
class Bank:
    """The sandbox bank's process."""

    processes: Processes
    folder: Path
    port: int
    process: Process | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start it, or start it again on its books."""
        books, drops = str(self.folder / "bank.db"), str(self.folder / "drops")
        self.process = self.processes.start(
            "sandbox-bank", "--port", str(self.port), "--database", books, "--folder", drops
        )
        await self.process.answers(self.url)

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self.process.kill()

    async def ask(self, method: str, path: str, content: Any = None) -> Any:
        """An answer of its."""
        async with httpx.AsyncClient(base_url=self.url) as client:
            answer = await client.request(method, path, json=content)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def furnish(self) -> None:
        """The shop's account with money on it, and that of the payee."""
        accounts = [
            {"number": each.account.number, "holder": each.holder, "currency": "CNY", "customer": customer}
            for each, customer in ((SHOP, CUSTOMER), (HONEST, ""))
        ]
        await self.ask("POST", "/sandbox/accounts", accounts)
        deposit = {"number": SHOP.account.number, "amount": 1_000_000, "reference": "D-1"}
        await self.ask("POST", "/sandbox/deposits", deposit)


@pytest.fixture
async def bank(tmp_path: Path) -> AsyncIterator[Bank]:
    processes = Processes({}, tmp_path)
    made = Bank(processes, tmp_path, free_port("127.0.0.1"))
    await made.start()
    await made.furnish()
    yield made
    processes.end()


@pytest.fixture(params=["http iso20022", "folder"])
def way(request: pytest.FixtureRequest, bank: Bank) -> str:
    """How the sender reaches the bank."""
    kind, _, file_format = str(request.param).partition(" ")
    return f"folder {bank.folder / 'drops'}" if kind == "folder" else f"http {bank.url} {file_format}"


def sending(url: str, way: str, crash_at: str = "") -> subprocess.Popen[str]:
    path = os.pathsep.join(sys.path)
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), url, way, "M1", *IDS],
        env={**os.environ, "PYTHONPATH": path, crashpoints.VARIABLE: crash_at},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


async def check_paid_once(bank: Bank, url: str) -> None:
    books = await bank.ask("GET", "/sandbox/books")
    assert books == {"totals": {"CNY": 0}, "times_paid": dict.fromkeys(IDS, 1)}
    async with Database(url) as database, database.read() as session:
        assert set((await session.execute(select(BankPayment.state))).scalars()) == {"PAID"}
        assert list((await session.execute(select(BankFile.state))).scalars()) == ["ACCEPTED"]


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize("point", crashpoints.BANK_POINTS)
async def test_a_sender_that_is_killed_leaves_nothing_unpaid_or_paid_twice(
    bank: Bank, way: str, database_url: str, point: str
) -> None:
    killed = sending(database_url, way, f"{point}:1")
    out, _ = killed.communicate(timeout=60)
    assert killed.returncode == -9, out

    again = sending(database_url, way)
    out, _ = again.communicate(timeout=60)

    assert again.returncode == 0, out
    assert "prepared before" in out
    await check_paid_once(bank, database_url)


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "faults",
    [
        {"lose_files": 1},
        {"lose_answers": 1},
        {"answer_after_s": 1.5},
        {"take_after_s": 1.0},
        {"pay_after_s": 1.0},
    ],
    ids=lambda faults: next(iter(faults)),
)
async def test_a_bank_that_is_late_or_silent_pays_once(
    bank: Bank, database_url: str, faults: dict[str, Any]
) -> None:
    await bank.ask("PUT", "/sandbox/faults", faults)

    running = sending(database_url, f"http {bank.url} iso20022")
    out, _ = running.communicate(timeout=60)

    assert running.returncode == 0, out
    await check_paid_once(bank, database_url)


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_a_bank_that_is_killed_and_comes_back_pays_once(bank: Bank, database_url: str) -> None:
    await bank.ask("PUT", "/sandbox/faults", {"pay_after_s": 1.0})
    running = sending(database_url, f"http {bank.url} iso20022")
    async with Database(database_url) as database:
        while True:
            async with database.read() as session:
                if "SENT" in set((await session.execute(select(BankPayment.state))).scalars()):
                    break
    bank.kill()
    await bank.start()
    out, _ = running.communicate(timeout=60)

    assert running.returncode == 0, out
    await check_paid_once(bank, database_url)


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_senders_that_are_killed_at_any_moment_leave_nothing_paid_twice(
    bank: Bank, way: str, database_url: str
) -> None:
    random = Random(way.split(maxsplit=1)[0])
    await bank.ask("PUT", "/sandbox/faults", {"lose_answers": 1, "take_after_s": 0.5, "pay_after_s": 0.5})
    for _ in range(5):
        killed = sending(database_url, way)
        with suppress(subprocess.TimeoutExpired):
            killed.communicate(timeout=random.uniform(0.8, 2.5))
        killed.kill()
        killed.communicate()

    last = sending(database_url, way)
    out, _ = last.communicate(timeout=60)

    assert last.returncode == 0, out
    await check_paid_once(bank, database_url)
