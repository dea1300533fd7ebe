"""Given amounts end to end: over HTTP, signed by either side, on a real chain, and verified from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fenzhang.client import InstructionType, InvalidRequest, NewOrder, NewReturn, NewSplit
from fenzhang.domain.rules import Leg, LegKind
from fenzhang.testing.system import LocalSystem
from support.pages import check_page
from support.shops import Shop, verified

pytestmark = [pytest.mark.node, pytest.mark.slow]
AGENCY = (
    Leg(-1, LegKind.GIVEN, 2_000, min=3, max=90, role="promoter"),
    Leg(-1, LegKind.GIVEN, 6_000),
    Leg(-1, LegKind.REMAINDER, role="merchant"),
    Leg(1, LegKind.GIVEN, 5_000, role="promoter"),
    Leg(1, LegKind.REMAINDER, role="platform"),
)


def test_a_platform_gives_amounts_within_what_was_approved(shop: Shop, fenzhang_system: LocalSystem) -> None:
    with shop.client() as client:
        fenzhang_system.put_rule_in_force(client, shop.name, "agency", AGENCY)
        bindings = {"promoter": "promoter-1", "merchant": "merchant-1", "platform": shop.name}
        order = NewOrder(
            out_order_no="agency-1",
            out_rule_no="agency",
            merchant="merchant-1",
            currency="CNY",
            amount=1_000,
            channel="sandbox",
            bindings=bindings,
        )
        good = NewSplit(out_split_no="agency-S", out_order_no="agency-1", amount=1_000, given=(70, 501, 250))
        back = NewReturn(out_return_no="agency-R", out_split_no="agency-S", amount=100)
        client.submit([order, good])
        client.wait_for(InstructionType.SPLIT, "agency-S")
        client.submit([back])
        returned = client.wait_for(InstructionType.RETURN, "agency-R")
        with pytest.raises(InvalidRequest) as refused:
            client.split(
                NewSplit(out_split_no="agency-T", out_order_no="agency-1", amount=100, given=(21, 0, 0))
            )
        quoted = client.quote(1_000, rule="agency", given=(70, 501, 250))
        settled = client.get_instruction(InstructionType.SPLIT, "agency-S")

    assert settled.allocations is not None
    assert [leaf.amount for leaf in settled.allocations] == [70, 429, 250, 251]
    assert quoted.agree
    assert quoted.chain.leaves == (70, 429, 250, 251)
    assert [(leg.leg, leg.least, leg.most) for leg in quoted.given] == [(0, 3, 90), (1, 0, 600), (3, 0, 250)]
    assert returned.allocations is not None
    assert [leaf.amount for leaf in returned.allocations] == [7, 42, 25, 26]
    assert refused.value.code == "given_out_of_bounds"
    bounds = {"field": "given[0]", "leg": 0, "amount": 21, "least": 3, "most": 20}
    assert bounds.items() <= refused.value.values.items()
    report = verified(fenzhang_system)
    assert report.differences == ()
    assert report.counts["splits"] > 0


def test_the_example_of_the_page_prints_what_the_page_says(
    fenzhang_system: LocalSystem, tmp_path: Path
) -> None:
    check_page("given-amounts.md", fenzhang_system, tmp_path)
