"""The hash chain over the journal: which bytes of a posting are hashed, and where one link ends and the next begins.

A posting is a line of 198 bytes. Integers are signed, 64 bits, big-endian; text is ASCII, padded with zeros:

    posting number                                          8
    debit account: kind 32, currency 3, participant id 32  67
    credit account: the same                               67
    amount, minor units                                     8
    leaf of the record that it was posted for              32
    block number of that record                             8
    number of the posting that it reverses, else 0          8

A link covers consecutive lines of one block that either all reverse or all do not; it is as long as that allows. Its
hash is SHA-256 over the hash of the link before (the first: 32 zero bytes) and its lines. So the chain follows from
the postings and nothing else: neither how many blocks were mirrored at once nor a database's numbers of accounts and
records change it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import sha256
from itertools import groupby
from operator import itemgetter
from struct import Struct
from typing import NamedTuple

_ACCOUNT = Struct(">32s3s32s")
_LINE = Struct(f">q{_ACCOUNT.size}s{_ACCOUNT.size}sq32sqq")
LINE_BYTES = _LINE.size
Account = tuple[str, str, bytes]
"""Kind, currency, and the id of the participant whose it is, 32 zero bytes for nobody."""


Line = tuple[int, int, bool, bytes]
"""A posting's number, its block, whether it reverses another, and what is hashed. A plain tuple: they are many."""


class Link(NamedTuple):
    """One link. It covers the postings behind those of the link before, up to `last_posting`, all of one block."""

    number: int
    last_posting: int
    block_number: int
    hash: bytes


NO_LINK = Link(0, 0, 0, bytes(32))
"""What stands before the first link, and the head of a journal that is empty."""


def line(
    posting: int,
    debit: Account,
    credit: Account,
    *,
    amount: int,
    leaf: bytes,
    block_number: int,
    reverses: int | None,
) -> Line:
    """A posting as it is hashed."""
    reversed_ = reverses or 0
    content = _LINE.pack(
        posting, _account_bytes(debit), _account_bytes(credit), amount, leaf, block_number, reversed_
    )
    return posting, block_number, reverses is not None, content


def new_lines(first: int, postings: Iterable[tuple[Account, Account, int, bytes, int]]) -> list[Line]:
    """The same for postings that reverse none, numbered from `first`: debit, credit, amount, leaf and block number.

    By a third of the time, which is why it is here.
    """
    pack, account = _LINE.pack, _account_bytes
    return [
        (number, block, False, pack(number, account(debit), account(credit), amount, leaf, block, 0))
        for number, (debit, credit, amount, leaf, block) in enumerate(postings, first)
    ]


@lru_cache(maxsize=4_096)
def _account_bytes(account: Account) -> bytes:
    kind, currency, participant = account
    return _ACCOUNT.pack(kind.encode(), currency.encode(), participant)


def link_hash(previous: bytes, lines: Iterable[Line]) -> bytes:
    """Hash of the link with these lines behind the link with the hash `previous`."""
    return sha256(previous + b"".join([content for *_, content in lines])).digest()


def links(previous: Link, lines: Iterable[Line]) -> Iterator[Link]:
    """The links behind `previous` that these lines make."""
    for (block_number, _), run in groupby(lines, _BLOCK):
        covered = list(run)
        previous = Link(previous.number + 1, covered[-1][0], block_number, link_hash(previous.hash, covered))
        yield previous


_BLOCK = itemgetter(1, 2)
