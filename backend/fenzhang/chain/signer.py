"""Signatures: EIP-712 digests and type-2 transactions, signed with a key in memory."""

from __future__ import annotations

from dataclasses import dataclass

from coincurve import PrivateKey, PublicKey

from fenzhang.chain.keccak import keccak

SIGNATURE_SIZE = 65
_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_V_OFFSET = 27


@dataclass(frozen=True, slots=True)
class TransactionRequest:
    """A type-2 transaction to sign. Fees are wei per gas; `to` None creates a contract from `data`."""

    chain_id: int
    nonce: int
    to: bytes | None
    data: bytes
    gas_limit: int
    max_fee: int = 0
    priority_fee: int = 0
    value: int = 0


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """What goes to a node, and the hash under which it will be known."""

    raw: bytes
    hash: bytes


class LocalKey:
    """A secp256k1 key held in this process. Nothing it prints shows the secret."""

    __slots__ = ("_key", "address")

    address: bytes
    """The account's address, 20 bytes."""

    def __init__(self, secret: bytes) -> None:
        self._key = PrivateKey(secret)
        self.address = _address_of(self._key.public_key)

    def __repr__(self) -> str:
        return f"LocalKey(0x{self.address.hex()})"

    def secret(self) -> bytes:
        """The 32 secret bytes, for the keystore alone."""
        return self._key.secret

    def sign_digest(self, digest: bytes) -> bytes:
        """Sign 32 bytes: r, s and v (27 or 28), with the lower s, as the contracts want it."""
        signature = self._key.sign_recoverable(digest, hasher=None)
        return signature[:64] + bytes((signature[64] + _V_OFFSET,))

    def sign_transaction(self, request: TransactionRequest) -> SignedTransaction:
        """Sign a transaction (EIP-1559, empty access list)."""
        fields = [
            _integer(request.chain_id),
            _integer(request.nonce),
            _integer(request.priority_fee),
            _integer(request.max_fee),
            _integer(request.gas_limit),
            _string(request.to or b""),
            _integer(request.value),
            _string(request.data),
            _list(b""),
        ]
        signature = self._key.sign_recoverable(keccak(b"\x02" + _list(b"".join(fields))), hasher=None)
        fields += [
            _integer(signature[64]),
            _integer(int.from_bytes(signature[:32], "big")),
            _integer(int.from_bytes(signature[32:64], "big")),
        ]
        raw = b"\x02" + _list(b"".join(fields))
        return SignedTransaction(raw, keccak(raw))


def recover(digest: bytes, signature: bytes) -> bytes | None:
    """The address (20 bytes) that signed `digest`, or None where the contracts' ECDSA check refuses.

    That is: other than 65 bytes, v other than 27 or 28, the upper s, or no point of the curve. Contract accounts
    (ERC-1271) cannot be recovered; the chain alone can ask them.
    """
    if len(signature) != SIGNATURE_SIZE:
        return None
    recovery = signature[64] - _V_OFFSET
    s = int.from_bytes(signature[32:64], "big")
    if recovery not in {0, 1} or s > _ORDER // 2:
        return None
    try:
        public = PublicKey.from_signature_and_message(
            signature[:64] + bytes((recovery,)), digest, hasher=None
        )
    except Exception:  # noqa: BLE001 -- coincurve raises bare Exception for a signature that is no point
        return None
    return _address_of(public)


def _address_of(public: PublicKey) -> bytes:
    return keccak(public.format(compressed=False)[1:])[12:]


# ------------------------------------------------------------------------------ RLP

_SHORT = 55
"""Longest payload whose length fits the prefix byte."""


def _integer(value: int) -> bytes:
    return _string(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def _string(value: bytes) -> bytes:
    if len(value) == 1 and value[0] < 0x80:  # noqa: PLR2004 -- RLP: such a byte is its own encoding
        return value
    return _prefix(0x80, len(value)) + value


def _list(payload: bytes) -> bytes:
    return _prefix(0xC0, len(payload)) + payload


def _prefix(base: int, length: int) -> bytes:
    if length <= _SHORT:
        return bytes((base + length,))
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((base + _SHORT + len(size),)) + size
