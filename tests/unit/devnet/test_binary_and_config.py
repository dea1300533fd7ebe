"""Finding anvil, the command line it gets, and the documented accounts. No node runs here."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from eth_account import Account

from fenzhang.devnet import (
    DEV_ACCOUNTS,
    DEV_MNEMONIC,
    DEV_PRIVATE_KEYS,
    AnvilMissing,
    AnvilNotExecutable,
    DevnetConfig,
    Mining,
    binary,
    default_home,
    dev_account,
    find_anvil,
)
from fenzhang.devnet.config import anvil_arguments

DEVNET = Path(__file__).resolve().parents[3] / "hardhat-free-devnet"


def executable(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_the_environment_comes_before_the_path_and_the_path_before_npm(tmp_path: Path) -> None:
    named, on_path = executable(tmp_path / "mine"), executable(tmp_path / "bin" / "anvil")

    assert find_anvil({"FENZHANG_ANVIL": str(named), "PATH": str(on_path.parent)}) == named
    assert find_anvil({"PATH": str(on_path.parent)}) == on_path


def test_without_either_npms_own_binary_is_used_and_not_its_shim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binary, "devnet_directories", lambda: iter([tmp_path]))
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    scope = tmp_path / "node_modules" / "@foundry-rs"
    executable(tmp_path / "node_modules" / ".bin" / "anvil")
    fetched = executable(scope / "anvil" / "anvil")

    assert find_anvil({"PATH": ""}) == fetched
    packaged = executable(scope / "anvil-darwin-arm64" / "bin" / "anvil")
    assert find_anvil({"PATH": ""}) == packaged


@pytest.mark.parametrize(("node", "advice"), [(False, "install Node.js 20"), (True, "run `npm ci`")])
def test_without_any_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, node: bool, advice: str
) -> None:
    monkeypatch.setattr(binary, "devnet_directories", lambda: iter([tmp_path]))
    if node:
        executable(tmp_path / "bin" / "node")

    with pytest.raises(AnvilMissing, match=advice) as caught:
        find_anvil({"PATH": str(tmp_path / "bin")})

    assert caught.value.code == "devnet_anvil_missing"
    assert "FENZHANG_ANVIL" in str(caught.value)
    assert "PATH" in str(caught.value)


def test_a_wrong_fenzhang_anvil_is_an_error_and_not_passed_over(tmp_path: Path) -> None:
    on_path = executable(tmp_path / "anvil")
    plain = tmp_path / "plain"
    plain.write_text("")

    for wrong in (plain, tmp_path / "absent"):
        with pytest.raises(AnvilNotExecutable, match=wrong.name):
            find_anvil({"FENZHANG_ANVIL": str(wrong), "PATH": str(on_path.parent)})


def test_each_mining_mode_has_its_own_flags(tmp_path: Path) -> None:
    def arguments(mining: Mining) -> list[str]:
        config = DevnetConfig(home=tmp_path, mining=mining, block_time_s=0.5)
        return anvil_arguments(config, port=1, cache=tmp_path, state=None)

    assert arguments(Mining.INTERVAL)[-2:] == ["--block-time", "0.5"]
    assert "--block-time" not in arguments(Mining.INSTANT)
    assert "--no-mining" not in arguments(Mining.INSTANT)
    assert arguments(Mining.MANUAL)[-1] == "--no-mining"


def test_receipts_are_never_dropped(tmp_path: Path) -> None:
    arguments = anvil_arguments(
        DevnetConfig(home=tmp_path), port=1, cache=tmp_path, state=tmp_path / "state.json"
    )

    assert "--transaction-block-keeper" not in arguments
    assert arguments[-2:] == ["--load-state", str(tmp_path / "state.json")]


@pytest.mark.parametrize(
    "wrong", [{"port": -1}, {"port": 65_536}, {"block_time_s": 0.0}, {"block_time_s": -1.0}]
)
def test_impossible_configurations_are_refused(tmp_path: Path, wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="is not"):
        DevnetConfig(home=tmp_path, **wrong)  # type: ignore[arg-type]  # that is the point


def test_the_home_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FENZHANG_HOME", str(tmp_path / "elsewhere"))
    assert default_home() == tmp_path / "elsewhere"

    monkeypatch.delenv("FENZHANG_HOME")
    monkeypatch.chdir(tmp_path)
    assert default_home() == tmp_path / ".fenzhang"


def test_the_documented_accounts_are_those_of_the_mnemonic() -> None:
    documented = json.loads((DEVNET / "accounts.json").read_text())
    Account.enable_unaudited_hdwallet_features()

    assert documented["mnemonic"] == DEV_MNEMONIC
    assert len(documented["accounts"]) == len(DEV_ACCOUNTS) == len(DEV_PRIVATE_KEYS) == 10
    for entry, account in zip(documented["accounts"], DEV_ACCOUNTS, strict=True):
        derived = Account.from_mnemonic(DEV_MNEMONIC, account_path=f"m/44'/60'/0'/0/{account.index}")
        assert entry["address"] == account.address == derived.address
        assert entry["privateKey"] == account.private_key == "0x" + derived.key.hex().removeprefix("0x")
        assert entry["purpose"] == account.purpose
        assert entry["index"] == account.index


def test_an_account_is_found_by_its_purpose() -> None:
    assert dev_account("registrar").index == 1
    with pytest.raises(LookupError, match="treasurer"):
        dev_account("treasurer")
