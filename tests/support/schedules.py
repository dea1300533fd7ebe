"""Schedules as Hypothesis draws them, from so few values that entries compete for orders."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from hypothesis import strategies as st

from fenzhang.domain.facts import Facts
from fenzhang.domain.schedules import Entry, precedence
from support.parties import ident

RULES = tuple(ident("rule", "scheduled", number) for number in range(4))
DAY = 86_400
Schedule = tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Sale:
    """What a schedule looks at of an order."""

    facts: bytes
    currency: str
    amount: int


_code = st.sampled_from(("", "", "", "a", "b", "longcode"))
_facts = st.builds(Facts, _code, _code, _code, _code).map(Facts.pack)
_amounts = st.sampled_from(((0, 0),) * 4 + ((0, 100), (100, 0), (50, 200), (100, 101), (200, 10**12)))


def entries(now: int) -> st.SearchStrategy[Entry]:
    """Entries whose times lie around `now`, days apart."""
    times = st.sampled_from(
        ((0, 0),) * 4
        + ((now - DAY, 0), (0, now + DAY), (now - DAY, now + DAY), (now + DAY, 0), (0, now - DAY))
    )
    return st.builds(
        lambda rule, facts, currency, amounts, times: Entry(rule, facts, currency, *amounts, *times),
        st.sampled_from(RULES),
        _facts,
        st.sampled_from(("", "", "CNY", "JPY")),
        _amounts,
        times,
    )


def schedules(now: int) -> st.SearchStrategy[Schedule]:
    """Schedules as `validate` takes them."""
    return st.lists(entries(now), max_size=12).map(made_valid)


def made_valid(drawn: Iterable[Entry]) -> Schedule:
    """The entries in order of precedence, without those that tie with one before, and with a last one."""
    kept: list[Entry] = []
    for entry in sorted(drawn, key=precedence):
        rivals = (other for other in kept if precedence(other) == precedence(entry))
        if entry.criteria and not any(entry.may_meet(other) for other in rivals):
            kept.append(entry)
    return (*kept, Entry(RULES[0]))


def nearly_schedules(now: int) -> st.SearchStrategy[Schedule]:
    """Lists of entries, of which many have a fault: out of order, tied, without a last one, with bad values."""
    bad = st.sampled_from(
        (
            {"facts": b"\0x".ljust(32, b"\0")},
            {"facts": b"a\0b".ljust(32, b"\0")},
            {"facts": bytes(8) + b"\xe4".ljust(24, b"\0")},
            {"facts": bytes(31) + b"z"},
            {"amount_from": 100, "amount_below": 100},
            {"valid_from": 10, "valid_until": 9},
            {"rule_id": bytes(32)},
            {"rule_id": b"schedule".ljust(32, b"\0")},
        )
    )
    return st.one_of(
        st.lists(entries(now), max_size=6).map(tuple),
        st.builds(lambda s, at: (*s[:at], *reversed(s[at:])), schedules(now), st.integers(0, 6)),
        st.builds(lambda s, at: (*s[:at], s[at % len(s)], *s[at:]), schedules(now), st.integers(0, 6)),
        st.builds(
            lambda s, at, how: tuple(replace(e, **how) if i == at % len(s) else e for i, e in enumerate(s)),
            schedules(now),
            st.integers(0, 12),
            bad,
        ),
        schedules(now),
    )


sales = st.builds(
    Sale,
    st.one_of(_facts, _facts, st.binary(min_size=32, max_size=32)),
    st.sampled_from(("CNY", "JPY", "XYZ")),
    st.sampled_from((1, 49, 50, 99, 100, 101, 199, 200, 10**12, 2**63 - 1)),
)
