"""Refunds end to end: over HTTP, signed by either side, on a real chain, and verified from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fenzhang.client import InstructionType, NewOrder, NewRefund, NewSplit
from fenzhang.domain.rules import Leg, LegKind
from fenzhang.testing.system import LocalSystem
from support.pages import check_page
from support.shops import Shop, verified

pytestmark = [pytest.mark.node, pytest.mark.slow]
PAIR = (Leg(-1, LegKind.SHARE, 5_000, role="promoter"), Leg(-1, LegKind.REMAINDER, role="merchant"))


def test_a_platform_refunds_an_order(shop: Shop, fenzhang_system: LocalSystem) -> None:
    with shop.client() as client:
        fenzhang_system.put_rule_in_force(client, shop.name, "pair", PAIR)
        order = NewOrder(
            out_order_no="refunded-1",
            out_rule_no="pair",
            merchant="merchant-1",
            currency="CNY",
            amount=1_000,
            channel="sandbox",
            bindings={"promoter": "promoter-1", "merchant": "merchant-1"},
        )
        split = NewSplit(out_split_no="refunded-S", out_order_no="refunded-1", amount=900)
        client.submit([order, split])
        client.wait_for(InstructionType.SPLIT, "refunded-S")
        client.refund(
            NewRefund(out_refund_no="refunded-F", out_order_no="refunded-1", amount=300, currency="CNY")
        )
        settled = client.wait_for(InstructionType.REFUND, "refunded-F")
        client.submit([NewRefund(out_refund_no="refunded-G", out_order_no="refunded-1", amount=701)])
        refused = client.wait_for(InstructionType.REFUND, "refunded-G")
        found = client.get_order("refunded-1")

    assert settled.reference == "refunded-F"
    assert settled.allocations is not None
    assert (settled.from_held, [leaf.amount for leaf in settled.allocations]) == (100, [100, 100])
    assert refused.reason is not None
    assert refused.reason.code == "insufficient_refundable"
    assert (found.held, found.split, found.refunded) == (0, 900, 300)
    report = verified(fenzhang_system)
    assert report.differences == ()
    assert report.counts["refunds"] > 0


@pytest.mark.parametrize("page", ["refunds.md", "debt.md"])
def test_the_example_of_the_page_prints_what_the_page_says(
    fenzhang_system: LocalSystem, tmp_path: Path, page: str
) -> None:
    check_page(page, fenzhang_system, tmp_path)
