"""`fenzhang deploy` and scripts/deploy.py, as an operator runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from fenzhang.chain.deployments import load
from fenzhang.chain.errors import DeploymentMismatch, DevKeyRefused, NodeUnavailable, WrongPassword
from fenzhang.chain.keystore import encrypt_key
from fenzhang.chain.signer import LocalKey
from fenzhang.commands.deploy import register
from fenzhang.commands.keyfile import PASSWORD_VARIABLE
from fenzhang.devnet import CHAIN_ID, RunningNode, dev_account, ephemeral_node

pytestmark = pytest.mark.node

ROOT = Path(__file__).parents[3]
OWN = LocalKey(b"\x11" * 32)
APP = typer.Typer()
register(APP)


@pytest.fixture(scope="module")
def chain() -> Iterator[RunningNode]:
    with ephemeral_node() as node:
        yield node


@pytest.fixture(scope="module")
def foreign() -> Iterator[RunningNode]:
    """A chain that is not the devnet."""
    with ephemeral_node(chain_id=4242) as node:
        yield node


@pytest.fixture(autouse=True)
def _working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)


def run(*arguments: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(APP, list(arguments), input=typed)


def test_on_the_devnet_nothing_but_the_node_need_be_said(chain: RunningNode) -> None:
    result = run("--rpc", chain.url)
    assert result.exit_code == 0, result.output
    deployment = load(Path("deployments") / f"{CHAIN_ID}.json")
    assert f"SplitLedger 0x{deployment.split_ledger.hex()} on chain {CHAIN_ID}" in result.output
    again = run("--rpc", chain.url)
    assert "nothing to do" in again.output


def test_elsewhere_a_key_of_ones_own_is_needed(foreign: RunningNode) -> None:
    result = run("--rpc", foreign.url)
    assert result.exit_code == 2
    assert "--admin-key-file is needed" in result.output


def test_the_public_test_key_is_refused_elsewhere(foreign: RunningNode, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(dev_account("admin").private_key)
    result = run("--rpc", foreign.url, "--admin-key-file", str(key))
    assert isinstance(result.exception, DevKeyRefused)
    assert not (tmp_path / "deployments").exists()


def test_a_key_file_opens_with_a_password_from_the_environment_or_the_terminal(
    foreign: RunningNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "key.json"
    key.write_text(json.dumps(encrypt_key(OWN, "open", work_factor=4)))
    common = ("--rpc", foreign.url, "--admin-key-file", str(key), "--out", "d.json")
    attestor = ("--attestor", "0x" + "22" * 20, "--attestor", "33" * 20)
    monkeypatch.setenv(PASSWORD_VARIABLE, "shut")
    assert isinstance(run(*common, *attestor).exception, WrongPassword)
    monkeypatch.setenv(PASSWORD_VARIABLE, "open")
    first = run(*common, *attestor)
    assert first.exit_code == 0, first.output
    monkeypatch.delenv(PASSWORD_VARIABLE)
    second = run(*common, *attestor, typed="open\n")
    assert "nothing to do" in second.output
    assert load(Path("d.json")).chain_id == 4242


@pytest.mark.parametrize("address", ["0x12", "me", "0x" + "00" * 20, "0x" + "zz" * 20, ""])
def test_what_is_no_address_is_wrong_usage(chain: RunningNode, address: str) -> None:
    result = run("--rpc", chain.url, "--registrar", address)
    assert result.exit_code == 2
    assert "no address" in result.output


def test_a_node_that_is_not_there_is_named(tmp_path: Path) -> None:
    result = run("--rpc", "http://user:s3cret@127.0.0.1:1")
    assert isinstance(result.exception, NodeUnavailable)
    assert "s3cret" not in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_the_file_of_another_chain_is_not_overwritten(
    chain: RunningNode, foreign: RunningNode, tmp_path: Path
) -> None:
    assert run("--rpc", chain.url, "--out", "d.json").exit_code == 0
    before = (tmp_path / "d.json").read_bytes()
    key = tmp_path / "key"
    key.write_text(OWN.secret().hex())
    result = run("--rpc", foreign.url, "--admin-key-file", str(key), "--out", "d.json")
    assert isinstance(result.exception, DeploymentMismatch)
    assert (tmp_path / "d.json").read_bytes() == before


def test_the_script_does_the_same(chain: RunningNode, tmp_path: Path) -> None:
    script = [sys.executable, str(ROOT / "scripts" / "deploy.py"), "--rpc"]
    done = subprocess.run(
        [*script, chain.url, "--out", "s.json"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "SplitLedger 0x" in done.stdout
    failed = subprocess.run(
        [*script, "http://127.0.0.1:1"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert failed.returncode == 1
    assert failed.stderr == "the node http://127.0.0.1:1 cannot be reached (ConnectError)\n"
