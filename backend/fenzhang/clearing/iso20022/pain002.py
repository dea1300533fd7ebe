"""pain.002, CustomerPaymentStatusReport: what became of a file and of its payouts.

Written as pain.002.001.12. Versions 10 to 14 are read: what is used here is the same in all of them.
"""

from __future__ import annotations

from typing import Final

from fenzhang.clearing.iso20022 import pain001
from fenzhang.clearing.iso20022.xml import Node, add, document, moment_text, read, written
from fenzhang.clearing.model import UNEXPLAINED, PayoutState, PayoutStatus, StatusReport

MESSAGE: Final = "pain.002.001.12"
MESSAGES: Final = tuple(f"pain.002.001.{version}" for version in range(10, 15))
_STATES: Final = {
    "RCVD": PayoutState.PENDING,
    "ACTC": PayoutState.PENDING,
    "ACCP": PayoutState.PENDING,
    "ACSP": PayoutState.PENDING,
    "ACWC": PayoutState.PENDING,
    "ACFC": PayoutState.PENDING,
    "PDNG": PayoutState.PENDING,
    "ACSC": PayoutState.PAID,
    "ACCC": PayoutState.PAID,
    "RJCT": PayoutState.FAILED,
    "CANC": PayoutState.FAILED,
}
"""ISO 20022's transaction status to what it means for a payout."""
_CODES: Final = {PayoutState.PENDING: "ACSP", PayoutState.PAID: "ACSC", PayoutState.FAILED: "RJCT"}
_GROUP: Final = ("RCVD", "ACTC", "ACCP", "ACSP", "ACSC", "ACCC", "ACWC", "PART", "PDNG", "RJCT")


def write_report(report: StatusReport) -> bytes:
    """The report as a document. Payouts that are not known cannot be reported."""
    root = document(MESSAGE)
    body = add(root, "CstmrPmtStsRpt")
    header = add(body, "GrpHdr")
    add(header, "MsgId", report.report_id)
    add(header, "CreDtTm", moment_text(report.created_at))
    group = add(body, "OrgnlGrpInfAndSts")
    add(group, "OrgnlMsgId", report.message_id)
    add(group, "OrgnlMsgNmId", pain001.MESSAGE)
    add(group, "GrpSts", "RJCT" if report.refused else "ACCP")
    if report.refused:
        add(group, "StsRsnInf/Rsn/Cd", report.refused)
    if report.payouts:
        payment = add(body, "OrgnlPmtInfAndSts")
        add(payment, "OrgnlPmtInfId", report.message_id)
        for end_to_end_id, status in report.payouts:
            transfer = add(payment, "TxInfAndSts")
            add(transfer, "OrgnlEndToEndId", end_to_end_id)
            add(transfer, "TxSts", _CODES[status.state])
            if status.reason:
                add(transfer, "StsRsnInf/Rsn/Cd", status.reason)
    return written(root)


def read_report(content: bytes) -> StatusReport:
    """What a bank reports. Raises DocumentInvalid."""
    _, root = read(content, MESSAGES)
    body = root.child("CstmrPmtStsRpt")
    header, group = body.child("GrpHdr"), body.child("OrgnlGrpInfAndSts")
    status = group.optional("GrpSts")
    refused = status is not None and status.one_of(_GROUP) == "RJCT"
    payouts = [
        _payout(transfer)
        for payment in body.children("OrgnlPmtInfAndSts")
        for transfer in payment.children("TxInfAndSts")
    ]
    return body.checked(
        StatusReport,
        report_id=header.child("MsgId").text(),
        created_at=header.child("CreDtTm").moment(),
        message_id=group.child("OrgnlMsgId").text(),
        refused=_reason(group) if refused else None,
        payouts=tuple(payouts),
    )


def _payout(transfer: Node) -> tuple[str, PayoutStatus]:
    state = _STATES[transfer.child("TxSts").one_of(tuple(_STATES))]
    reason = _reason(transfer) if state is PayoutState.FAILED else None
    return transfer.child("OrgnlEndToEndId").text(), PayoutStatus(state, reason)


def _reason(node: Node) -> str:
    for given in node.children("StsRsnInf"):
        code = given.optional("Rsn/Cd") or given.optional("Rsn/Prtry")
        if code is not None:
            return code.text()
    return UNEXPLAINED
