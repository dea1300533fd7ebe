"""Schedules end to end: over HTTP, signed by either side, on a real chain, and verified from it."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path

import pytest

from fenzhang.chain.signer import LocalKey
from fenzhang.client import Conflict, InstructionType, NewEntry, NewSchedule, NewSplit, State
from fenzhang.domain.facts import Facts
from fenzhang.domain.rules import Leg, LegKind
from fenzhang.testing.system import LocalSystem
from support.pages import check_page
from support.shops import Shop, open_shop, verified

pytestmark = [pytest.mark.node, pytest.mark.slow]
GENTLE = (Leg(-1, LegKind.SHARE, 100, role="platform"), Leg(-1, LegKind.REMAINDER, role="merchant"))
GOLD = Facts(member_tier="gold")


def put_in_force(shop: Shop, entries: list[NewEntry]) -> None:
    with shop.client() as client, shop.system.approver() as approver:
        client.propose_schedule(
            NewSchedule(out_request_no="publish", entries=entries, version=1, effective_from=0)
        )
        client.wait_for(InstructionType.PROPOSE, "publish")
        [version] = approver.get_schedule(shop.name).versions
        approver.approve_schedule(f"approve-{shop.name}", shop.name, version)
        client.wait_for(InstructionType.APPROVE, f"approve-{shop.name}")


@pytest.mark.parametrize("signs", ["keystore", "client"])
def test_a_platform_is_held_to_its_schedule_until_it_retires_it(
    fenzhang_system: LocalSystem, signs: str
) -> None:
    key = LocalKey(secrets.token_bytes(32)) if signs == "client" else None
    shop = open_shop(fenzhang_system, f"scheduled-{signs}", key)
    with shop.client() as client:
        fenzhang_system.put_rule_in_force(client, shop.name, "gentle", GENTLE)
        put_in_force(shop, [NewEntry(out_rule_no="gentle", facts=GOLD), NewEntry(out_rule_no="fee")])
        bindings = {"platform": shop.name, "merchant": "merchant-1"}
        order = shop.order()
        golden = replace(order, out_order_no="gold", out_rule_no=None, facts=GOLD, bindings=bindings)
        split = NewSplit(out_split_no="gold-S", out_order_no="gold", amount=500)
        client.submit([order, golden, split])
        settled = client.wait_for(InstructionType.SPLIT, "gold-S")
        captured = client.get_order("gold")
        quoted = client.quote(1_000, currency="CNY", facts=GOLD)
        with pytest.raises(Conflict) as refused:
            client.create_order(replace(order, out_order_no="other", facts=GOLD))
        client.retire_schedule("enough")
        client.wait_for(InstructionType.RETIRE, "enough")
        client.create_order(replace(order, out_order_no="other", facts=GOLD))
        free = client.wait_for(InstructionType.CAPTURE, "other")

    assert settled.state is State.SETTLED
    assert settled.allocations is not None
    assert [leaf.amount for leaf in settled.allocations] == [5, 495]
    assert captured.schedule is not None
    assert (captured.schedule.version, captured.schedule.entry, captured.facts) == (1, 0, GOLD.stated())
    assert quoted.agree
    assert quoted.selection is not None
    assert (quoted.selection.out_rule_no, quoted.selection.criteria) == ("gentle", ("member_tier",))
    assert refused.value.code == "rule_not_selected"
    assert (free.state, free.out_rule_no, free.schedule) == (State.SETTLED, "fee", None)
    assert verified(fenzhang_system).differences == ()


def test_the_example_of_the_page_prints_what_the_page_says(
    fenzhang_system: LocalSystem, tmp_path: Path
) -> None:
    check_page("rule-schedules.md", fenzhang_system, tmp_path)
