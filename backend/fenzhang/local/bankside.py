"""A bank beside a running system: the sandbox bank, what closes cycles and what pays, as processes of their own."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from fenzhang.devnet.processes import free_port
from fenzhang.domain.errors import FenzhangError
from fenzhang.local.children import Child, last_lines
from fenzhang.local.supervisor import ANVIL_CALLDATA_BYTES, HOST, Endpoints

DEPTH = 1
"""Blocks that must stand above one. The local chain does not reorganise by itself."""
_READY_TIMEOUT_S = 30.0
_LOOK_S = 0.1
_GRACE_S = 10.0


class BankFailed(FenzhangError):
    """The bank, or what works with it, did not come up."""

    code = "bank_failed"


def bank_environment(endpoints: Endpoints, calendars: Path, bank_url: str) -> dict[str, str]:
    """Settings of processes that work with the bank."""
    return {
        "FENZHANG_HOME": str(endpoints.home),
        "FENZHANG_RPC_URL": endpoints.rpc,
        "FENZHANG_DEPLOYMENT": str(endpoints.deployment),
        "FENZHANG_DATABASE_URL": "",
        "FENZHANG_MAX_CALLDATA_BYTES": str(ANVIL_CALLDATA_BYTES),
        "FENZHANG_CALENDARS": str(calendars),
        "FENZHANG_BANK_URL": bank_url,
        "FENZHANG_SIGNATORY_URL": bank_url,
        "FENZHANG_CLEARING_DEPTH": str(DEPTH),
        "FENZHANG_BILL_DEPTH": str(DEPTH),
        "FENZHANG_METRICS_PORT": "",
        "PYTHONUNBUFFERED": "1",
    }


@contextmanager
def bank_beside(endpoints: Endpoints, calendars: Path) -> Iterator[str]:
    """URL of a sandbox bank with new books; meanwhile cycles are closed and payouts go to it. Raises BankFailed."""
    port = free_port(HOST)
    url = f"http://{HOST}:{port}"
    environment = bank_environment(endpoints, calendars, url)
    logs = endpoints.home / "logs"
    books = endpoints.home / "sandbox-bank.db"
    for suffix in ("", "-wal", "-shm"):
        books.with_name(books.name + suffix).unlink(missing_ok=True)
    serve = [sys.executable, "-m", "fenzhang"]
    commands = {"sandbox-bank": [*serve, "sandbox-bank", "--port", str(port), "--database", str(books)]}
    commands |= {name: [*serve, "serve", name] for name in ("clearing", "payouts")}
    children = [Child(name, command, environment, logs / f"{name}.log") for name, command in commands.items()]
    try:
        for child in children:
            child.start()
        _await_bank(url, children)
        yield url
    finally:
        for child in reversed(children):
            child.end(_GRACE_S)


def _await_bank(url: str, children: list[Child]) -> None:
    deadline = time.monotonic() + _READY_TIMEOUT_S
    while not _answers(url):
        for child in children:
            if not child.running:
                raise BankFailed(f"{child.name} ended at once: {last_lines(child.log)}", log=str(child.log))
        if time.monotonic() > deadline:
            raise BankFailed(f"the bank did not answer within {_READY_TIMEOUT_S:g} s")
        time.sleep(_LOOK_S)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/sandbox/books", timeout=5.0).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


class Counter:
    """The sandbox bank's counter: accounts and money from outside."""

    def __init__(self, url: str) -> None:
        self._client = httpx.AsyncClient(base_url=url, timeout=30.0)

    async def open_accounts(self, accounts: list[dict[str, str]]) -> None:
        """Open accounts, or change those that are there."""
        await self._post("/sandbox/accounts", accounts)

    async def deposit(self, number: str, amount: int, reference: str) -> None:
        """Put money on an account, once per reference."""
        await self._post("/sandbox/deposits", {"number": number, "amount": amount, "reference": reference})

    async def paid_twice(self) -> int:
        """How many end-to-end ids were paid more than once."""
        found = (await self._client.get("/sandbox/books")).raise_for_status().json()
        return sum(times > 1 for times in found["times_paid"].values())

    async def close(self) -> None:
        """Close the connection."""
        await self._client.aclose()

    async def _post(self, path: str, content: Any) -> None:
        answer = await self._client.post(path, json=content)
        if answer.status_code != httpx.codes.OK:
            raise BankFailed(f"{path}: {answer.status_code} {answer.text[:300]}")
