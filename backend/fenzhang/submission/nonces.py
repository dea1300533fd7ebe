"""Nonces: of authorizations that the keystore signs, and of transactions.

An authorization's nonce is a bit of a random word, so signers need no agreement with anybody about the next one.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.store.tables import NonceWord, Transaction
from fenzhang.submission.errors import Superseded

_WORD_SIZE = 31
_BITS = 256


@dataclass(slots=True)
class _Word:
    word: bytes
    next_bit: int
    stored: tuple[bytes, int] | None
    """Word and bit as the database has them."""


class NonceBook:
    """Unused nonces of some signers (32 bytes each), reserved by `store`.

    Every sender of transactions takes from words of its own, so that several never wait for each other.
    """

    def __init__(self, words: dict[bytes, _Word], sender: bytes = b"") -> None:
        self._words = words
        self._sender = sender

    @classmethod
    async def load(cls, session: AsyncSession, signers: Collection[bytes], sender: bytes) -> NonceBook:
        """The nonces of these signers that transactions of `sender` may use."""
        query = select(NonceWord).where(NonceWord.signer.in_(sorted(signers)), NonceWord.sender == sender)
        rows = (await session.execute(query)).scalars()
        return cls({r.signer: _Word(r.word, r.next_bit, (r.word, r.next_bit)) for r in rows}, sender)

    def take(self, signer: bytes) -> int:
        """A nonce that the signer has not used."""
        word = self._words.setdefault(signer, _Word(b"", _BITS, None))
        if word.next_bit == _BITS:
            word.word, word.next_bit = secrets.token_bytes(_WORD_SIZE), 0
        nonce = int.from_bytes(word.word, "big") << 8 | word.next_bit
        word.next_bit += 1
        return nonce

    async def store(self, session: AsyncSession) -> None:
        """Write what was taken. Raises Superseded when somebody else took nonces of the same signer meanwhile."""
        for signer, word in sorted(self._words.items()):
            if word.stored is None:
                row = {
                    "signer": signer,
                    "sender": self._sender,
                    "word": word.word,
                    "next_bit": word.next_bit,
                }
                await session.execute(insert(NonceWord).values(row))
                continue
            if word.stored == (word.word, word.next_bit):
                continue
            before, bit = word.stored
            query = (
                update(NonceWord)
                .where(
                    NonceWord.signer == signer,
                    NonceWord.sender == self._sender,
                    NonceWord.word == before,
                    NonceWord.next_bit == bit,
                )
                .values(word=word.word, next_bit=word.next_bit)
                .returning(NonceWord.signer)
                .execution_options(synchronize_session=False)
            )
            if (await session.execute(query)).scalar_one_or_none() is None:
                raise Superseded("nonces of a signer were taken by somebody else", signer=signer)


async def last_transaction_nonce(session: AsyncSession, sender: bytes) -> int:
    """The highest nonce of a sender that is stored in a signed transaction, -1 for none."""
    query = select(func.max(Transaction.nonce)).where(Transaction.sender == sender)
    last = (await session.execute(query)).scalar()
    return -1 if last is None else last
