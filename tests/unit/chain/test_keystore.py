"""Keys at rest, and the keys that everybody knows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from eth_account import Account

from fenzhang.chain.errors import DevKeyRefused, KeyFileInvalid, WrongPassword
from fenzhang.chain.keystore import (
    DEVNET_CHAIN_ID,
    WELL_KNOWN_ADDRESSES,
    decrypt_key,
    encrypt_key,
    load_key,
    refuse_dev_key,
)
from fenzhang.chain.signer import LocalKey
from fenzhang.devnet import CHAIN_ID, DEV_ACCOUNTS, DEV_MNEMONIC

CHEAP = 4
"""Work factor for tests."""
KEY = LocalKey(bytes(range(1, 33)))


def test_a_key_file_opens_with_its_password_here_and_elsewhere() -> None:
    keyfile = encrypt_key(KEY, "correct horse", work_factor=CHEAP)
    assert decrypt_key(keyfile, "correct horse").secret() == KEY.secret()
    assert bytes(Account.decrypt(keyfile, "correct horse")) == KEY.secret()
    assert KEY.secret().hex() not in json.dumps(keyfile)
    assert keyfile["version"] == 3


def test_a_key_file_made_elsewhere_opens() -> None:
    keyfile = Account.encrypt(KEY.secret(), "pässword", kdf="pbkdf2", iterations=10)
    assert decrypt_key(keyfile, "pässword").address == KEY.address


def test_the_standard_work_factor_is_that_of_web3_secret_storage() -> None:
    assert encrypt_key(KEY, "x")["crypto"]["kdfparams"]["n"] == 262_144


def test_another_password_does_not_open_it() -> None:
    keyfile = encrypt_key(KEY, "one", work_factor=CHEAP)
    with pytest.raises(WrongPassword):
        decrypt_key(keyfile, "two")


@pytest.mark.parametrize(
    "keyfile",
    [{}, {"version": 3}, {"version": 3, "crypto": {}}, {"version": 9, "crypto": {}}, {"version": "3"}],
)
def test_what_is_no_key_file_is_named_so(keyfile: dict[str, object]) -> None:
    with pytest.raises(KeyFileInvalid):
        decrypt_key(keyfile, "x")


def test_a_key_is_read_from_a_key_file_or_from_digits(tmp_path: Path) -> None:
    plain, sealed = tmp_path / "plain", tmp_path / "sealed.json"
    sealed.write_text(json.dumps(encrypt_key(KEY, "pw", work_factor=CHEAP)))
    for text in (KEY.secret().hex(), f"0x{KEY.secret().hex()}\n"):
        plain.write_text(text)
        assert load_key(plain).address == KEY.address
    assert load_key(sealed, "pw").address == KEY.address
    with pytest.raises(WrongPassword, match="needed"):
        load_key(sealed)


@pytest.mark.parametrize("content", ["", "0x12", "zz" * 32, "{", "[]", "00" * 32, "ff" * 32, "é"])
def test_a_file_without_a_key_is_named_and_its_content_is_not(tmp_path: Path, content: str) -> None:
    path = tmp_path / "key"
    path.write_text(content)
    with pytest.raises(KeyFileInvalid) as caught:
        load_key(path, "pw")
    assert str(path) in str(caught.value)
    assert len(content) < 3 or content not in str(caught.value)


def test_nobody_is_asked_for_the_password_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "deployment.json"
    path.write_text('{"format": 1}')
    with pytest.raises(KeyFileInvalid, match=r"deployment\.json"):
        load_key(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileInvalid, match="absent"):
        load_key(tmp_path / "absent")


def test_the_well_known_accounts_are_the_first_twenty_of_the_test_mnemonic() -> None:
    Account.enable_unaudited_hdwallet_features()
    derived = {
        Account.from_mnemonic(DEV_MNEMONIC, account_path=f"m/44'/60'/0'/0/{index}").address
        for index in range(20)
    }
    assert {"0x" + address.hex() for address in WELL_KNOWN_ADDRESSES} == {a.lower() for a in derived}
    assert {bytes.fromhex(account.address[2:]) for account in DEV_ACCOUNTS} <= WELL_KNOWN_ADDRESSES


def test_a_key_that_everybody_knows_serves_on_the_devnet_alone() -> None:
    known = bytes.fromhex(DEV_ACCOUNTS[0].address[2:])
    assert DEVNET_CHAIN_ID == CHAIN_ID
    refuse_dev_key(known, CHAIN_ID)
    refuse_dev_key(KEY.address, 1)
    for chain_id in (1, 31337, CHAIN_ID + 1):
        with pytest.raises(DevKeyRefused) as caught:
            refuse_dev_key(known, chain_id)
        assert caught.value.values == {"address": known, "chain_id": chain_id}
