"""A sender as a process of its own, for tests that kill it.

It prepares a file unless it is there, and ticks until all payouts have ended. Arguments: database URL, bank
("http URL FORMAT" or "folder DIR"), message id, end-to-end ids. The crash point is told by the environment.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from sqlalchemy import select

from clearing.bankside import CUSTOMER, VAULT, order, payout_file
from fenzhang import crashpoints
from fenzhang.chain.keystore import DEVNET_CHAIN_ID
from fenzhang.clearing import payments
from fenzhang.clearing.banks.folder import FolderBank
from fenzhang.clearing.banks.http import HttpBank
from fenzhang.clearing.banks.interface import Bank
from fenzhang.clearing.errors import BankUnavailable, DuplicatePayout
from fenzhang.clearing.formats import FORMATS
from fenzhang.clearing.sender import PayoutSender
from fenzhang.clearing.states import OPEN
from fenzhang.store.banktables import BankPayment
from fenzhang.store.session import Database

RESEND_AFTER_S = 2.0


def say(what: str) -> None:
    """To whoever started this."""
    sys.stdout.write(what + "\n")


def bank_of(told: str) -> Bank:
    """The bank that the argument names."""
    kind, place, *rest = told.split()
    if kind == "folder":
        return FolderBank("sandbox", Path(place))
    return HttpBank("sandbox", place, FORMATS[rest[0]], customer=CUSTOMER, timeout_s=0.5)


async def send(url: str, bank: Bank, message_id: str, ids: list[str]) -> None:
    """Until nothing is open."""
    async with Database(url) as database:
        try:
            async with database.write() as session:
                file = payout_file(message_id, *(order(each) for each in ids), at=time.time())
                await payments.prepare(session, VAULT, "sandbox", bank.format, file, now=int(time.time()))
        except DuplicatePayout:
            say("prepared before")
        sender = PayoutSender(database, VAULT, bank, time.time, resend_after_s=RESEND_AFTER_S)
        while True:
            try:
                await sender.tick()
            except BankUnavailable as error:
                say(error.message)
            async with database.read() as session:
                states = list((await session.execute(select(BankPayment.state))).scalars())
            if not OPEN & set(states):
                return
            await asyncio.sleep(0.1)


async def _main() -> None:
    url, told, message_id, *ids = sys.argv[1:]
    crashpoints.arm(DEVNET_CHAIN_ID)
    bank = bank_of(told)
    try:
        await send(url, bank, message_id, ids)
    finally:
        if isinstance(bank, HttpBank):
            await bank.close()


if __name__ == "__main__":
    asyncio.run(_main())
