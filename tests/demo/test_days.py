"""Days in parts: what happens beside the orders, how it is told, that it happens once, and what is not as expected."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fenzhang.client import InstructionType, NewInstruction, NewOrder, NewReturn, NewSplit
from fenzhang.client.models import body_of
from fenzhang.domain.rules import RuleTerms
from fenzhang.intake.files.cutting import FileFormat, cut
from fenzhang.intake.files.rows import checked_columns, value_of
from fenzhang.replay.bulk import rejected_rows, written
from fenzhang.replay.credentials import Memory
from fenzhang.replay.day import Moment
from fenzhang.replay.preparing import ReplayFailed
from fenzhang.replay.run import END, Progress, Replay
from fenzhang.replay.scenario import Scenario, ScenarioInvalid, load_scenario
from fenzhang.testing.system import LocalSystem
from support.replaying import replayed

Json = dict[str, Any]
SHARE = {"parent": -1, "kind": "SHARE", "value": 1_000, "role": "promoter"}
REST = {"parent": -1, "kind": "REMAINDER", "role": "merchant"}


def order(ref: str, **more: Any) -> Json:
    return {
        "order_ref": ref,
        "platform": "shop",
        "currency": "CNY",
        "amount": 1_000,
        "channel": "bank-gateway",
        "rule": "simple",
        "merchant": "merchant-1",
        "bindings": {"promoter": "promoter-1", "merchant": "merchant-1"},
        "steps": [{"op": "split", "ref": f"{ref}-S1", "amount": 400}],
        **more,
    }


def documents() -> dict[str, Any]:
    """A day of two parts: in the second one the promoter does not agree to be paid any more."""
    refused = {"state": "REFUSED", "reason": "recipient_not_consented"}
    split = {"state": "SETTLED", "allocations": [["promoter-1", 40], ["merchant-1", 360]]}
    first = order("o-1", expect="SETTLED", end={"held": 600, "split": 400, "rule_version": 1})
    first["steps"][0]["expect"] = split
    revoke: Json = {"platform": "shop", "op": "consent", "ref": "no-more"}
    revoke |= {"participant": "promoter-1", "granted": False}
    return {
        "participants.json": {
            "platforms": ["shop"],
            "rules_of": {"shop": ["simple"]},
            "participants": {"promoter": ["promoter-1"], "merchant": ["merchant-1"]},
        },
        "rules.json": {"simple": {"versions": [{"legs": [SHARE, REST], "terms": {"max_share_out": 3_000}}]}},
        "day.json": {
            "parts": [
                {"name": "first"},
                {"name": "second", "acts": [{"platform": "shop", **revoke}]},
                {"name": "third"},
            ]
        },
        "orders.jsonl": [first, order("o-2", part="second", expect=refused, steps=[])],
        "expected.json": {
            "counts": {
                "captured": 1,
                "settled": 1,
                "released": 0,
                "returned": 0,
                "refunded": 0,
                "rejected": 1,
            },
            "rejections": {"recipient_not_consented": 1},
            "positions": {
                "CNY": {
                    "promoter-1": 40,
                    "merchant-1": 360,
                    "(held)": 600,
                    "(captured)": 1_000,
                    "(refunded)": 0,
                }
            },
            "levels": {"shop": {"merchant-1": {"CNY": 360}}},
        },
    }


def write(folder: Path, content: dict[str, Any], prefix: str = "") -> Scenario:
    """Write a folder, its platform named with a prefix, and read it."""
    folder.mkdir(exist_ok=True)
    for name, document in content.items():
        lines = document if name == "orders.jsonl" else [document]
        text = "\n".join(json.dumps(line) for line in lines)
        (folder / name).write_text(text.replace('"shop"', f'"{prefix}shop"'))
    return load_scenario(folder)


# ------------------------------------------------------------------------------ reading


def test_rules_have_versions_with_terms_and_times(tmp_path: Path) -> None:
    content = documents()
    later = {"legs": [REST], "terms": {"may_owe": True}, "effective_from": "+30"}
    content["rules.json"]["simple"]["versions"] += [later, later | {"effective_from": 77}]

    versions = write(tmp_path, content).rules["simple"]

    assert [version.terms for version in versions] == [
        RuleTerms(max_share_out=3_000),
        RuleTerms(may_owe=True),
        RuleTerms(may_owe=True),
    ]
    assert [version.effective_from for version in versions] == [None, Moment(30, relative=True), Moment(77)]
    assert [len(version.legs) for version in versions] == [2, 1, 1]


def test_a_step_is_in_the_part_of_what_comes_before_it(tmp_path: Path) -> None:
    content = documents()
    content["orders.jsonl"][0]["steps"] += [
        {"op": "refund", "ref": "o-1-F1", "amount": 1, "part": "second"},
        {"op": "refund", "ref": "o-1-F2", "amount": 1},
        {"op": "release", "ref": "o-1-L1", "part": "third"},
    ]

    scenario = write(tmp_path, content)

    assert [step.part for step in scenario.orders[0].steps] == [0, 1, 1, 2]
    assert scenario.recipients_of("shop") == ["merchant-1", "promoter-1"]


Change = Callable[[dict[str, Any]], None]


def _acts(*acts: Json) -> Change:
    def change(content: dict[str, Any]) -> None:
        content["day.json"]["parts"][0]["acts"] = [{"platform": "shop", "ref": "r", **act} for act in acts]

    return change


def _part(**fields: Any) -> Change:
    return lambda content: content["day.json"]["parts"][1].update(fields)


def _order(**fields: Any) -> Change:
    return lambda content: content["orders.jsonl"][0].update(fields)


def _versions(*versions: Json) -> Change:
    return lambda content: content["rules.json"].update(simple={"versions": list(versions)})


def _expected(**fields: Any) -> Change:
    return lambda content: content["expected.json"].update(fields)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_acts({"op": "bribe"}), "day.json: parts[0].acts[0].op: an act is one of consent, cap, place"),
        (
            _acts({"op": "retire", "rule": "simple", "ref": "a b"}),
            'day.json: parts[0].acts[0].ref: "a b" is no',
        ),
        (_acts({"op": "cap"}), "day.json: parts[0].acts[0]: 'max_share_out' is missing"),
        (
            _acts({"op": "consent", "participant": "promoter-1", "granted": 1}),
            "day.json: parts[0].acts[0].granted: 1 is not true or false",
        ),
        (
            _acts({"op": "suspend", "participant": "nobody"}),
            "day.json first, act 1: participant: there is no participant 'nobody'",
        ),
        (
            _acts({"op": "place", "participant": "promoter-1", "below": "nobody"}),
            "day.json first, act 1: below: there is no participant 'nobody'",
        ),
        (_acts({"op": "retire", "rule": "other"}), "day.json first, act 1: rule: shop has no rule 'other'"),
        (
            _acts({"op": "approve", "rule": "simple", "version": 2}),
            "day.json first, act 1: version: simple has no version 2",
        ),
        (
            _acts({"op": "cap", "max_share_out": 1, "platform": "mall"}),
            "day.json first, act 1: platform: there is no platform 'mall'",
        ),
        (
            _acts({"op": "propose_schedule", "schedule": 1, "entries": [{"rule": "other"}]}),
            "day.json first, act 1: entries: shop has no rule 'other'",
        ),
        (
            _acts({"op": "select", "amount": 1, "currency": "CNY", "answer": {}, "facts": {"size": "xl"}}),
            "day.json: parts[0].acts[0].facts: facts are promotion, category, member_tier, channel",
        ),
        (
            _acts(
                {"op": "select", "amount": 1, "currency": "CNY", "answer": {}, "facts": {"category": "a b"}}
            ),
            "day.json: parts[0].acts[0].facts: facts.category: a code is 1 to 8 characters",
        ),
        (_part(name="first"), "day.json: parts[1].name: there is a part 'first' already"),
        (
            _part(after={"third": 5}),
            "day.json: parts[1].after: it names one part before this one, and seconds",
        ),
        (_part(after={"first": "soon"}), 'day.json: parts[1].after.first: "soon" is not a whole number'),
        (_order(part="fourth"), "orders.jsonl line 1: part: day.json has no part 'fourth'"),
        (
            _order(part="second", steps=[{"op": "release", "ref": "r", "part": "first"}]),
            "orders.jsonl line 1: steps[0].part: the part 'first' is over when this comes",
        ),
        (_order(file="day.xls"), "orders.jsonl line 1: file: the name of a bulk file ends in .csv or .jsonl"),
        (
            _order(end={"paid": 1}),
            "orders.jsonl line 1: end.paid: what stands at the end is one of held, split",
        ),
        (_order(expect="DONE"), "orders.jsonl line 1: expect: what is expected is one of SETTLED, REJECTED"),
        (
            _order(expect={"state": "SETTLED", "allocations": [["a"]]}),
            "orders.jsonl line 1: expect.allocations[0]: an allocation is a name and an amount",
        ),
        (_order(hold_until="+1.5"), 'orders.jsonl line 1: hold_until: "+1.5" is neither Unix seconds nor'),
        (_versions(), "rules.json: simple.versions: a rule has at least one version"),
        (
            _versions({"legs": [REST], "effective_from": 5}),
            "rules.json: simple.versions: the first version is in force before the day begins",
        ),
        (
            _versions({"legs": [REST], "terms": {"max_share_out": 10_001}}),
            "rules.json: simple.versions[0].terms.max_share_out: 10001 is not within 0 to 10000",
        ),
        (_expected(counts={"captured": "1"}), 'expected.json: counts.captured: "1" is not a whole number'),
        (_expected(levels={"shop": [1]}), "expected.json: levels.shop: [1] is not an object"),
    ],
)
def test_a_mistake_in_a_day_is_named(tmp_path: Path, change: Change, said: str) -> None:
    content = documents()
    change(content)

    with pytest.raises(ScenarioInvalid) as invalid:
        write(tmp_path, content)

    assert [line[: len(said)] for line in invalid.value.lines] == [said]


@pytest.mark.parametrize("name", ["day.csv", "day.jsonl"])
def test_a_bulk_file_says_all_of_its_instructions(name: str) -> None:
    items: list[NewInstruction] = [
        NewOrder(
            out_order_no="o-1",
            out_rule_no="r",
            merchant="m",
            currency="CNY",
            amount=9,
            channel="c",
            bindings={"promoter": "p, the first", "merchant": "m"},
            expires_at=77,
        ),
        NewSplit(out_split_no="s-1", out_order_no="o-1", amount=9, given=(1, 0, 2)),
        NewReturn(out_return_no="t-1", out_split_no="s-1", amount=3, amounts=[3, 0]),
    ]

    with written(name, items) as path:
        content = path.read_bytes()

    assert not path.exists()
    kind = FileFormat.CSV if name.endswith(".csv") else FileFormat.JSONL
    records = cut(content, kind, first_line=1, most=9, is_end=True).records
    columns = checked_columns(records.pop(0).cells) if kind is FileFormat.CSV else []
    wanted = [json.loads(json.dumps({"type": item.type.value, **body_of(item)})) for item in items]
    assert [value_of(record, kind, columns) for record in records] == wanted
    # A rejected row is known by its line.
    told = {"line": records[1].line, "code": "c", "field": "f", "message": "m"}
    csv_row = "line,code,field,message\n{line},{code},{field},{message}\n".format(**told)
    rejected = csv_row if kind is FileFormat.CSV else json.dumps(told) + "\n"
    assert rejected_rows(name, rejected.encode()) == {1: ("c", "m")}


# ------------------------------------------------------------------------------ playing


@pytest.mark.node
@pytest.mark.slow
async def test_a_day_happens_once_however_often_it_is_played(
    fenzhang_system: LocalSystem, tmp_path: Path
) -> None:
    content = documents()
    filed = [{"op": "split", "ref": ref, "amount": amount} for ref, amount in (("o-3-S0", 0), ("o-3-S1", 9))]
    filed[0]["expect"] = {"state": "REFUSED", "reason": "invalid_amount"}
    content["orders.jsonl"].append(
        order("o-3", file="early.csv", hold_until=5, steps=filed, end={"held": 991})
    )
    del content["expected.json"]
    scenario = write(tmp_path / "day", content, "day-one-")

    found = await replayed(fenzhang_system.endpoints, scenario)

    assert found.findings.differences == []
    assert found.complete
    assert (found.fresh, found.counts["captured"], found.counts["rejected"]) == (4, 2, 2)
    # What the promoter refused would be accepted now: it is not tried again.
    with fenzhang_system.platform("day-one-shop") as shop:
        shop.change_consent("promoter-1", "again", granted=True)
        shop.wait_for(InstructionType.CONSENT, "again")
    again = await replayed(fenzhang_system.endpoints, scenario)
    assert (again.fresh, again.findings.differences) == (0, [])
    assert (again.counts, again.standing) == (found.counts, found.standing)


@pytest.mark.node
@pytest.mark.slow
async def test_what_is_not_as_expected_is_named(fenzhang_system: LocalSystem, tmp_path: Path) -> None:
    content = documents()
    wrong = content["orders.jsonl"][0]
    wrong["steps"][0]["expect"]["allocations"] = [["promoter-1", 41], ["merchant-1", 359]]
    wrong["end"] = {"held": 601}
    wrong["expect"] = {"state": "REJECTED", "reason": "amount_above_limit"}
    content["orders.jsonl"][1]["expect"] = "SETTLED"
    content["day.json"]["parts"][1]["acts"][0]["expect"] = {"state": "REFUSED", "reason": "conflict"}
    content["expected.json"]["counts"]["captured"] = 2
    content["expected.json"]["rejections"] = {}
    content["expected.json"]["positions"]["CNY"]["promoter-1"] = 41
    content["expected.json"]["levels"]["shop"]["merchant-1"] = {"CNY": 1}
    scenario = write(tmp_path / "day", content, "day-two-")

    found = await replayed(fenzhang_system.endpoints, scenario)

    assert not found.complete
    assert {line.split(": expected")[0] for line in found.findings.differences} == {
        "day.json second, act 1 (consent no-more)",
        "orders.jsonl line 1, CAPTURE o-1",
        "orders.jsonl line 1, SPLIT o-1-S1, allocations",
        "orders.jsonl line 1, order o-1, held at the end",
        "orders.jsonl line 2, CAPTURE o-2",
        "day-two-shop, merchant-1 with all below",
        "counts",
        "rejections",
        "CNY of promoter-1",
    }
    assert (
        "orders.jsonl line 1, order o-1, held at the end: expected 601, found 600"
        in found.findings.differences
    )
    assert found.to_json()["expected"]["compared"] > len(found.findings.differences)


@pytest.mark.node
@pytest.mark.slow
async def test_a_day_that_is_interrupted_goes_on_where_it_was(
    fenzhang_system: LocalSystem, tmp_path: Path
) -> None:
    content = documents()
    content["orders.jsonl"].append(
        order("o-3", part="second", expires_at="+900", bindings={}, file="late.jsonl")
    )
    content["orders.jsonl"][-1]["steps"][0]["expect"] = {"state": "REFUSED", "reason": "role_not_bound"}
    del content["expected.json"]
    scenario = write(tmp_path / "day", content, "day-three-")
    sent: list[int] = []
    enough = asyncio.Event()

    def hear(more: int) -> None:
        sent.append(more)
        if sum(sent) > 2:
            enough.set()

    run = Replay(
        scenario=scenario,
        api=fenzhang_system.api,
        credentials=fenzhang_system.endpoints.apps,
        progress=Progress(sent=hear),
    )
    playing = asyncio.create_task(run.run())
    await enough.wait()
    playing.cancel()
    await asyncio.gather(playing, return_exceptions=True)

    found = await replayed(fenzhang_system.endpoints, scenario)

    assert found.findings.differences == []
    assert found.complete
    assert (found.counts["captured"], found.counts["settled"], found.counts["rejected"]) == (2, 1, 2)
    memory = Memory.beside(fenzhang_system.endpoints.apps)
    begins = [memory.begin_of("day-three-shop", part) for part in ("first", "second", "third", END)]
    assert begins == sorted(begin for begin in begins if begin is not None)
    with fenzhang_system.platform("day-three-shop") as shop:
        assert shop.get_order("o-3").expires_at == (begins[1] or 0) + 900


@pytest.mark.node
@pytest.mark.slow
async def test_who_may_not_set_the_lock_says_so(fenzhang_system: LocalSystem, tmp_path: Path) -> None:
    content = documents()
    content["day.json"]["parts"][1]["acts"] = [
        {"op": "approval_lock", "platform": "shop", "rule": "simple", "seconds": 5}
    ]
    scenario = write(tmp_path / "day", content, "day-four-")

    with pytest.raises(ReplayFailed, match="second, act 1: nobody here may set the approval lock"):
        await replayed(fenzhang_system.endpoints, scenario)


@pytest.mark.node
@pytest.mark.slow
async def test_a_version_that_nobody_proposed_is_named(fenzhang_system: LocalSystem, tmp_path: Path) -> None:
    content = documents()
    content["rules.json"]["simple"]["versions"].append({"legs": [REST]})
    approve = {"op": "approve", "ref": "approve-2", "platform": "shop", "rule": "simple", "version": 2}
    content["day.json"]["parts"][0]["acts"] = [approve]
    scenario = write(tmp_path / "day", content, "day-five-")

    with pytest.raises(ReplayFailed, match="first, act 1: there is no version 2 of simple"):
        await replayed(fenzhang_system.endpoints, scenario)
