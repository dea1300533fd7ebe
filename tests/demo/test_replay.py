"""Replay against a running system: what comes of it is what the specification says, however often it is played."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from fenzhang.chain import deployments
from fenzhang.client import ApiUnreachable
from fenzhang.commands.replay import write_report
from fenzhang.replay import run
from fenzhang.replay.credentials import CredentialsUnreadable, Memory
from fenzhang.replay.preparing import ReplayFailed
from fenzhang.replay.run import Progress, Replay
from fenzhang.replay.scenario import Scenario, load_scenario
from fenzhang.testing.system import LocalSystem
from support.replaying import replayed
from support.scenarios import MARKET_DAY, cut, expected_of

pytestmark = [pytest.mark.node, pytest.mark.slow]
Slice = Callable[[str], Scenario]


async def test_what_comes_of_it_is_what_the_specification_says_however_often_it_is_played(
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
    again = await replayed(fenzhang_system.endpoints, scenario)
    assert again.fresh == 0
    assert (again.counts, again.states, again.standing) == (found.counts, found.states, found.standing)


async def test_an_interrupted_replay_is_finished_by_the_next(
    fenzhang_system: LocalSystem, slice_of_day: Slice
) -> None:
    scenario = slice_of_day("three-")
    expected = expected_of(scenario)
    begun = asyncio.Event()
    interrupted = Replay(
        scenario=scenario,
        api=fenzhang_system.api,
        credentials=fenzhang_system.endpoints.apps,
        progress=Progress(sent=lambda _: begun.set()),
    )
    playing = asyncio.create_task(interrupted.run())
    await begun.wait()
    playing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await playing

    found = await replayed(fenzhang_system.endpoints, scenario)

    assert found.counts == expected.counts
    assert found.to_json()["positions"] == expected.plain_positions()


async def test_apps_can_be_forgotten_and_a_platforms_own_key_cannot(
    fenzhang_system: LocalSystem, tmp_path: Path
) -> None:
    with_own_key = cut(MARKET_DAY, tmp_path / "two", [0, 1], "four-")
    with_keystore = cut(MARKET_DAY, tmp_path / "one", [1], "four-")
    credentials = tmp_path / "apps.json"
    credentials.write_bytes(fenzhang_system.endpoints.apps.read_bytes())
    await replayed(fenzhang_system.endpoints, with_own_key, credentials)
    Memory.beside(credentials).path.unlink()

    again = await replayed(fenzhang_system.endpoints, with_keystore, credentials)

    assert again.fresh == 0
    assert (again.counts["captured"], again.counts["settled"]) == (1, 2)
    with pytest.raises(ReplayFailed, match="the platform four-haitao signs for itself with 0x"):
        await replayed(fenzhang_system.endpoints, with_own_key, credentials)


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


async def test_an_api_that_is_not_there_is_named_before_long(
    fenzhang_system: LocalSystem, slice_of_day: Slice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "FIRST_PATIENCE_S", 0.2)
    nowhere = dataclasses.replace(fenzhang_system.endpoints, api="http://127.0.0.1:9")

    with pytest.raises(ApiUnreachable, match=r"http://127\.0\.0\.1:9 cannot be reached"):
        await replayed(nowhere, slice_of_day("nowhere-"))


async def test_an_api_of_other_contracts_than_the_deployment_files_is_refused(
    fenzhang_system: LocalSystem, slice_of_day: Slice, tmp_path: Path
) -> None:
    deployment = deployments.load(fenzhang_system.endpoints.deployment)
    other = tmp_path / "deployment.json"
    deployments.save(other, dataclasses.replace(deployment, split_ledger=b"\x11" * 20))
    mixed = dataclasses.replace(fenzhang_system.endpoints, deployment=other)

    with pytest.raises(ReplayFailed, match="the deployment file names 0x1111"):
        await replayed(mixed, slice_of_day("mixed-"))


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
