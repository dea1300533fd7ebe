"""Bank accounts are unreadable without the key, bound to their row, and move to a new key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update

from clearing.bankside import HONEST, SHOP, order, payout_file
from fenzhang.clearing import accounts, payments
from fenzhang.clearing.errors import BankDataUnreadable, UnknownAccount
from fenzhang.clearing.formats import ISO20022
from fenzhang.clearing.vault import Vault
from fenzhang.domain.errors import InvalidInput, UnknownCurrency
from fenzhang.store.banktables import BankAccountRow, BankFile
from fenzhang.store.session import Database

OLD, NEW = b"o" * 32, b"n" * 32
ONE, OTHER = b"\1" * 32, b"\2" * 32


@given(st.binary(max_size=100), st.binary(max_size=50))
def test_what_was_sealed_opens_in_its_context(plain: bytes, context: bytes) -> None:
    vault = Vault([NEW, OLD])

    assert vault.open(vault.seal(plain, context), context) == plain
    assert vault.open(Vault([OLD]).seal(plain, context), context) == plain


@given(st.data())
def test_nothing_else_opens(data: st.DataObject) -> None:
    vault = Vault([NEW])
    sealed = vault.seal(b"account", b"context")
    place = data.draw(st.integers(0, len(sealed) - 1))
    changed = bytearray(sealed)
    changed[place] ^= data.draw(st.integers(1, 255))

    for content, context in (
        (bytes(changed), b"context"),
        (sealed, b"contexts"),
        (sealed[:-1], b"context"),
        (b"", b""),
    ):
        with pytest.raises(BankDataUnreadable):
            vault.open(content, context)
    with pytest.raises(BankDataUnreadable):
        Vault([OLD]).open(sealed, b"context")


def test_a_vault_shows_no_key_and_seals_nothing_alike() -> None:
    vault = Vault.from_text(f"{NEW.hex()},\n{OLD.hex()}")

    assert NEW.hex() not in repr(vault)
    assert vault.seal(b"x", b"") != vault.seal(b"x", b"")


@pytest.mark.parametrize("text", ["", "00", "zz" * 32, f"{OLD.hex()},11"])
def test_keys_that_are_none_are_refused_without_being_shown(text: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        Vault.from_text(text)

    assert not text or text not in str(refusal.value)


async def test_an_account_is_stored_replaced_and_read(database: Database) -> None:
    vault = Vault([OLD])
    async with database.write() as session:
        await accounts.store_account(session, vault, ONE, "CNY", SHOP, now=1)
        await accounts.store_account(session, vault, ONE, "CNY", HONEST, now=2)
        await accounts.store_account(session, vault, ONE, "EUR", SHOP, now=2)

    async with database.read() as session:
        assert await accounts.account_of(session, vault, ONE, "CNY") == HONEST
        assert await accounts.account_of(session, vault, ONE, "EUR") == SHOP
        with pytest.raises(UnknownAccount):
            await accounts.account_of(session, vault, OTHER, "CNY")
        [row] = (
            await session.execute(select(BankAccountRow).where(BankAccountRow.currency == "CNY"))
        ).scalars()
    for secret in (HONEST.account.number, HONEST.holder, HONEST.bank):
        assert secret.encode() not in row.sealed
    async with database.write() as session:
        with pytest.raises(UnknownCurrency):
            await accounts.store_account(session, vault, ONE, "XXX", HONEST, now=2)


async def test_an_account_that_was_moved_to_somebody_else_cannot_be_read(database: Database) -> None:
    vault = Vault([OLD])
    async with database.write() as session:
        await accounts.store_account(session, vault, ONE, "CNY", HONEST, now=1)
        await session.execute(update(BankAccountRow).values(participant_id=OTHER))

    async with database.read() as session:
        with pytest.raises(BankDataUnreadable) as refusal:
            await accounts.account_of(session, vault, OTHER, "CNY")
    assert HONEST.account.number not in str(refusal.value)


async def test_accounts_and_files_move_to_a_new_key(database: Database) -> None:
    both = Vault([NEW, OLD])
    async with database.write() as session:
        for number in range(150):
            await accounts.store_account(session, Vault([OLD]), bytes([number]) * 32, "CNY", HONEST, now=1)
        file = payout_file("M1", order("E1"))
        file_id = await payments.prepare(session, Vault([OLD]), "bank", ISO20022, file, now=1)

    moved = 1
    total = 0
    while moved:
        async with database.write() as session:
            moved = await accounts.reencrypt(session, both)
        total += moved

    assert total == 151
    async with database.write() as session:
        assert await accounts.account_of(session, Vault([NEW]), bytes(32), "CNY") == HONEST
        with pytest.raises(BankDataUnreadable):
            await accounts.account_of(session, Vault([OLD]), bytes(32), "CNY")
        sending = await payments.begin_attempt(session, Vault([NEW]), file_id, 1, now=2)
        assert sending is not None
        assert ISO20022.read_payouts(sending.content) == file
        [sha256] = (await session.execute(select(BankFile.sha256))).scalars()
        assert len(sha256) == 32
