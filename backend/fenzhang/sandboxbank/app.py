"""The sandbox bank over HTTP. It has no access control and belongs on 127.0.0.1."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Annotated, Literal

from fastapi import FastAPI, Header, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from fenzhang.clearing.formats import FORMATS
from fenzhang.clearing.model import AccountNumber, AccountScheme, BankAccount
from fenzhang.domain.errors import InvalidInput
from fenzhang.domain.money import check_amount, check_currency
from fenzhang.sandboxbank.bank import DocumentKind, SandboxBank
from fenzhang.sandboxbank.books import SAME_MESSAGE_ID
from fenzhang.sandboxbank.faults import Faults
from fenzhang.sandboxbank.signing import Desk, add_signing

FormatName = Literal["iso20022", "csv"]


class Numbered(BaseModel):
    """An account."""

    model_config = ConfigDict(extra="forbid")
    scheme: AccountScheme = AccountScheme.OTHER
    number: str

    def account(self) -> AccountNumber:
        """Checked. Raises InvalidInput."""
        return AccountNumber(self.scheme, self.number)


class NewAccount(Numbered):
    """An account to open or to change."""

    holder: str
    currency: str
    customer: Annotated[str, Field(max_length=35)] = ""
    """Who may pay from it and gets its statements; empty for an account that is only paid to."""
    state: Literal["open", "closed", "returns"] = "open"


class NewDeposit(Numbered):
    """Money from outside."""

    amount: int
    reference: Annotated[str, Field(pattern=r"^D[A-Za-z0-9.\-]{0,33}$")]
    """Begins with D; the same reference moves money once."""


class Queried(BaseModel):
    """Payouts that are asked about."""

    model_config = ConfigDict(extra="forbid")
    end_to_end_ids: Annotated[list[str], Field(max_length=1_000)]


def create_app(bank: SandboxBank) -> FastAPI:
    """The application. What a customer uses stands at the top, what the sandbox adds under /sandbox."""
    app = FastAPI(title="fenzhang sandbox bank", docs_url=None, redoc_url=None)
    _add_customers_part(app, bank)
    _add_sandbox_part(app, bank)
    add_signing(app, Desk.of_devnet(bank.books))

    @app.exception_handler(InvalidInput)
    async def _refuse(_request: Request, error: InvalidInput) -> JSONResponse:
        return JSONResponse({"field": error.field, "message": error.message}, 422)

    return app


def _add_customers_part(app: FastAPI, bank: SandboxBank) -> None:
    @app.post("/files")
    async def take(request: Request, content_type: Annotated[str, Header()]) -> JSONResponse:
        """Take a file of payouts: 202; the same file again gets the same answer."""
        found = [each for each in FORMATS.values() if each.content_type == content_type.partition(";")[0]]
        if not found:
            return JSONResponse({"reason": "NARR", "problem": "application/xml or text/csv"}, 415)
        answer = await asyncio.to_thread(bank.receive, await request.body(), found[0])
        await asyncio.sleep(answer.after_s)
        if answer.outcome is None:
            return JSONResponse({"problem": "no answer"}, 504)
        if answer.outcome.refused is None:
            return JSONResponse({"message_id": answer.outcome.message_id}, 202)
        status = 409 if answer.outcome.refused == SAME_MESSAGE_ID else 422
        return JSONResponse({"reason": answer.outcome.refused, "problem": answer.problem}, status)

    @app.post("/payments/query")
    def query(queried: Queried) -> dict[str, dict[str, str | None]]:
        """What the bank knows of payouts, by end-to-end id."""
        found = bank.statuses(queried.end_to_end_ids)
        return {each: {"state": status.state, "reason": status.reason} for each, status in found.items()}

    @app.get("/customers/{customer}/{kind}")
    def documents(
        customer: str,
        kind: DocumentKind,
        since: Annotated[date, Query()],
        name: Annotated[FormatName, Query(alias="format")] = "iso20022",
    ) -> dict[str, list[str]]:
        """Statements, one per day, or notifications, one per movement, as documents."""
        write = FORMATS[name].write_report
        return {"documents": [write(report).decode() for report in bank.reports(customer, kind, since)]}


def _add_sandbox_part(app: FastAPI, bank: SandboxBank) -> None:
    @app.post("/sandbox/accounts")
    def open_accounts(accounts: list[NewAccount]) -> dict[str, int]:
        """Open accounts, or change those that are there."""
        for each in accounts:
            bank.books.open_account(
                BankAccount(each.account(), each.holder),
                check_currency("currency", each.currency),
                customer=each.customer,
                state=each.state,
            )
        return {"accounts": len(accounts)}

    @app.post("/sandbox/deposits")
    def deposit(made: NewDeposit) -> dict[str, int]:
        """Put money on an account, once per reference."""
        bank.books.deposit(made.account(), check_amount("amount", made.amount), made.reference)
        return {"balance": bank.books.balance(f"{made.scheme}:{made.number}")}

    @app.post("/sandbox/balance")
    def balance(account: Numbered) -> dict[str, int]:
        """Booked balance of an account, minor units."""
        bank.advance()
        return {"balance": bank.books.balance(f"{account.scheme}:{account.number}")}

    @app.get("/sandbox/books")
    def books() -> dict[str, dict[str, int]]:
        """Per currency the sum of all balances (zero); per end-to-end id how often it was paid."""
        bank.advance()
        return {"totals": bank.books.totals(), "times_paid": bank.books.times_paid()}

    @app.get("/sandbox/faults")
    def faults() -> Faults:
        """Those in force."""
        return bank.books.faults()

    @app.put("/sandbox/faults")
    def set_faults(faults: Faults) -> Faults:
        """From now on; what is not named is off."""
        bank.books.set_faults(faults)
        return faults
