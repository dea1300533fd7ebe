"""What the mirror tells about instructions that have their outcome: a log line per transaction, and metrics."""

from __future__ import annotations

import logging
from collections import defaultdict

from fenzhang.mirror.outcomes import Verdict, Verdicts
from fenzhang.store.tables import InstructionState
from fenzhang.telemetry import metrics
from fenzhang.telemetry.logs import fields, some

log = logging.getLogger("fenzhang.mirror")


def report(verdicts: Verdicts) -> None:
    """Outcomes were committed, with their records and postings."""
    types: dict[InstructionState, list[str]] = defaultdict(list)
    by_transaction: dict[bytes, list[Verdict]] = defaultdict(list)
    for verdict in verdicts.by_seq.values():
        types[verdict.state].append(verdict.asked.type)
        by_transaction[verdict.at.tx_hash].append(verdict)
    metrics.count_by_type(metrics.INSTRUCTIONS_SETTLED, types[InstructionState.SETTLED])
    metrics.count_by_type(metrics.INSTRUCTIONS_REJECTED, types[InstructionState.REJECTED])
    for tx_hash, found in by_transaction.items():
        block = found[0].at.block_number
        settled = sum(verdict.state is InstructionState.SETTLED for verdict in found)
        log.info(
            "block %d, transaction 0x%s: %d settled and posted, %d rejected",
            block,
            tx_hash.hex(),
            settled,
            len(found) - settled,
            extra=fields(
                block=block,
                tx_hash="0x" + tx_hash.hex(),
                settled=settled,
                rejected=len(found) - settled,
                requests=some(
                    verdict.asked.request_id for verdict in found if verdict.asked.request_id is not None
                ),
            ),
        )
