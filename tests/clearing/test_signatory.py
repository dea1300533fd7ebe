"""The clearing bank's signature, from a key of one's own and from the sandbox bank, which looks before it signs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.bankside import CLOSED, HONEST, NOON, RETURNING, furnish, order, payout_file
from fenzhang.chain.clearing import cycle_id, payout_id, payout_root
from fenzhang.chain.eip712 import clearing_domain, cycle_digest, report_digest
from fenzhang.chain.keystore import DEVNET_CHAIN_ID
from fenzhang.chain.signer import recover
from fenzhang.clearing.banks.httpsignatory import HttpSignatory
from fenzhang.clearing.banks.interface import Refused
from fenzhang.clearing.banks.signatory import LocalSignatory, Signed
from fenzhang.clearing.errors import BankUnavailable
from fenzhang.clearing.formats import ISO20022
from fenzhang.clearing.model import END_TO_END_ID, BankAccount
from fenzhang.domain.clearing import Cycle, Outcome, OutcomeKind, Payout, end_to_end_id
from fenzhang.sandboxbank.app import create_app
from fenzhang.sandboxbank.bank import SandboxBank
from support.system import CLEARING_BANK

DOMAIN = clearing_domain(DEVNET_CHAIN_ID, b"h" * 20)
PAYOUTS = tuple(Payout(index, bytes([index + 1]) * 32, 1_000 + index) for index in range(3))
ID = cycle_id("CNY", "standard", 7)
IDS = tuple(payout_id(ID, payout) for payout in PAYOUTS)
CYCLE = Cycle(
    currency="CNY",
    scheme="standard",
    number=7,
    to_block=100,
    at_block=120,
    payouts=3,
    total=3_003,
    payout_root=payout_root(ID, PAYOUTS),
    bill_root=bytes(32),
    journal_head=b"j" * 32,
    deadline=2**40,
)


@dataclass
class Asked:
    """The sandbox bank, and who asks it to sign."""

    bank: SandboxBank
    signatory: HttpSignatory

    def pays(self, *creditors: BankAccount) -> None:
        """The payouts of the cycle arrive in a file."""
        orders = [
            order(end_to_end_id(number), payout.amount, creditor)
            for number, payout, creditor in zip(IDS, PAYOUTS, creditors, strict=True)
        ]
        self.bank.receive(ISO20022.write_payouts(payout_file("M1", *orders)), ISO20022)

    async def reports(self, index: int, kind: OutcomeKind, reason: str = "") -> Signed | Refused:
        """What it says to a report of one outcome."""
        return await self.signatory.sign_report(ID, [Outcome(IDS[index], kind, reason)])


@pytest.fixture
async def asked(tmp_path: Path) -> AsyncIterator[Asked]:
    bank = SandboxBank(tmp_path / "bank.db", lambda: NOON)
    furnish(bank)
    transport = httpx.ASGITransport(create_app(bank))
    async with HttpSignatory("http://bank", DOMAIN, transport=transport) as signatory:
        yield Asked(bank, signatory)
    bank.books.close()


async def test_key_and_bank_sign_the_same(asked: Asked) -> None:
    local = LocalSignatory(CLEARING_BANK, DOMAIN)
    signed = await asked.signatory.sign_cycle(CYCLE, PAYOUTS)
    assert isinstance(signed, Signed)
    assert signed == await local.sign_cycle(CYCLE, PAYOUTS)
    assert recover(cycle_digest(DOMAIN, CYCLE), signed.signature) == signed.bank == CLEARING_BANK.address
    asked.pays(HONEST, HONEST, HONEST)
    outcomes = [Outcome(number, OutcomeKind.PAID) for number in IDS]
    reported = await asked.signatory.sign_report(ID, outcomes)
    assert reported == await local.sign_report(ID, outcomes)
    assert isinstance(reported, Signed)
    assert recover(report_digest(DOMAIN, ID, outcomes), reported.signature) == CLEARING_BANK.address


@pytest.mark.parametrize(
    ("cycle", "payouts", "reason"),
    [
        (replace(CYCLE, payouts=2), PAYOUTS, "ORDER"),
        (CYCLE, PAYOUTS[::-1], "ORDER"),
        (replace(CYCLE, total=3_004), PAYOUTS, "TOTAL"),
        (replace(CYCLE, number=8), PAYOUTS, "ROOT"),
        (CYCLE, (*PAYOUTS[:2], replace(PAYOUTS[2], participant=b"x" * 32)), "ROOT"),
        (replace(CYCLE, payouts=0, total=0), (), "ROOT"),
    ],
)
async def test_the_bank_signs_no_cycle_that_is_not_what_it_says(
    asked: Asked, cycle: Cycle, payouts: tuple[Payout, ...], reason: str
) -> None:
    assert await asked.signatory.sign_cycle(cycle, payouts) == Refused(reason)


async def test_a_cycle_that_pays_nothing_is_signed(asked: Asked) -> None:
    nothing = replace(CYCLE, payouts=0, total=0, payout_root=bytes(32))
    assert isinstance(await asked.signatory.sign_cycle(nothing, ()), Signed)


async def test_the_bank_signs_for_the_devnet_alone(asked: Asked) -> None:
    transport = httpx.ASGITransport(create_app(asked.bank))
    async with HttpSignatory("http://bank", clearing_domain(1, b"h" * 20), transport=transport) as elsewhere:
        assert await elsewhere.sign_cycle(CYCLE, PAYOUTS) == Refused("CHAIN")
        assert await elsewhere.sign_report(ID, []) == Refused("CHAIN")


async def test_the_bank_reports_what_its_books_say_and_nothing_else(asked: Asked) -> None:
    paid, failed, returned = OutcomeKind
    assert await asked.reports(0, paid) == Refused("NOTSIGNED")
    await asked.signatory.sign_cycle(CYCLE, PAYOUTS)
    for kind, reason in ((paid, "NOTPAID"), (failed, "NOTFAILED"), (returned, "NOTRETURNED")):
        assert await asked.reports(0, kind) == Refused(reason)

    asked.pays(HONEST, CLOSED, RETURNING)

    assert isinstance(await asked.reports(0, paid), Signed)
    assert await asked.reports(0, failed, "AC04") == Refused("NOTFAILED")
    assert await asked.reports(0, returned, "AC04") == Refused("NOTRETURNED")
    assert await asked.reports(1, paid) == Refused("NOTPAID")
    assert isinstance(await asked.reports(1, failed, "AC04"), Signed)
    for kind in (paid, returned, failed):  # it went and came back: all of these tell where the money is
        assert isinstance(await asked.reports(2, kind, "AC04" if kind else ""), Signed)


async def test_one_untruth_spoils_a_report(asked: Asked) -> None:
    await asked.signatory.sign_cycle(CYCLE, PAYOUTS)
    asked.pays(HONEST, CLOSED, HONEST)
    outcomes = [Outcome(number, OutcomeKind.PAID) for number in IDS]
    assert await asked.signatory.sign_report(ID, outcomes) == Refused("NOTPAID")


async def test_another_amount_is_not_that_payout(asked: Asked) -> None:
    await asked.signatory.sign_cycle(CYCLE, PAYOUTS)
    file = payout_file("M1", order(end_to_end_id(IDS[0]), PAYOUTS[0].amount + 1))
    asked.bank.receive(ISO20022.write_payouts(file), ISO20022)
    assert await asked.reports(0, OutcomeKind.PAID) == Refused("AMOUNT")


async def test_a_bank_that_says_nothing_useful_is_away() -> None:
    for answer in (
        httpx.Response(500, json={"reason": "X"}),
        httpx.Response(200, json={"bank": "0x00", "signature": "0x00"}),
        httpx.Response(200, text="yes"),
        httpx.Response(200, json=[]),
    ):
        transport = httpx.MockTransport(lambda _, told=answer: told)
        async with HttpSignatory("http://bank", DOMAIN, transport=transport) as signatory:
            with pytest.raises(BankUnavailable):
                await signatory.sign_cycle(CYCLE, PAYOUTS)


@given(st.binary(min_size=32, max_size=32))
def test_banks_take_the_names_of_payouts(payout: bytes) -> None:
    name = end_to_end_id(payout)
    assert len(name) == 34
    assert END_TO_END_ID.fullmatch(name)
