"""`fenzhang quote`: the same answers from the specification and from the contract, and mistakes named by case."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fenzhang.cli import app
from fenzhang.domain.rules import MAX_CHAIN_AMOUNT
from support.scenarios import ALLOCATION_CASES

ALL_OF_IT = [{"parent": -1, "kind": "REMAINDER"}]


def _quote(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["quote", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def _file(tmp_path: Path, cases: Any) -> Path:
    path = tmp_path / "cases.json"
    path.write_text(cases if isinstance(cases, str) else json.dumps(cases))
    return path


@pytest.fixture(scope="module")
def answers() -> list[dict[str, Any]]:
    cases = json.loads(ALLOCATION_CASES.read_text())
    return [{name: case[name] for name in ("name", "leaves", "error_leg")} for case in cases]


def test_the_specification_gives_the_answers_of_the_shared_cases(answers: list[dict[str, Any]]) -> None:
    code, out, _ = _quote(ALLOCATION_CASES)

    assert code == 0
    assert json.loads(out) == answers


@pytest.mark.node
def test_the_contract_gives_the_answers_of_the_shared_cases(answers: list[dict[str, Any]]) -> None:
    code, out, _ = _quote(ALLOCATION_CASES, "--on-chain")

    assert code == 0
    assert json.loads(out) == answers


def test_a_case_needs_no_name_and_other_fields_are_ignored(tmp_path: Path) -> None:
    case = {"legs": [{**ALL_OF_IT[0], "role": "merchant"}], "amount": MAX_CHAIN_AMOUNT, "currency": "CNY"}

    code, out, _ = _quote(_file(tmp_path, [case]))

    assert code == 0
    assert json.loads(out) == [{"leaves": [MAX_CHAIN_AMOUNT], "error_leg": None}]


GIVEN = [{"parent": -1, "kind": "GIVEN", "value": 5_000, "min": 10}, *ALL_OF_IT]
ROOM = {"leg": 0, "least": 10, "most": 49, "remaining": 99}


@pytest.mark.node
@pytest.mark.parametrize("where", [(), ("--on-chain",)], ids=["specification", "contract"])
def test_a_case_with_given_legs_says_what_they_may_take(tmp_path: Path, where: tuple[str, ...]) -> None:
    cases = [{"legs": GIVEN, "amount": 99, **given} for given in ({"given": [49]}, {"given": [50]}, {})]

    code, out, _ = _quote(_file(tmp_path, cases), *where)

    assert code == 0
    assert json.loads(out) == [
        {"leaves": [49, 50], "error_leg": None, "error": None, "given": [ROOM]},
        {"leaves": None, "error_leg": 0, "error": "given_out_of_bounds", "given": [ROOM]},
        {"leaves": None, "error_leg": None, "error": "given_count", "given": [ROOM]},
    ]


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ({"legs": GIVEN, "amount": 1, "given": 3}, "given: 3 is not an array"),
        ({"legs": GIVEN, "amount": 1, "given": [-1]}, "given[0]: -1 is not within 0 to"),
        ({"legs": GIVEN, "amount": 1, "given": [1, 1.5]}, "given[1]: 1.5 is not a whole number"),
        ({"legs": ALL_OF_IT, "amount": 0}, "amount: 0 is not within 1 to"),
        ({"legs": ALL_OF_IT, "amount": -1}, "amount: -1 is not within 1 to"),
        ({"legs": ALL_OF_IT, "amount": MAX_CHAIN_AMOUNT + 1}, "amount: 79228162514264337593543950336 is not"),
        ({"legs": ALL_OF_IT, "amount": 1.5}, "amount: 1.5 is not a whole number"),
        ({"legs": ALL_OF_IT, "amount": "1"}, 'amount: "1" is not a whole number'),
        ({"legs": ALL_OF_IT}, "'amount' is missing"),
        ({"amount": 1}, "'legs' is missing"),
        ({"legs": [], "amount": 1}, "legs: a rule has 1 to 32 legs, not 0"),
        ({"legs": [{"kind": "REMAINDER"}], "amount": 1}, "legs[0]: 'parent' is missing"),
        ({"legs": [{"parent": -1, "kind": "ALL"}], "amount": 1}, "legs[0].kind: a kind is one of"),
        (
            {"legs": [{"parent": -1, "kind": "FIXED", "value": -3}, *ALL_OF_IT], "amount": 1},
            "legs[0].value: -3",
        ),
        (
            {"legs": [{"parent": 7, "kind": "REMAINDER"}], "amount": 1},
            "legs: leg 0: parent 7 is not an earlier",
        ),
        ({"legs": [{"parent": -1, "kind": "SHARE"}], "amount": 1}, "legs: the pool has no REMAINDER"),
        ("not a case", '"not a case" is not an object'),
    ],
)
def test_a_malformed_case_is_named_by_number_and_field(tmp_path: Path, case: Any, said: str) -> None:
    good = {"legs": ALL_OF_IT, "amount": 1}

    code, out, err = _quote(_file(tmp_path, [good, case]))

    assert code == 2
    assert out == ""
    assert f"cases.json case 2: {said}" in err


@pytest.mark.parametrize(
    ("content", "said"), [("[", "is no JSON"), ("{}", "{} is not an array"), ("[NaN]", "NaN")]
)
def test_a_file_without_cases_is_refused(tmp_path: Path, content: str, said: str) -> None:
    code, out, err = _quote(_file(tmp_path, content))

    assert (code, out) == (2, "")
    assert said in err
    assert "Traceback" not in err


def test_where_to_ask_goes_with_asking_the_chain(tmp_path: Path) -> None:
    code, _, err = _quote(_file(tmp_path, []), "--rpc", "http://127.0.0.1:1")

    assert code == 2
    assert "--on-chain" in err
