"""What submission tells about its transactions: log lines, one per transaction, and metrics."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from fenzhang.store.tables import TransactionState
from fenzhang.submission.building import Built
from fenzhang.submission.tracking import End
from fenzhang.telemetry import metrics
from fenzhang.telemetry.logs import fields, some

log = logging.getLogger("fenzhang.submission")


def report_stored(transactions: Sequence[Built], requests: Mapping[int, str]) -> None:
    """Transactions were stored; `requests` are ids of the requests that brought their instructions, by seq."""
    for built in transactions:
        if built.expiring is not None:
            orders = len(built.expiring.tries)
            tx_hash = "0x" + built.signed.hash.hex()
            log.info(
                "transaction %s expires %d orders",
                tx_hash,
                orders,
                extra=fields(tx_hash=tx_hash, orders=orders),
            )
            continue
        log.info(
            "transaction 0x%s carries %d instructions",
            built.signed.hash.hex(),
            len(built.seqs),
            extra=fields(
                tx_hash="0x" + built.signed.hash.hex(),
                nonce=built.nonce,
                instructions=len(built.seqs),
                requests=some(requests[seq] for seq in built.seqs if seq in requests),
            ),
        )


def count_ends(ends: Sequence[End]) -> None:
    """Transactions came to their end."""
    reverted = sum(end.state is TransactionState.REVERTED for end in ends)
    metrics.TRANSACTIONS_REVERTED.inc(reverted)
    metrics.TRANSACTIONS_MINED.inc(len(ends) - reverted)
    metrics.GAS_USED.inc(sum(end.receipt.gas_used for end in ends if end.receipt is not None))
