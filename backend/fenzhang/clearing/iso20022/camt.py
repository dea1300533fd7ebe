"""camt.053.001.08, BankToCustomerStatement, and camt.054.001.08, BankToCustomerDebitCreditNotification.

Both tell the movements of an account in the same words; a statement has balances, which must add up. Pages of a
statement that was divided are refused: alone they do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final

from lxml import etree

from fenzhang.clearing.errors import DocumentInvalid
from fenzhang.clearing.iso20022.parties import (
    add_account,
    add_money,
    read_account,
    read_currency,
    read_money,
)
from fenzhang.clearing.iso20022.xml import Node, add, document, moment_text, read, written
from fenzhang.clearing.model import (
    AccountNumber,
    LinePart,
    LineStatus,
    Notification,
    Report,
    Statement,
    StatementLine,
)
from fenzhang.domain.money import check_currency

STATEMENT: Final = "camt.053.001.08"
NOTIFICATION: Final = "camt.054.001.08"
_OPENING, _CLOSING = "OPBD", "CLBD"
_PREVIOUS = "PRCD"
"""The closing balance of the statement before, which some banks tell instead of an opening balance."""
_CREDIT, _DEBIT = "CRDT", "DBIT"
_NOT_PROVIDED: Final = "NOTPROVIDED"


def write_statement(statement: Statement) -> bytes:
    """The statement as camt.053."""
    root = document(STATEMENT)
    body = add(root, "BkToCstmrStmt")
    _add_header(body, statement.statement_id, statement.created_at)
    told = add(body, "Stmt")
    add(told, "Id", statement.statement_id)
    add(told, "CreDtTm", moment_text(statement.created_at))
    period = add(told, "FrToDt")
    add(period, "FrDtTm", f"{statement.first_day.isoformat()}T00:00:00Z")
    add(period, "ToDtTm", f"{statement.last_day.isoformat()}T23:59:59Z")
    add_account(told, "Acct", statement.account, statement.currency)
    _add_balance(told, _OPENING, statement.opening, statement.currency, statement.first_day)
    _add_balance(told, _CLOSING, statement.closing, statement.currency, statement.last_day)
    _add_lines(told, statement.lines, statement.currency)
    return written(root)


def write_notification(notification: Notification) -> bytes:
    """The notification as camt.054."""
    root = document(NOTIFICATION)
    body = add(root, "BkToCstmrDbtCdtNtfctn")
    _add_header(body, notification.notification_id, notification.created_at)
    told = add(body, "Ntfctn")
    add(told, "Id", notification.notification_id)
    add(told, "CreDtTm", moment_text(notification.created_at))
    add_account(told, "Acct", notification.account, notification.currency)
    _add_lines(told, notification.lines, notification.currency)
    return written(root)


def read_reports(content: bytes) -> tuple[Report, ...]:
    """What a camt.053 or camt.054 tells, of one account or several. Raises DocumentInvalid."""
    message, root = read(content, (STATEMENT, NOTIFICATION))
    if message == STATEMENT:
        body, name = root.child("BkToCstmrStmt"), "Stmt"
    else:
        body, name = root.child("BkToCstmrDbtCdtNtfctn"), "Ntfctn"
    created_at = body.child("GrpHdr/CreDtTm").moment()
    body.child("GrpHdr/MsgId").text()
    told = body.children(name)
    if not told:
        raise DocumentInvalid(f"{body.path}/{name}", "is missing")
    each = _statement if message == STATEMENT else _notification
    return tuple(each(node, created_at) for node in told)


def _add_header(body: etree._Element, message_id: str, created_at: datetime) -> None:
    header = add(body, "GrpHdr")
    add(header, "MsgId", message_id)
    add(header, "CreDtTm", moment_text(created_at))


def _add_balance(told: etree._Element, kind: str, amount: int, currency: str, day: date) -> None:
    balance = add(told, "Bal")
    add(balance, "Tp/CdOrPrtry/Cd", kind)
    add_money(balance, "Amt", amount, currency)
    add(balance, "CdtDbtInd", _direction(amount))
    add(balance, "Dt/Dt", day.isoformat())


def _direction(amount: int) -> str:
    return _DEBIT if amount < 0 else _CREDIT


def _add_lines(told: etree._Element, lines: Sequence[StatementLine], currency: str) -> None:
    for line in lines:
        entry = add(told, "Ntry")
        add_money(entry, "Amt", line.amount, currency)
        add(entry, "CdtDbtInd", _direction(line.amount))
        if line.reversal:
            add(entry, "RvslInd", "true")
        add(entry, "Sts/Cd", line.status)
        if line.booked_on is not None:
            add(entry, "BookgDt/Dt", line.booked_on.isoformat())
        if line.reference is not None:
            add(entry, "AcctSvcrRef", line.reference)
        kind = add(entry, "BkTxCd/Domn")
        add(kind, "Cd", "PMNT")
        family = add(kind, "Fmly")
        add(family, "Cd", "ICDT" if line.amount < 0 or _is_return(line) else "RCDT")
        add(family, "SubFmlyCd", "RRTN" if _is_return(line) else "DMCT")
        if line.parts or line.message_id is not None:
            details = add(entry, "NtryDtls")
            if line.message_id is not None:
                add(details, "Btch/MsgId", line.message_id)
            for part in line.parts:
                _add_part(details, part, currency)


def _is_return(line: StatementLine) -> bool:
    return any(part.reason is not None for part in line.parts)


def _add_part(details: etree._Element, part: LinePart, currency: str) -> None:
    told = add(details, "TxDtls")
    add(told, "Refs/EndToEndId", part.end_to_end_id or _NOT_PROVIDED)
    add_money(told, "Amt", part.amount, currency)
    add(told, "CdtDbtInd", _direction(part.amount))
    if part.reason is not None:
        add(told, "RtrInf/Rsn/Cd", part.reason)


def _statement(node: Node, created_at: datetime) -> Statement:
    last_page = node.optional("StmtPgntn/LastPgInd")
    page = node.optional("StmtPgntn/PgNb")
    if (last_page is not None and last_page.text() not in {"true", "1"}) or (
        page is not None and page.text().lstrip("0") != "1"
    ):
        raise DocumentInvalid(f"{node.path}/StmtPgntn", "is one page of several")
    balances = {_balance_kind(balance): balance for balance in node.children("Bal")}
    opening = balances.get(_OPENING, balances.get(_PREVIOUS))
    closing = balances.get(_CLOSING)
    if opening is None or closing is None:
        raise DocumentInvalid(f"{node.path}/Bal", f"lacks {_OPENING} or {_CLOSING}")
    currency = read_currency(opening.child("Amt"))
    return node.checked(
        Statement,
        statement_id=node.child("Id").text(),
        created_at=_created(node, created_at),
        account=_account(node, currency),
        currency=currency,
        first_day=opening.child("Dt").chosen_day(),
        last_day=closing.child("Dt").chosen_day(),
        opening=_signed(opening, currency),
        closing=_signed(closing, currency),
        lines=tuple(_line(entry, currency) for entry in node.children("Ntry")),
    )


def _balance_kind(balance: Node) -> str:
    """Its code, empty for those that are the bank's own."""
    code = balance.child("Tp/CdOrPrtry").optional("Cd")
    return code.text() if code is not None else ""


def _notification(node: Node, created_at: datetime) -> Notification:
    entries = node.children("Ntry")
    stated = node.optional("Acct/Ccy")
    if stated is not None:
        currency = stated.checked(check_currency, "currency", stated.text(3))
    elif entries:
        currency = read_currency(entries[0].child("Amt"))
    else:
        raise DocumentInvalid(f"{node.path}/Acct/Ccy", "is missing")
    return node.checked(
        Notification,
        notification_id=node.child("Id").text(),
        created_at=_created(node, created_at),
        account=_account(node, currency),
        currency=currency,
        lines=tuple(_line(entry, currency) for entry in entries),
    )


def _created(node: Node, otherwise: datetime) -> datetime:
    own = node.optional("CreDtTm")
    return own.moment() if own is not None else otherwise


def _account(node: Node, currency: str) -> AccountNumber:
    stated = node.optional("Acct/Ccy")
    if stated is not None and stated.text() != currency:
        raise DocumentInvalid(stated.path, "is not the currency of the amounts")
    return read_account(node.child("Acct"))


def _signed(node: Node, currency: str) -> int:
    amount = read_money(node.child("Amt"), currency)
    return -amount if node.child("CdtDbtInd").one_of((_CREDIT, _DEBIT)) == _DEBIT else amount


def _line(entry: Node, currency: str) -> StatementLine:
    reversal = entry.optional("RvslInd")
    reference = entry.optional("AcctSvcrRef") or entry.optional("NtryRef")
    booked_on = entry.optional("BookgDt")
    details = [told for group in entry.children("NtryDtls") for told in group.children("TxDtls")]
    amount = _signed(entry, currency)
    return entry.checked(
        StatementLine,
        amount=amount,
        status=LineStatus(entry.child("Sts/Cd").one_of(tuple(LineStatus))),
        booked_on=booked_on.chosen_day() if booked_on is not None else None,
        reference=reference.text() if reference is not None else None,
        parts=tuple(_part(told, amount, currency, alone=len(details) == 1) for told in details),
        reversal=reversal is not None and reversal.one_of(("true", "false", "1", "0")) in {"true", "1"},
        message_id=_message_id(entry, details),
    )


def _message_id(entry: Node, details: Sequence[Node]) -> str | None:
    """Of the file that a line is about: told of the whole line, or of all its payments alike."""
    batches = [group.optional("Btch/MsgId") for group in entry.children("NtryDtls")]
    told = (
        batches
        if any(batch is not None for batch in batches)
        else [each.optional("Refs/MsgId") for each in details]
    )
    names = {None if node is None else node.text() for node in told}
    return names.pop() if len(names) == 1 else None


def _part(told: Node, line_amount: int, currency: str, *, alone: bool) -> LinePart:
    end_to_end_id = told.optional("Refs/EndToEndId")
    reason = told.optional("RtrInf/Rsn/Cd") or told.optional("RtrInf/Rsn/Prtry")
    named = end_to_end_id.text() if end_to_end_id is not None else _NOT_PROVIDED
    return told.checked(
        LinePart,
        amount=_part_amount(told, line_amount, currency, alone=alone),
        end_to_end_id=None if named == _NOT_PROVIDED else named,
        reason=reason.text() if reason is not None else None,
    )


def _part_amount(told: Node, line_amount: int, currency: str, *, alone: bool) -> int:
    """With the direction of its line, unless it has one of its own. A payment that is alone may leave it out."""
    stated = told.optional("Amt") or told.optional("AmtDtls/TxAmt/Amt")
    if stated is None and alone:
        return line_amount
    amount = read_money(stated or told.child("Amt"), currency)
    direction = told.optional("CdtDbtInd")
    if direction is None:
        return -amount if line_amount < 0 else amount
    return -amount if direction.one_of((_CREDIT, _DEBIT)) == _DEBIT else amount
