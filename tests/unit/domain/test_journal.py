"""The bytes that are hashed, and that links follow from the postings alone."""

from __future__ import annotations

from hashlib import sha256
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fenzhang.domain.journal import (
    LINE_BYTES,
    NO_LINK,
    Account,
    Line,
    Link,
    line,
    link_hash,
    links,
    new_lines,
)

CUSTODY = ("bank_custody", "CNY", bytes(32))
HELD = ("order_held", "CNY", bytes(32))
PAYABLE = ("recipient_payable", "CNY", b"\xaa" * 32)
LEAF = b"\x11" * 32


def _line(  # noqa: PLR0917 -- one after the other, as the page lists them
    posting: int, debit: Account, credit: Account, amount: int, leaf: bytes, block: int, reverses: int
) -> Line:
    return line(
        posting, debit, credit, amount=amount, leaf=leaf, block_number=block, reverses=reverses or None
    )


def _plain(posting: int, block: int, *, reverses: int = 0) -> Line:
    return _line(posting, HELD, PAYABLE, 100 + posting, LEAF, block, reverses)


def test_a_line_is_the_documented_bytes() -> None:
    made = _line(7, PAYABLE, HELD, 258, LEAF, 65_536, 3)

    *place, content = made
    assert content == bytes.fromhex(
        "0000000000000007"
        + b"recipient_payable".hex().ljust(64, "0")
        + b"CNY".hex()
        + "aa" * 32
        + b"order_held".hex().ljust(64, "0")
        + b"CNY".hex()
        + "00" * 32
        + "0000000000000102"
        + "11" * 32
        + "0000000000010000"
        + "0000000000000003"
    )
    assert len(content) == LINE_BYTES
    assert place == [7, 65_536, True]


def test_many_at_once_are_the_same_lines() -> None:
    values = [(CUSTODY, HELD, 1_000, LEAF, 5), (HELD, PAYABLE, 7, bytes(32), 6)]
    assert new_lines(8, values) == [_line(8, *values[0], 0), _line(9, *values[1], 0)]


def test_a_link_hashes_the_link_before_and_its_lines() -> None:
    first = _line(1, CUSTODY, HELD, 1_000, LEAF, 5, 0)
    second, third = _plain(2, 5), _plain(3, 6)

    [one, two] = links(NO_LINK, [first, second, third])

    assert one == Link(1, 2, 5, sha256(bytes(32) + first[-1] + second[-1]).digest())
    assert two == Link(2, 3, 6, sha256(one.hash + third[-1]).digest())


def test_postings_that_reverse_have_links_of_their_own() -> None:
    lines = [_plain(1, 5), _plain(2, 6), _plain(3, 6, reverses=2), _plain(4, 6)]

    assert [(link.last_posting, link.block_number) for link in links(NO_LINK, lines)] == [
        (1, 5),
        (2, 6),
        (3, 6),
        (4, 6),
    ]


@pytest.mark.parametrize(
    "changed",
    [
        _line(2, HELD, PAYABLE, 100, LEAF, 5, 0),
        _line(1, CUSTODY, PAYABLE, 100, LEAF, 5, 0),
        _line(1, HELD, HELD, 100, LEAF, 5, 0),
        _line(1, HELD, (PAYABLE[0], "USD", PAYABLE[2]), 100, LEAF, 5, 0),
        _line(1, HELD, (*PAYABLE[:2], b"\xab" * 32), 100, LEAF, 5, 0),
        _line(1, HELD, PAYABLE, 101, LEAF, 5, 0),
        _line(1, HELD, PAYABLE, 100, bytes(32), 5, 0),
        _line(1, HELD, PAYABLE, 100, LEAF, 6, 0),
        _line(1, HELD, PAYABLE, 100, LEAF, 5, 1),
    ],
    ids=["number", "debit", "credit", "currency", "participant", "amount", "leaf", "block", "reverses"],
)
def test_every_value_of_a_posting_counts(changed: Line) -> None:
    as_it_was = _line(1, HELD, PAYABLE, 100, LEAF, 5, 0)
    assert link_hash(bytes(32), [changed]) != link_hash(bytes(32), [as_it_was])


@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=8),
    reversing=st.lists(st.booleans(), min_size=8, max_size=8),
    cuts=st.sets(st.integers(1, 8)),
)
def test_links_do_not_depend_on_how_many_blocks_are_written_at_once(
    sizes: list[int], reversing: list[bool], cuts: set[int]
) -> None:
    ends = [0, *accumulate(sizes)]
    runs = [
        [_plain(n, block, reverses=int(undone)) for n in range(start + 1, end + 1)]
        for block, ((start, end), undone) in enumerate(zip(pairwise(ends), reversing, strict=False), 1)
    ]
    at_once = list(links(NO_LINK, [each for run in runs for each in run]))

    in_parts: list[Link] = []
    for start, end in pairwise([0, *sorted(cut for cut in cuts if cut < len(runs)), len(runs)]):
        lines = [each for run in runs[start:end] for each in run]
        in_parts += links(in_parts[-1] if in_parts else NO_LINK, lines)

    assert in_parts == at_once
    assert [link.last_posting for link in at_once] == ends[1:]
    assert [link.number for link in at_once] == list(range(1, len(runs) + 1))
