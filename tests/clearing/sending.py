"""A sender with its database and statements, a network, and a bank with its books; the clock is one that tests turn."""

from __future__ import annotations

from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any, Final

import httpx
from sqlalchemy import select

from clearing.bankside import CUSTOMER, NOON, VAULT, Died, Network, furnish, payout_file
from fenzhang.clearing import payments
from fenzhang.clearing.banks.http import HttpBank
from fenzhang.clearing.formats import ISO20022, Format
from fenzhang.clearing.model import PayoutState
from fenzhang.clearing.reconciliation.reading import StatementReader
from fenzhang.clearing.reconciliation.running import Reconciler
from fenzhang.clearing.reconciliation.terms import Terms
from fenzhang.clearing.sender import PayoutSender
from fenzhang.sandboxbank.app import create_app
from fenzhang.sandboxbank.bank import SandboxBank
from fenzhang.store.banktables import BankFile, BankFileState, BankPayment
from fenzhang.store.banktables import BankPaymentState as State
from fenzhang.store.reconciliationtables import Break
from fenzhang.store.session import Database

RESEND_AFTER_S: Final = 100


class System:
    """A sender with its database, a network, and a bank with its books; the clock is one that tests turn."""

    def __init__(self, database_url: str, folder: Path, bank_format: Format = ISO20022) -> None:
        self.now = NOON
        self.database = Database(database_url)
        self.sandbox = SandboxBank(folder / "bank.db", lambda: self.now)
        furnish(self.sandbox)
        self.network = Network(httpx.ASGITransport(create_app(self.sandbox)))
        self.bank = HttpBank("sandbox", "http://bank", bank_format, customer=CUSTOMER, transport=self.network)
        self.network.known = self._is_known
        self.sender = PayoutSender(
            self.database, VAULT, self.bank, lambda: self.now, resend_after_s=RESEND_AFTER_S
        )

        self.reconciler = Reconciler(self.database, Terms(), clock=lambda: self.now)
        self.reader = StatementReader(self.reconciler, VAULT, self.bank, lambda: self.now)

    def _is_known(self, content: bytes) -> bool:
        ids = [payout.end_to_end_id for payout in self.bank.format.read_payouts(content).payouts]
        said = self.sandbox.books.statuses(ids).values()
        return any(status.state is not PayoutState.NOT_KNOWN for status in said)

    async def prepare(self, message_id: str, *payouts: Any) -> None:
        """Store a file of payouts."""
        file = payout_file(message_id, *payouts, at=self.now)
        async with self.database.write() as session:
            await payments.prepare(session, VAULT, "sandbox", self.bank.format, file, now=int(self.now))

    async def tick(self) -> None:
        """One round of the sender, which may die in it."""
        with suppress(Died):
            await self.sender.tick()

    async def states(self) -> dict[str, State]:
        """Of all payouts, by end-to-end id."""
        async with self.database.read() as session:
            rows = await session.execute(select(BankPayment.end_to_end_id, BankPayment.state))
            return {row[0]: State(row[1]) for row in rows}

    async def file_states(self) -> dict[str, BankFileState]:
        """Of all files, by message id."""
        async with self.database.read() as session:
            rows = await session.execute(select(BankFile.message_id, BankFile.state))
            return {row[0]: BankFileState(row[1]) for row in rows}

    async def read_statements(self) -> dict[str, str]:
        """Read all of the bank's statements; kinds of all breaks that are there, by subject."""
        await self.reader.read(date(2026, 11, 1))
        async with self.database.read() as session:
            rows = await session.execute(select(Break.subject, Break.kind).where(Break.present))
            return {row[0]: row[1] for row in rows}

    async def close(self) -> None:
        """Close all of it."""
        await self.bank.close()
        await self.database.close()
        self.sandbox.books.close()
