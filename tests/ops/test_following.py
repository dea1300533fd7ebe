"""One id from the request over the transaction to the posting, by the logs alone."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from sqlalchemy import update

from fenzhang.store import tables
from fenzhang.telemetry import metrics
from pipeline.harness import Pipeline


def _fields(caplog: pytest.LogCaptureFixture, logger: str, key: str) -> list[dict[str, Any]]:
    found = [getattr(record, "fields", {}) for record in caplog.records if record.name == logger]
    return [fields for fields in found if key in fields]


def _count(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(name, labels) or 0.0


async def test_a_request_is_followed_to_its_transaction_and_its_posting(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    capture = pipeline.world.capture(1_000)
    good, bad = pipeline.world.split(capture.order_id, 600), pipeline.world.split(capture.order_id, 5_000)
    seqs = await pipeline.accept(capture, good, bad)
    async with pipeline.database.write() as session:
        for seq, request in zip(seqs, ("req-a", "req-b", "req-b"), strict=True):
            await session.execute(
                update(tables.Instruction).where(tables.Instruction.seq == seq).values(request_id=request)
            )
    before = {
        name: _count(name, **labels)
        for name, labels in (
            ("fenzhang_instructions_settled_total", {"type": "SPLIT"}),
            ("fenzhang_instructions_rejected_total", {"type": "SPLIT"}),
            ("fenzhang_transactions_sent_total", {}),
            ("fenzhang_transactions_mined_total", {}),
            ("fenzhang_gas_used_total", {}),
        )
    }

    await pipeline.settle_all()

    carried = _fields(caplog, "fenzhang.submission", "tx_hash")
    mirrored = _fields(caplog, "fenzhang.mirror", "tx_hash")
    assert sorted({request for line in carried for request in line["requests"]}) == ["req-a", "req-b"]
    assert sum(line["instructions"] for line in carried) == 3
    assert {line["tx_hash"] for line in mirrored} == {line["tx_hash"] for line in carried}
    assert (sum(line["settled"] for line in mirrored), sum(line["rejected"] for line in mirrored)) == (2, 1)
    for line in mirrored:
        [same] = [each for each in carried if each["tx_hash"] == line["tx_hash"]]
        assert line["requests"] == same["requests"]
        row = await pipeline.instruction(seqs[0] if "req-a" in line["requests"] else seqs[1])
        assert (line["block"], line["tx_hash"]) == (row.block_number, "0x" + (row.tx_hash or b"").hex())

    assert _count("fenzhang_instructions_settled_total", type="SPLIT") == (
        before["fenzhang_instructions_settled_total"] + 1
    )
    assert _count("fenzhang_instructions_rejected_total", type="SPLIT") == (
        before["fenzhang_instructions_rejected_total"] + 1
    )
    transactions = await pipeline.transactions()
    sent = _count("fenzhang_transactions_sent_total") - before["fenzhang_transactions_sent_total"]
    mined = _count("fenzhang_transactions_mined_total") - before["fenzhang_transactions_mined_total"]
    assert sent == mined == len(transactions)
    used = sum(transaction.gas_used or 0 for transaction in transactions)
    assert _count("fenzhang_gas_used_total") - before["fenzhang_gas_used_total"] == used > 0


async def test_sending_again_is_not_counted_again(pipeline: Pipeline) -> None:
    await pipeline.accept(pipeline.world.capture(1_000))
    before = _count("fenzhang_transactions_sent_total")
    for _ in range(3):
        await pipeline.submitter.tick()
    assert _count("fenzhang_transactions_sent_total") - before == 1
