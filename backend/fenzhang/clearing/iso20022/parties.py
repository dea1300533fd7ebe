"""Accounts, holders and amounts, which all messages write the same way."""

from __future__ import annotations

from lxml import etree

from fenzhang.clearing.amounts import parse_amount
from fenzhang.clearing.errors import DocumentInvalid
from fenzhang.clearing.iso20022.xml import Node, add
from fenzhang.clearing.model import AccountNumber, AccountScheme, BankAccount
from fenzhang.domain.money import check_currency, format_amount

_CNAPS = "CNAPS"
"""Code of China's clearing system in ISO 20022's external code list."""
_NOT_PROVIDED = "NOTPROVIDED"


def add_account(parent: etree._Element, name: str, account: AccountNumber, currency: str = "") -> None:
    """Write `name` with the account's number and, if given, its currency."""
    element = add(parent, name)
    add(element, "Id/IBAN" if account.scheme is AccountScheme.IBAN else "Id/Othr/Id", account.number)
    if currency:
        add(element, "Ccy", currency)


def read_account(node: Node) -> AccountNumber:
    """The account that `add_account` wrote, or any other's."""
    iban = node.optional("Id/IBAN")
    if iban is not None:
        return iban.checked(AccountNumber, AccountScheme.IBAN, iban.text(34))
    other = node.child("Id/Othr/Id")
    return other.checked(AccountNumber, AccountScheme.OTHER, other.text(34))


def add_agent(parent: etree._Element, name: str, account: BankAccount, *, required: bool) -> None:
    """Write the account's bank. Without a code it is left out, or said not to be provided where it is required."""
    if not account.bank and not required:
        return
    institution = add(parent, f"{name}/FinInstnId")
    if account.has_cnaps:
        member = add(institution, "ClrSysMmbId")
        add(member, "ClrSysId/Cd", _CNAPS)
        add(member, "MmbId", account.bank)
    elif account.bank:
        add(institution, "BICFI", account.bank)
    else:
        add(institution, "Othr/Id", _NOT_PROVIDED)


def read_agent(node: Node | None) -> str:
    """Code of the bank, empty if none is given."""
    institution = node and node.child("FinInstnId")
    if not institution:
        return ""
    for name in ("BICFI", "ClrSysMmbId/MmbId"):
        code = institution.optional(name)
        if code is not None:
            return code.text()
    return ""


def add_money(parent: etree._Element, name: str, amount: int, currency: str) -> None:
    """Write an amount of minor units, without its sign."""
    add(parent, name, format_amount(abs(amount), currency), Ccy=currency)


def read_money(node: Node, currency: str) -> int:
    """Minor units of an amount that must be in `currency`."""
    if node.attribute("Ccy") != currency:
        raise DocumentInvalid(f"{node.path}/@Ccy", f"is not {currency}")
    return node.checked(parse_amount, "amount", node.text(24), currency)


def read_currency(node: Node) -> str:
    """Currency of an amount."""
    return node.checked(check_currency, "currency", node.attribute("Ccy"))
