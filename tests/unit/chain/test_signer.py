"""Signatures and transactions, byte for byte those of eth-account; recovery as strict as the contracts'."""

from __future__ import annotations

from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from fenzhang.chain.signer import LocalKey, TransactionRequest, recover
from unit.chain import values

SECRET = bytes(range(1, 33))
KEY = LocalKey(SECRET)
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


@given(
    chain_id=st.integers(1, 2**53),
    nonce=st.integers(0, 2**63),
    to=st.none() | values.addresses,
    data=st.binary(max_size=300),
    gas_limit=st.integers(21_000, 2**24),
    max_fee=st.integers(0, 2**70),
    priority_fee=st.integers(0, 2**70),
    value=st.integers(0, 2**90),
)
def test_transactions_are_those_of_eth_account(
    *,
    chain_id: int,
    nonce: int,
    to: bytes | None,
    data: bytes,
    gas_limit: int,
    max_fee: int,
    priority_fee: int,
    value: int,
) -> None:
    signed = KEY.sign_transaction(
        TransactionRequest(chain_id, nonce, to, data, gas_limit, max_fee, priority_fee, value)
    )
    reference = Account.sign_transaction(
        {
            "type": 2,
            "chainId": chain_id,
            "nonce": nonce,
            "data": data,
            "gas": gas_limit,
            "maxFeePerGas": max_fee,
            "maxPriorityFeePerGas": priority_fee,
            "value": value,
            **({} if to is None else {"to": to}),
        },
        SECRET,
    )
    assert signed.raw == bytes(reference.raw_transaction)
    assert signed.hash == bytes(reference.hash)


@given(values.words)
def test_digests_are_signed_as_eth_account_signs_them(digest: bytes) -> None:
    signature = KEY.sign_digest(digest)
    assert signature == bytes(Account.unsafe_sign_hash(digest, SECRET).signature)
    assert recover(digest, signature) == KEY.address


def test_the_address_is_that_of_eth_account() -> None:
    assert "0x" + KEY.address.hex() == Account.from_key(SECRET).address.lower()


def test_nothing_that_is_printed_shows_the_secret() -> None:
    assert SECRET.hex() not in repr(KEY) + str(KEY) + f"{KEY!r} {[KEY]}"
    assert not hasattr(KEY, "__dict__")


@given(values.words)
def test_the_other_half_of_the_curve_is_refused(digest: bytes) -> None:
    signature = KEY.sign_digest(digest)
    s = ORDER - int.from_bytes(signature[32:64], "big")
    v = bytes([27 + 28 - signature[64]])
    assert recover(digest, signature[:32] + s.to_bytes(32, "big") + v) is None


@given(values.words, st.integers(0, 255))
def test_only_27_and_28_are_recovery_values(digest: bytes, v: int) -> None:
    signature = KEY.sign_digest(digest)
    found = recover(digest, signature[:64] + bytes([v]))
    assert (found == KEY.address) == (v == signature[64])
    assert v in {27, 28} or found is None


@given(values.words, st.binary(max_size=70).filter(lambda signature: len(signature) != 65))
def test_signatures_of_other_sizes_are_refused(digest: bytes, signature: bytes) -> None:
    assert recover(digest, signature) is None


def test_numbers_that_are_no_point_of_the_curve_are_refused() -> None:
    assert recover(bytes(32), bytes(64) + b"\x1b") is None
    assert recover(bytes(32), b"\xff" * 32 + bytes(31) + b"\x01\x1b") is None
    assert recover(bytes(32), ORDER.to_bytes(32, "big") + bytes(31) + b"\x01\x1b") is None


@given(values.words, values.words)
def test_a_signature_of_something_else_is_somebody_elses(digest: bytes, other: bytes) -> None:
    assert (recover(other, KEY.sign_digest(digest)) == KEY.address) == (digest == other)
