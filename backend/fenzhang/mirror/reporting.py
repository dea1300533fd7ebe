"""What the mirror tells about instructions that have their outcome: a log line per transaction, and metrics."""

from __future__ import annotations

import logging
from collections import defaultdict
from typing import Any

from fenzhang.mirror.outcomes import Verdicts
from fenzhang.store.tables import InstructionState
from fenzhang.telemetry import metrics
from fenzhang.telemetry.logs import fields, some

log = logging.getLogger("fenzhang.mirror")


def report(verdicts: Verdicts) -> None:
    """Outcomes were committed, with their records and postings."""
    settled, rejected = InstructionState.SETTLED.value, InstructionState.REJECTED.value
    types: dict[str, list[str]] = {settled: [], rejected: []}
    by_transaction: dict[bytes, list[dict[str, Any]]] = defaultdict(list)
    for seq, row in verdicts.rows.items():
        types[row["state"]].append(verdicts.instructions[seq].type)
        by_transaction[row["tx_hash"]].append(row)
    metrics.count_by_type(metrics.INSTRUCTIONS_SETTLED, types[settled])
    metrics.count_by_type(metrics.INSTRUCTIONS_REJECTED, types[rejected])
    for tx_hash, rows in by_transaction.items():
        count = sum(row["state"] == settled for row in rows)
        asked = (verdicts.instructions[row["seq"]].request_id for row in rows)
        log.info(
            "block %d, transaction 0x%s: %d settled and posted, %d rejected",
            rows[0]["block_number"],
            tx_hash.hex(),
            count,
            len(rows) - count,
            extra=fields(
                block=rows[0]["block_number"],
                tx_hash="0x" + tx_hash.hex(),
                settled=count,
                rejected=len(rows) - count,
                requests=some(request_id for request_id in asked if request_id is not None),
            ),
        )
