"""pain.001.001.09, CustomerCreditTransferInitiation: a file of payouts.

One PaymentInformation per file, one entry per payout on the statement (`BtchBookg` false).
"""

from __future__ import annotations

from typing import Final

from fenzhang.clearing.amounts import parse_amount
from fenzhang.clearing.errors import DocumentInvalid
from fenzhang.clearing.iso20022.parties import (
    add_account,
    add_agent,
    add_money,
    read_account,
    read_agent,
    read_currency,
    read_money,
)
from fenzhang.clearing.iso20022.xml import Node, add, document, moment_text, read, written
from fenzhang.clearing.model import BankAccount, PayoutFile, PayoutOrder
from fenzhang.domain.money import format_amount

MESSAGE: Final = "pain.001.001.09"


def write_payouts(file: PayoutFile) -> bytes:
    """The file as a bank takes it."""
    root = document(MESSAGE)
    body = add(root, "CstmrCdtTrfInitn")
    count, total = str(len(file.payouts)), format_amount(file.total, file.currency)
    header = add(body, "GrpHdr")
    add(header, "MsgId", file.message_id)
    add(header, "CreDtTm", moment_text(file.created_at))
    add(header, "NbOfTxs", count)
    add(header, "CtrlSum", total)
    add(header, "InitgPty/Nm", file.debtor.holder)
    payment = add(body, "PmtInf")
    add(payment, "PmtInfId", file.message_id)
    add(payment, "PmtMtd", "TRF")
    add(payment, "BtchBookg", "false")
    add(payment, "NbOfTxs", count)
    add(payment, "CtrlSum", total)
    add(payment, "ReqdExctnDt/Dt", file.execution_date.isoformat())
    add(payment, "Dbtr/Nm", file.debtor.holder)
    add_account(payment, "DbtrAcct", file.debtor.account, file.currency)
    add_agent(payment, "DbtrAgt", file.debtor, required=True)
    for payout in file.payouts:
        transfer = add(payment, "CdtTrfTxInf")
        add(transfer, "PmtId/EndToEndId", payout.end_to_end_id)
        add_money(add(transfer, "Amt"), "InstdAmt", payout.amount, file.currency)
        add_agent(transfer, "CdtrAgt", payout.creditor, required=False)
        add(transfer, "Cdtr/Nm", payout.creditor.holder)
        add_account(transfer, "CdtrAcct", payout.creditor.account)
        add(transfer, "RmtInf/Ustrd", payout.remittance)
    return written(root)


def read_payouts(content: bytes) -> PayoutFile:
    """The file, as a bank reads it. Counts and sums must be right. Raises DocumentInvalid."""
    _, root = read(content, (MESSAGE,))
    body = root.child("CstmrCdtTrfInitn")
    header, payments = body.child("GrpHdr"), body.children("PmtInf")
    if len(payments) != 1:
        raise DocumentInvalid(f"{body.path}/PmtInf", "stands not exactly once")
    [payment] = payments
    payment.child("PmtMtd").one_of(("TRF",))
    transfers = payment.children("CdtTrfTxInf")
    if not transfers:
        raise DocumentInvalid(f"{payment.path}/CdtTrfTxInf", "is missing")
    currency = read_currency(transfers[0].child("Amt/InstdAmt"))
    file = body.checked(
        PayoutFile,
        message_id=header.child("MsgId").text(),
        created_at=header.child("CreDtTm").moment(),
        debtor=_party(payment, "Dbtr"),
        execution_date=payment.child("ReqdExctnDt").chosen_day(),
        currency=currency,
        payouts=tuple(_payout(transfer, currency) for transfer in transfers),
    )
    _check_totals(header, file)
    _check_totals(payment, file)
    return file


def _payout(transfer: Node, currency: str) -> PayoutOrder:
    return transfer.checked(
        PayoutOrder,
        end_to_end_id=transfer.child("PmtId/EndToEndId").text(),
        amount=read_money(transfer.child("Amt/InstdAmt"), currency),
        creditor=_party(transfer, "Cdtr"),
        remittance=transfer.child("RmtInf/Ustrd").text(140),
    )


def _party(node: Node, role: str) -> BankAccount:
    agent = node.optional(f"{role}Agt")
    return node.checked(
        BankAccount,
        account=read_account(node.child(f"{role}Acct")),
        holder=node.child(f"{role}/Nm").text(140),
        bank=read_agent(agent),
    )


def _check_totals(node: Node, file: PayoutFile) -> None:
    count = node.child("NbOfTxs")
    if count.number() != len(file.payouts):
        raise DocumentInvalid(count.path, "is not the number of payouts")
    total = node.child("CtrlSum")
    if total.checked(parse_amount, "amount", total.text(24), file.currency) != file.total:
        raise DocumentInvalid(total.path, "is not the sum of the payouts")
