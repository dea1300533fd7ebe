"""What clearing and a bank tell each other, whatever the format of the file.

Amounts are minor units of the file's or the statement's currency. All types check themselves: a malformed value raises
InvalidInput naming the field, and never repeats an account number or a name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final

from fenzhang.domain.errors import InvalidAmount, InvalidInput
from fenzhang.domain.money import check_amount, check_currency

MAX_BANK_AMOUNT: Final = 10**18 - 1
"""Largest amount and largest total of a file, minor units: ISO 20022 has 18 digits for both."""
MAX_PAYOUTS: Final = 50_000
"""In one file."""
MAX_BYTES: Final = 128 * 2**20
"""Of a document, more than the longest names let a file of MAX_PAYOUTS have."""
END_TO_END_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.\-]{0,34}")
"""End-to-end and message ids that this system makes: what every bank takes, and what needs no quoting in a URL."""
REASON: Final = re.compile(r"[A-Za-z0-9]{1,35}")
"""A reason code of ISO 20022 or of a bank."""
UNEXPLAINED: Final = "NARR"
"""ISO 20022's reason for "see the text", used where a bank gives none."""
_IBAN: Final = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{1,30}")
_OTHER: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9 ./\-]{0,32}[A-Za-z0-9])?")
_BIC: Final = re.compile(r"[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}([A-Z0-9]{3})?")
_CNAPS: Final = re.compile(r"[0-9]{12}")
_NOT_TEXT: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")


class AccountScheme(StrEnum):
    """How an account is numbered."""

    IBAN = "IBAN"
    OTHER = "OTHER"
    """The bank's own number, as in mainland China."""


@dataclass(frozen=True, slots=True)
class AccountNumber:
    """Which account. Shown with its last four characters only."""

    scheme: AccountScheme
    number: str = field(repr=False)

    def __post_init__(self) -> None:
        pattern = _IBAN if self.scheme is AccountScheme.IBAN else _OTHER
        if not pattern.fullmatch(self.number):
            raise InvalidInput("number", f"not an account number of the scheme {self.scheme}")
        if self.scheme is AccountScheme.IBAN and not _iban_checks(self.number):
            raise InvalidInput("number", "the check digits of the IBAN are wrong")

    def __str__(self) -> str:
        return f"{self.scheme} …{self.number[-4:]}"


@dataclass(frozen=True, slots=True)
class BankAccount:
    """An account that money is paid from or to. Neither number nor holder shows in logs and errors."""

    account: AccountNumber
    holder: str = field(repr=False)
    """Name that the bank compares with its own, at most 140 characters."""
    bank: str = ""
    """BIC (8 or 11 characters) or CNAPS code (12 digits) of the bank; empty where the account number says it."""

    def __post_init__(self) -> None:
        check_text("holder", self.holder, 140)
        if self.bank and not (_BIC.fullmatch(self.bank) or _CNAPS.fullmatch(self.bank)):
            raise InvalidInput("bank", "neither a BIC nor a CNAPS code of 12 digits")

    @property
    def has_cnaps(self) -> bool:
        """Whether `bank` is a CNAPS code."""
        return _CNAPS.fullmatch(self.bank) is not None


@dataclass(frozen=True, slots=True)
class PayoutOrder:
    """One payout as the bank sees it. Its end-to-end id is never used for another one, whatever became of it."""

    end_to_end_id: str
    amount: int
    creditor: BankAccount
    remittance: str
    """Text on the creditor's statement, at most 140 characters."""

    def __post_init__(self) -> None:
        check_id("end_to_end_id", self.end_to_end_id)
        check_bank_amount("amount", self.amount)
        check_text("remittance", self.remittance, 140)


@dataclass(frozen=True, slots=True)
class PayoutFile:
    """Payouts of one currency from one account, which a bank takes or refuses as a whole."""

    message_id: str
    created_at: datetime
    """UTC, whole seconds."""
    debtor: BankAccount
    execution_date: date
    currency: str
    payouts: tuple[PayoutOrder, ...]

    def __post_init__(self) -> None:
        check_id("message_id", self.message_id)
        check_moment("created_at", self.created_at)
        check_currency("currency", self.currency)
        if not 1 <= len(self.payouts) <= MAX_PAYOUTS:
            raise InvalidInput("payouts", f"a file has 1 to {MAX_PAYOUTS} payouts")
        seen: set[str] = set()
        for place, payout in enumerate(self.payouts):
            if payout.end_to_end_id in seen:
                raise InvalidInput(f"payouts[{place}].end_to_end_id", "stands in the file twice")
            seen.add(payout.end_to_end_id)
        check_bank_amount("payouts", self.total)

    @property
    def total(self) -> int:
        """Sum of all payouts, minor units."""
        return sum(payout.amount for payout in self.payouts)


class LineStatus(StrEnum):
    """What a line of a statement means; the codes of ISO 20022."""

    BOOKED = "BOOK"
    PENDING = "PDNG"
    FUTURE = "FUTR"
    INFORMATION = "INFO"


@dataclass(frozen=True, slots=True)
class LinePart:
    """A payment within a line of a statement."""

    amount: int
    """Minor units; above zero is money in, below zero money out."""
    end_to_end_id: str | None = None
    """None when the bank left it out."""
    reason: str | None = None
    """Why money came back: an ISO 20022 return reason such as AC04."""

    def __post_init__(self) -> None:
        _check_signed("amount", self.amount)
        for name, value, longest in (("end_to_end_id", self.end_to_end_id, 35), ("reason", self.reason, 35)):
            if value is not None:
                check_text(name, value, longest)


@dataclass(frozen=True, slots=True)
class StatementLine:
    """A movement on an account."""

    amount: int
    """Minor units; above zero is money in, below zero money out."""
    status: LineStatus
    booked_on: date | None
    """None only while it is not booked."""
    reference: str | None = None
    """The bank's own name for the movement."""
    parts: tuple[LinePart, ...] = ()
    """The payments that it is made of; empty when the bank does not say. They add up to `amount`."""
    reversal: bool = False
    """The bank takes back a movement of its own, booked before."""
    message_id: str | None = None
    """Of the file of payouts that it is about, where the bank says so."""

    def __post_init__(self) -> None:
        _check_signed("amount", self.amount)
        if self.status is LineStatus.BOOKED and self.booked_on is None:
            raise InvalidInput("booked_on", "a booked line has a day")
        for name, value in (("reference", self.reference), ("message_id", self.message_id)):
            if value is not None:
                check_text(name, value, 35)
        if self.parts and sum(part.amount for part in self.parts) != self.amount:
            raise InvalidInput("parts", "the payments do not add up to the line")


@dataclass(frozen=True, slots=True)
class Statement:
    """All movements of an account over some days, between two balances."""

    statement_id: str
    created_at: datetime
    account: AccountNumber
    currency: str
    first_day: date
    last_day: date
    opening: int
    """Booked balance before the first day, minor units, may be negative."""
    closing: int
    lines: tuple[StatementLine, ...]

    def __post_init__(self) -> None:
        _check_report(self.statement_id, self.created_at, self.currency)
        _check_signed("opening", self.opening)
        _check_signed("closing", self.closing)
        if self.first_day > self.last_day:
            raise InvalidInput("last_day", "before the first day")
        if self.opening + booked_sum(self.lines) != self.closing:
            raise InvalidInput("closing", "the opening balance and the booked lines do not add up to it")


@dataclass(frozen=True, slots=True)
class Notification:
    """Movements of an account as they happen, without balances."""

    notification_id: str
    created_at: datetime
    account: AccountNumber
    currency: str
    lines: tuple[StatementLine, ...]

    def __post_init__(self) -> None:
        _check_report(self.notification_id, self.created_at, self.currency)


Report = Statement | Notification
"""What a bank's document about an account says."""


class PayoutState(StrEnum):
    """What a bank says of a payout when it is asked."""

    NOT_KNOWN = "NOT_KNOWN"
    """It does not know this end-to-end id, now: what is on its way, or not looked at yet, may still hold it."""
    PENDING = "PENDING"
    PAID = "PAID"
    FAILED = "FAILED"
    """The money is with the debtor: it never left, or it came back."""


@dataclass(frozen=True, slots=True)
class PayoutStatus:
    """A bank's answer about a payout."""

    state: PayoutState
    reason: str | None = None
    """Why it failed: an ISO 20022 reason code such as AC04 (closed account)."""


@dataclass(frozen=True, slots=True)
class StatusReport:
    """A bank's answer about a file, as a document (pain.002)."""

    report_id: str
    created_at: datetime
    message_id: str
    """Of the file."""
    refused: str | None
    """Reason code for which the whole file was refused, None if it was taken."""
    payouts: tuple[tuple[str, PayoutStatus], ...] = ()
    """By end-to-end id; may name some of the file's payouts only."""


def booked_sum(lines: Sequence[StatementLine]) -> int:
    """What booked lines do to a balance, minor units."""
    return sum(line.amount for line in lines if line.status is LineStatus.BOOKED)


def check_bank_amount(field_name: str, value: object) -> int:
    """Return `value` if banks can be told it: 1 to MAX_BANK_AMOUNT minor units. Raises InvalidAmount."""
    amount = check_amount(field_name, value)
    if amount > MAX_BANK_AMOUNT:
        raise InvalidAmount(field_name, f"an amount in a bank file is at most {MAX_BANK_AMOUNT}")
    return amount


def check_id(field_name: str, value: str) -> str:
    """Return `value` if it is an id that this system may send to banks. Raises InvalidInput."""
    if not END_TO_END_ID.fullmatch(value):
        raise InvalidInput(field_name, "1 to 35 characters of A-Z a-z 0-9 . -, the first a letter or digit")
    return value


def check_moment(field_name: str, value: datetime) -> datetime:
    """Return `value` if it is UTC and whole seconds. Raises InvalidInput."""
    if value.utcoffset() != timedelta(0) or value.microsecond:
        raise InvalidInput(field_name, "a moment is UTC, in whole seconds")
    return value


def check_text(field_name: str, value: str, longest: int) -> str:
    """Return `value` if every format can carry it unchanged. Raises InvalidInput."""
    if not 1 <= len(value) <= longest:
        raise InvalidInput(field_name, f"1 to {longest} characters")
    if value != value.strip() or _NOT_TEXT.search(value):
        raise InvalidInput(field_name, "no control characters, no space at either end")
    return value


def _check_signed(field_name: str, value: int) -> None:
    if abs(value) > MAX_BANK_AMOUNT:
        raise InvalidAmount(field_name, f"an amount in a bank file is at most {MAX_BANK_AMOUNT}")


def _check_report(report_id: str, created_at: datetime, currency: str) -> None:
    check_text("id", report_id, 35)
    check_moment("created_at", created_at)
    check_currency("currency", currency)


def _iban_checks(iban: str) -> bool:
    turned = iban[4:] + iban[:4]
    return int("".join(str(int(character, 36)) for character in turned)) % 97 == 1
