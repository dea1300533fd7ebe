"""Keys at rest: Web3 secret storage (version 3), and the keys of the public test mnemonic, refused off the devnet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from fenzhang.chain.errors import DevKeyRefused, KeyFileInvalid, WrongPassword
from fenzhang.chain.signer import LocalKey

DEVNET_CHAIN_ID = 20261
"""The one chain on which keys that everybody knows are in order."""
STANDARD_WORK_FACTOR = 1 << 18
"""scrypt's n as Web3 secret storage has it: about a second per key."""
SECRET_SIZE = 32
WELL_KNOWN_ADDRESSES = frozenset(
    bytes.fromhex(address)
    for address in (
        "f39fd6e51aad88f6f4ce6ab8827279cfffb92266",
        "70997970c51812dc3a010c7d01b50e0d17dc79c8",
        "3c44cdddb6a900fa2b585dd299e03d12fa4293bc",
        "90f79bf6eb2c4f870365e785982e1f101e93b906",
        "15d34aaf54267db7d7c367839aaf71a00a2c6a65",
        "9965507d1a55bcc2695c58ba16fb37d819b0a4dc",
        "976ea74026e726554db657fa54763abd0c3a0aa9",
        "14dc79964da2c08b23698b3d3cc7ca32193d9955",
        "23618e81e3f5cdf7f54c3d65f7fbc0abf5b21e8f",
        "a0ee7a142d267c1f36714e4a8f75612f20a79720",
        "bcd4042de499d14e55001ccbb24a551f3b954096",
        "71be63f3384f5fb98995898a86b02fb2426c5788",
        "fabb0ac9d68b0b445fb7357272ff202c5651694a",
        "1cbd3b2770909d4e10f157cabc84c7264073c9ec",
        "df3e18d64bc6a983f673ab319ccae4f1a57c7097",
        "cd3b766ccdd6ae721141f452c550ca635964ce71",
        "2546bcd3c84621e976d8185a91a922ae77ecec30",
        "bda5747bfd65f08deb54cb465eb87d40e51b197e",
        "dd2fd4581271e230360230f9337d5c0430bf44c0",
        "8626f6940e2eb28930efb4cef49b2d1f2c9c1199",
    )
)
"""The first twenty accounts of the mnemonic `test test ... junk` (m/44'/60'/0'/0/i), which every tool ships."""


def refuse_dev_key(address: bytes, chain_id: int) -> None:
    """Raise DevKeyRefused if `address` belongs to the public test mnemonic and the chain is not the devnet."""
    if chain_id != DEVNET_CHAIN_ID and address in WELL_KNOWN_ADDRESSES:
        raise DevKeyRefused(
            f"0x{address.hex()} is an account of the public test mnemonic: anybody can sign for it on chain {chain_id}",
            address=address,
            chain_id=chain_id,
        )


def encrypt_key(key: LocalKey, password: str, *, work_factor: int = STANDARD_WORK_FACTOR) -> dict[str, Any]:
    """The key as a key file. `work_factor` is scrypt's n, a power of two: time and memory against guessing."""
    from eth_keyfile.keyfile import create_keyfile_json

    return create_keyfile_json(key.secret(), password.encode(), kdf="scrypt", iterations=work_factor)


def decrypt_key(keyfile: dict[str, Any], password: str) -> LocalKey:
    """Open a key file. Raises WrongPassword, or KeyFileInvalid for what is no key file of version 3."""
    from eth_keyfile.keyfile import decode_keyfile_json

    try:
        return LocalKey(decode_keyfile_json(keyfile, password.encode()))
    except ValueError as error:
        if "MAC mismatch" in str(error):
            raise WrongPassword("the key file does not open with this password") from None
        raise KeyFileInvalid("this is no key file of version 3 (Web3 secret storage)") from None
    except (KeyError, TypeError, NotImplementedError, AttributeError):
        raise KeyFileInvalid("this is no key file of version 3 (Web3 secret storage)") from None


def load_key(path: Path, password: str | None = None) -> LocalKey:
    """Read a key from a file: a key file (JSON, opened with `password`), or 64 hexadecimal digits.

    Raises KeyFileInvalid and WrongPassword; neither says anything about the content.
    """
    try:
        content = path.read_bytes().strip()
    except OSError as error:
        raise KeyFileInvalid(f"{path} cannot be read: {error.strerror}") from None
    if content.startswith(b"{"):
        return _open(path, content, password)
    try:
        secret = bytes.fromhex(content.decode("ascii").removeprefix("0x"))
        return LocalKey(secret if len(secret) == SECRET_SIZE else b"")
    except ValueError:
        raise KeyFileInvalid(f"{path} holds neither a key file nor a key") from None


def _open(path: Path, content: bytes, password: str | None) -> LocalKey:
    try:
        keyfile = orjson.loads(content)
    except orjson.JSONDecodeError:
        raise KeyFileInvalid(f"{path} is not JSON") from None
    if "crypto" not in keyfile:
        raise KeyFileInvalid(f"{path} is no key file of version 3 (Web3 secret storage)")
    if password is None:
        raise WrongPassword(f"{path} is encrypted: a password is needed")
    return decrypt_key(keyfile, password)
