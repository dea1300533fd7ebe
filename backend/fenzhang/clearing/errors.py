"""What can be wrong between clearing and a bank."""

from __future__ import annotations

from fenzhang.domain.errors import FenzhangError, InvalidInput


class InvalidBankAccount(InvalidInput):
    """Number, holder or bank cannot be those of a bank account. What was said is not repeated."""

    code = "invalid_bank_account"


class DocumentInvalid(FenzhangError):
    """A bank's document is not what it claims to be. `path` names the element or the cell, never what it holds."""

    code = "bank_document_invalid"

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}", path=path)
        self.path = path
        self.problem = problem


class BankUnavailable(FenzhangError):
    """The bank does not answer, or does not say yet. Asking again helps; nothing is known."""

    code = "bank_unavailable"


class DuplicatePayout(FenzhangError):
    """A payout with this end-to-end id, or a file with this message id, was prepared before."""

    code = "duplicate_payout"


class BankDataUnreadable(FenzhangError):
    """A stored account or file cannot be decrypted: its key is not there, or the row is not what was written."""

    code = "bank_data_unreadable"


class UnknownAccount(FenzhangError):
    """No bank account of this participant is stored for this currency."""

    code = "unknown_bank_account"
