"""Why a chain could not be checked. That says nothing about whether its history is right."""

from __future__ import annotations

from fenzhang.domain.errors import FenzhangError


class ChainMoved(FenzhangError):
    """The chain reorganised while it was read; running the verification again reads the new one."""

    code = "chain_moved"


class HistoryMissing(FenzhangError):
    """The node has thrown away blocks or transactions that the verification needs."""

    code = "history_missing"


class OrderNotOnChain(FenzhangError):
    """No record on the chain names the order."""

    code = "order_not_on_chain"


class PayoutNotOnChain(FenzhangError):
    """No record on the chain names the payout."""

    code = "payout_not_on_chain"
