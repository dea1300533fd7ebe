"""Bank data as hypothesis makes it."""

from __future__ import annotations

from datetime import UTC, date, datetime

from hypothesis import strategies as st

from fenzhang.clearing.model import (
    AccountNumber,
    AccountScheme,
    BankAccount,
    LinePart,
    LineStatus,
    Notification,
    PayoutFile,
    PayoutOrder,
    PayoutState,
    PayoutStatus,
    Statement,
    StatementLine,
    StatusReport,
    booked_sum,
)

CURRENCIES = ("CNY", "EUR", "JPY", "KWD", "CLF")
"""Of each number of decimal digits that there is."""
SMALL = 10**12
"""Amounts that cannot add up to too much."""


def iban(country: str, rest: str) -> str:
    """An IBAN with the check digits that belong to it."""
    digits = "".join(str(int(character, 36)) for character in f"{rest}{country}00")
    return f"{country}{98 - int(digits) % 97:02}{rest}"


def texts(longest: int) -> st.SearchStrategy[str]:
    characters = st.characters(
        codec="utf-8",
        exclude_categories=("Cc", "Cs"),
        exclude_characters="\u2028\u2029\ufffe\uffff",
    )
    return st.text(characters, min_size=1, max_size=longest).filter(lambda text: text == text.strip())


ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9.\-]{0,34}", fullmatch=True)
amounts = st.integers(1, SMALL)
signed = st.integers(-SMALL, SMALL)
days = st.dates(date(2000, 1, 1), date(2100, 1, 1))
moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(  # noqa: DTZ001 -- UTC is set next
    lambda moment: moment.replace(microsecond=0, tzinfo=UTC)
)
banks = st.one_of(
    st.just(""),
    st.from_regex(r"[A-Z]{4}[A-Z]{2}[A-Z0-9]{2}([A-Z0-9]{3})?", fullmatch=True),
    st.from_regex(r"[0-9]{12}", fullmatch=True),
)
numbers = st.one_of(
    st.builds(
        lambda country, rest: AccountNumber(AccountScheme.IBAN, iban(country, rest)),
        st.from_regex(r"[A-Z]{2}", fullmatch=True),
        st.from_regex(r"[A-Z0-9]{11,30}", fullmatch=True),
    ),
    st.builds(
        AccountNumber, st.just(AccountScheme.OTHER), st.from_regex(r"[A-Za-z0-9]{1,34}", fullmatch=True)
    ),
)
accounts = st.builds(BankAccount, numbers, texts(140), banks)
payouts = st.builds(PayoutOrder, ids, amounts, accounts, texts(140))
files = st.builds(
    PayoutFile,
    message_id=ids,
    created_at=moments,
    debtor=accounts,
    execution_date=days,
    currency=st.sampled_from(CURRENCIES),
    payouts=st.lists(payouts, min_size=1, max_size=5, unique_by=lambda payout: payout.end_to_end_id).map(
        tuple
    ),
)
parts = st.builds(
    LinePart,
    signed,
    st.none() | texts(35).filter(lambda text: text != "NOTPROVIDED"),
    st.none() | st.sampled_from(("AC04", "AC01", "MS03")),
)


@st.composite
def lines(draw: st.DrawFn) -> StatementLine:
    made = tuple(draw(st.lists(parts, max_size=3)))
    status = draw(st.sampled_from(LineStatus))
    return StatementLine(
        amount=sum(part.amount for part in made) if made else draw(signed),
        status=status,
        booked_on=draw(days if status is LineStatus.BOOKED else st.none() | days),
        reference=draw(st.none() | texts(35)),
        parts=made,
        reversal=draw(st.booleans()),
        message_id=draw(st.none() | texts(35)),
    )


many_lines = st.lists(lines(), max_size=5).map(tuple)


@st.composite
def statements(draw: st.DrawFn) -> Statement:
    told, opening = draw(many_lines), draw(signed)
    first, last = sorted((draw(days), draw(days)))
    return Statement(
        statement_id=draw(texts(35)),
        created_at=draw(moments),
        account=draw(numbers),
        currency=draw(st.sampled_from(CURRENCIES)),
        first_day=first,
        last_day=last,
        opening=opening,
        closing=opening + booked_sum(told),
        lines=told,
    )


notifications = st.builds(Notification, texts(35), moments, numbers, st.sampled_from(CURRENCIES), many_lines)
statuses = st.one_of(
    st.sampled_from((PayoutState.PENDING, PayoutState.PAID)).map(PayoutStatus),
    st.sampled_from(("AC04", "BE01")).map(lambda reason: PayoutStatus(PayoutState.FAILED, reason)),
)
status_reports = st.builds(
    StatusReport,
    report_id=ids,
    created_at=moments,
    message_id=ids,
    refused=st.none() | st.sampled_from(("AM04", "DUPL")),
    payouts=st.lists(st.tuples(ids, statuses), max_size=4).map(tuple),
)
