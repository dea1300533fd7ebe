"""The small pieces of ABI coding, at their edges."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fenzhang.chain import artifacts
from fenzhang.chain.abi import (
    Reader,
    currency_bytes,
    currency_text,
    encode_bytes,
    encode_words,
    role_bytes,
    role_text,
    word,
)
from fenzhang.chain.artifacts import artifact
from fenzhang.chain.errors import ArtifactMissing, Undecodable
from unit.chain import values


@given(st.binary(min_size=3, max_size=3))
def test_any_three_bytes_survive_as_a_currency(raw: bytes) -> None:
    assert currency_bytes(currency_text(raw)) == raw


@given(values.words)
def test_any_word_survives_as_a_role(raw: bytes) -> None:
    assert role_bytes(role_text(raw)) == raw


def test_no_role_is_the_zero_word() -> None:
    assert role_bytes(None) == role_bytes("") == bytes(32)


@pytest.mark.parametrize("currency", ["", "CN", "CNYX", "人民币"])
def test_a_currency_has_three_letters(currency: str) -> None:
    with pytest.raises(ValueError, match=r"currency|codec"):
        currency_bytes(currency)


def test_a_role_fits_a_word() -> None:
    with pytest.raises(ValueError, match="32 characters"):
        role_bytes("x" * 33)


@given(st.binary(max_size=100))
def test_bytes_read_back(value: bytes) -> None:
    assert Reader(word(32) + encode_bytes(value)).blob(0) == value


@given(st.lists(values.words, max_size=5))
def test_words_read_back(value: list[bytes]) -> None:
    assert Reader(word(32) + encode_words(value)).words(0) == tuple(value)


@pytest.mark.parametrize(
    "read",
    [
        lambda: Reader(b"").raw(0),
        lambda: Reader(bytes(31)).uint(0),
        lambda: Reader(word(256)).uint(0, 8),
        lambda: Reader(word(128)).sint(0, 8),
        lambda: Reader(word(1)).fixed(0, 3),
        lambda: Reader(word(1 << 160)).address(0),
        lambda: Reader(word(2)).flag(0),
        lambda: Reader(word(33)).follow(0),
        lambda: Reader(word(32) + word(2) + word(0)).words(0),
        lambda: Reader(word(32) + word(2) + word(0) * 3).array(0, element_words=2),
        lambda: Reader(word(32) + word(1)).blob(0),
        lambda: Reader(word(32)).blob(0),
    ],
)
def test_what_does_not_fit_is_undecodable(read: Callable[[], object]) -> None:
    with pytest.raises(Undecodable):
        read()


def test_a_contract_that_was_not_compiled_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "artifacts_folder", lambda: tmp_path)
    with pytest.raises(ArtifactMissing, match=r"Absent\.json"):
        artifact("Absent")


def test_every_artifact_says_which_compiler_made_it() -> None:
    for name in (
        "AccessManager",
        "ParticipantRegistry",
        "RuleBook",
        "Conditions",
        "SplitLedger",
        "LedgerView",
    ):
        assert artifact(name).compiler.startswith("0.8.")
        assert len(artifact(name).deployed_bytecode) > 1_000
