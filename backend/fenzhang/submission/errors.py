"""What submission can run into."""

from __future__ import annotations

from fenzhang.domain.errors import FenzhangError


class SigningKeyMissing(FenzhangError):
    """The keystore has no key with this label."""

    code = "signing_key_missing"


class GasExhausted(FenzhangError):
    """The authorization uses more gas than any transaction may, alone and with nothing else in it."""

    code = "gas_exhausted"


class TransactionReverted(FenzhangError):
    """The chain refused the transaction and gives no reason."""

    code = "transaction_reverted"


class Superseded(FenzhangError):
    """What was to be stored was decided on rows that have changed since. Nothing was stored; looking again helps."""

    code = "superseded"
