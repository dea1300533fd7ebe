"""Replay against a running system: what comes of it is what the specification says, however often it is played."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from fenzhang.client import InstructionType, State
from fenzhang.commands.replay import write_report
from fenzhang.replay.credentials import CredentialsUnreadable, Memory
from fenzhang.replay.preparing import ReplayFailed
from fenzhang.replay.run import Progress, Replay
from fenzhang.replay.scenario import Scenario, load_scenario
from fenzhang.testing.system import LocalSystem
from support.replaying import replayed
from support.scenarios import MARKET_DAY, cut, expected_of

pytestmark = [pytest.mark.node, pytest.mark.slow]
Slice = Callable[[str], Scenario]


async def test_what_comes_of_it_is_what_the_specification_says(
    fenzhang_system: LocalSystem, slice_of_day: Slice
) -> None:
    scenario = slice_of_day("one-")
    expected = expected_of(scenario)

    found = await replayed(fenzhang_system.endpoints, scenario)

    assert min(expected.counts.values()) > 0, "every kind of outcome is in the slice"
    report = found.to_json()
    assert report["counts"] == expected.counts
    assert report["positions"] == expected.plain_positions()
    assert found.complete
    assert found.undecided == []
    assert found.fresh == found.instructions


async def test_playing_it_again_changes_nothing(fenzhang_system: LocalSystem, slice_of_day: Slice) -> None:
    scenario = slice_of_day("two-")
    first = await replayed(fenzhang_system.endpoints, scenario)

    again = await replayed(fenzhang_system.endpoints, scenario)

    assert again.fresh == 0
    assert again.counts == first.counts
    assert again.standing == first.standing


async def test_an_interrupted_replay_is_finished_by_the_next(
    fenzhang_system: LocalSystem, slice_of_day: Slice
) -> None:
    scenario = slice_of_day("three-")
    expected = expected_of(scenario)
    begun = asyncio.Event()
    run = Replay(
        scenario=scenario,
        api=fenzhang_system.api,
        credentials=fenzhang_system.endpoints.apps,
        progress=Progress(sent=lambda _: begun.set()),
    )
    playing = asyncio.create_task(run.run())
    await begun.wait()
    playing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await playing

    found = await replayed(fenzhang_system.endpoints, scenario)

    assert found.counts == expected.counts
    assert found.to_json()["positions"] == expected.plain_positions()


async def test_a_platform_whose_app_was_forgotten_gets_a_new_one(
    fenzhang_system: LocalSystem, tmp_path: Path
) -> None:
    scenario = cut(MARKET_DAY, tmp_path / "one", [0], "four-")
    credentials = tmp_path / "apps.json"
    credentials.write_bytes(fenzhang_system.endpoints.apps.read_bytes())
    first = await replayed(fenzhang_system.endpoints, scenario, credentials)
    (tmp_path / "replay-platforms.json").unlink()

    again = await replayed(fenzhang_system.endpoints, scenario, credentials)

    assert again.fresh == 0
    assert again.standing == first.standing


async def test_a_platform_whose_key_was_forgotten_cannot_be_played(
    fenzhang_system: LocalSystem, tmp_path: Path
) -> None:
    scenario = cut(MARKET_DAY, tmp_path / "two", [0, 1], "five-")
    credentials = tmp_path / "apps.json"
    credentials.write_bytes(fenzhang_system.endpoints.apps.read_bytes())
    await replayed(fenzhang_system.endpoints, scenario, credentials)
    (tmp_path / "replay-platforms.json").unlink()

    with pytest.raises(ReplayFailed, match="the platform five-haitao signs for itself with 0x"):
        await replayed(fenzhang_system.endpoints, scenario, credentials)


async def test_what_the_api_refuses_counts_as_rejected_and_is_named_by_line(
    fenzhang_system: LocalSystem, tmp_path: Path
) -> None:
    folder = tmp_path / "faulty"
    cut(MARKET_DAY, folder, [0, 1, 2], "six-")
    orders = [json.loads(line) for line in (folder / "orders.jsonl").read_text().splitlines()]
    # The first platform signs for itself, and so do the other two in the keystore: both ways are refused alike.
    orders[0]["steps"].append({"op": "split", "ref": "nothing", "amount": 0})
    orders[0]["steps"].append({"op": "return", "ref": "of-nothing", "split_ref": "unheard-of", "amount": 1})
    orders[1]["currency"] = "XXX"
    orders[2]["steps"].append({"op": "return", "ref": "too-much", "split_ref": "unheard-of", "amount": 1})
    (folder / "orders.jsonl").write_text("\n".join(map(json.dumps, orders)))
    scenario = load_scenario(folder)

    found = await replayed(fenzhang_system.endpoints, scenario)

    refused = [(refusal.line, refusal.key[1], refusal.code) for refusal in found.refusals]
    first, second = orders[1]["order_ref"], orders[1]["steps"]
    assert sorted(refused) == [
        (1, "nothing", "invalid_amount"),
        (1, "of-nothing", "unknown_split"),
        (2, first, "unknown_currency"),
        *((2, step["ref"], "unknown_order") for step in second),
        (3, "too-much", "unknown_split"),
    ]
    assert found.counts["rejected"] == len(refused)
    assert found.counts["captured"] == 2
    assert found.complete
    again = await replayed(fenzhang_system.endpoints, scenario)
    assert again.counts == found.counts
    assert [refusal.line for refusal in again.refusals] == [refusal.line for refusal in found.refusals]


async def test_another_set_of_legs_under_a_known_name_becomes_the_next_version(
    fenzhang_system: LocalSystem, tmp_path: Path
) -> None:
    scenario = cut(MARKET_DAY, tmp_path / "before", [0], "seven-")
    await replayed(fenzhang_system.endpoints, scenario)
    cut(MARKET_DAY, tmp_path / "after", [0], "seven-")
    rules = json.loads((tmp_path / "after" / "rules.json").read_text())
    rules["cross-border"][3] |= {"max": 0, "value": 700}
    (tmp_path / "after" / "rules.json").write_text(json.dumps(rules))
    order = json.loads((tmp_path / "after" / "orders.jsonl").read_text())
    order |= {"order_ref": "later", "steps": [{"op": "split", "ref": "later-S1", "amount": 5054}]}
    (tmp_path / "after" / "orders.jsonl").write_text(json.dumps(order))
    later = load_scenario(tmp_path / "after")

    found = await replayed(fenzhang_system.endpoints, later)

    before, after = expected_of(scenario).positions["JPY"], expected_of(later).positions["JPY"]
    both = {name: before[name] + after[name] for name in {*before, *after}}
    assert found.to_json()["positions"] == {"JPY": both}


async def test_a_fixed_recipient_of_a_leg_is_a_name_of_the_scenario(
    fenzhang_system: LocalSystem, tmp_path: Path
) -> None:
    folder = tmp_path / "fixed"
    cut(MARKET_DAY, folder, [2], "eight-")
    rules = json.loads((folder / "rules.json").read_text())
    fee = {"parent": -1, "kind": "SHARE", "value": 50, "min": 0, "max": 0, "recipient": "channel-003"}
    rules["group-buy"].insert(0, fee)
    (folder / "rules.json").write_text(json.dumps(rules))
    scenario = load_scenario(folder)

    found = await replayed(fenzhang_system.endpoints, scenario)

    assert found.standing is not None
    assert found.standing["CNY"].positions["channel-003"] == 8575 * 50 // 10_000
    assert found.counts["settled"] == 1


async def test_the_client_signs_for_one_platform_and_the_keystore_for_the_others(
    fenzhang_system: LocalSystem, tmp_path: Path
) -> None:
    scenario = cut(MARKET_DAY, tmp_path / "signed", [0, 1, 1_000], "nine-")
    fewest = "nine-haitao"
    await replayed(fenzhang_system.endpoints, scenario)
    memory = Memory.beside(fenzhang_system.endpoints.apps)
    key = memory.key(fewest)

    with fenzhang_system.operator() as operator:
        authority = operator.get_platform(fewest).authority

    assert key is not None
    assert authority == "0x" + key.address.hex()
    assert [memory.key(name) for name in ("nine-mall", "nine-pintuan", "nine-b2b")] == [None] * 3
    assert stat.S_IMODE(memory.path.stat().st_mode) == 0o600


async def test_without_credentials_nothing_is_played(
    fenzhang_system: LocalSystem, slice_of_day: Slice, tmp_path: Path
) -> None:
    with pytest.raises(CredentialsUnreadable, match=r"apps\.json cannot be read"):
        await replayed(fenzhang_system.endpoints, slice_of_day("ten-"), tmp_path / "none" / "apps.json")


def test_a_report_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "report.json"

    write_report(path, {"counts": {}})

    assert json.loads(path.read_text()) == {"counts": {}}
    assert [file.name for file in path.parent.iterdir()] == ["report.json"]


async def test_states_are_those_that_the_api_tells(fenzhang_system: LocalSystem, slice_of_day: Slice) -> None:
    scenario = slice_of_day("eleven-")
    found = await replayed(fenzhang_system.endpoints, scenario)
    rejected = [key for tally in [found.states] for key in tally.values()]
    order = next(order for order in scenario.orders if order.platform == "eleven-mall")

    with fenzhang_system.platform("eleven-mall") as client:
        split = client.get_instruction(InstructionType.SPLIT, order.steps[0].reference)

    assert split.state in {State.SETTLED, State.REJECTED}
    assert sum(states["REJECTED"] for states in rejected) == found.counts["rejected"]
