"""`/v1/participants/…/bank-accounts`: where a platform's participants are paid. Numbers go in, and never come out."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from fenzhang.api.auth import allow
from fenzhang.api.documentation import READ, WRITE, operation
from fenzhang.api.responses import OrjsonResponse
from fenzhang.api.routing import SecuredRoute
from fenzhang.api.schemas.cycles import BankAccountAnswer, BankAccountBody
from fenzhang.api.services import services_of
from fenzhang.api.types import Currency, ParticipantName
from fenzhang.clearing.accounts import account_of, store_account
from fenzhang.clearing.errors import BankDataUnreadable, InvalidBankAccount, UnknownAccount
from fenzhang.clearing.model import AccountNumber, AccountScheme, BankAccount
from fenzhang.domain.errors import InvalidInput
from fenzhang.domain.identifiers import hex_id
from fenzhang.intake.actor import Actor, Scope
from fenzhang.intake.participants import participant_named
from fenzhang.store.tables import Participant

router = APIRouter(route_class=SecuredRoute, tags=["Participants"])
Platform = Annotated[Actor, Depends(allow(Scope.PLATFORM))]
_PLATFORM = (Scope.PLATFORM,)
_PATH = "/v1/participants/{reference}/bank-accounts/{currency}"
_SHOWN_OF_NUMBER = 4


@router.put(_PATH, **operation({200: BankAccountAnswer}, *WRITE, scopes=_PLATFORM))
async def put_account(
    request: Request, reference: ParticipantName, currency: Currency, body: BankAccountBody, actor: Platform
) -> OrjsonResponse:
    """Say where a participant is paid in a currency, in place of what was said before. Twice is as good as once."""
    services = services_of(request)
    async with services.database.write() as session:
        participant = await participant_named(session, actor.namespace, reference)
        account = _account(body)
        try:
            known = await account_of(session, services.vault, participant.id, currency)
        except (UnknownAccount, BankDataUnreadable):
            known = None
        if known != account:
            await store_account(
                session, services.vault, participant.id, currency, account, now=int(time.time())
            )
    return OrjsonResponse(_answer(participant, currency, account))


@router.get(_PATH, **operation({200: BankAccountAnswer}, *READ, scopes=_PLATFORM))
async def get_account(
    request: Request, reference: ParticipantName, currency: Currency, actor: Platform
) -> OrjsonResponse:
    """Where a participant is paid in a currency, masked."""
    services = services_of(request)
    async with services.database.read() as session:
        participant = await participant_named(session, actor.namespace, reference)
        account = await account_of(session, services.vault, participant.id, currency)
    return OrjsonResponse(_answer(participant, currency, account))


def _account(body: BankAccountBody) -> BankAccount:
    """Raises InvalidBankAccount."""
    try:
        number = AccountNumber(AccountScheme(body.scheme), body.number)
        return BankAccount(number, body.holder, body.bank)
    except InvalidInput as wrong:
        raise InvalidBankAccount(wrong.field, wrong.message.removeprefix(f"{wrong.field}: ")) from None


def _answer(participant: Participant, currency: str, account: BankAccount) -> dict[str, Any]:
    return {
        "out_participant_no": participant.reference,
        "participant_id": hex_id(participant.id),
        "currency": currency,
        "scheme": account.account.scheme.value,
        "number": f"…{account.account.number[-_SHOWN_OF_NUMBER:]}",
        "holder": f"{account.holder[0]}…",
        "bank": account.bank,
    }
