"""`fenzhang approval-lock`, and the lock with which contracts are deployed, as an operator runs them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from fenzhang.chain.errors import ContractError
from fenzhang.commands import approvallock, deploy
from fenzhang.devnet import CHAIN_ID, RunningNode, dev_account, ephemeral_node

pytestmark = pytest.mark.node

APP = typer.Typer()
deploy.register(APP)
approvallock.register(APP)


@pytest.fixture(scope="module")
def chain() -> Iterator[RunningNode]:
    with ephemeral_node() as node:
        yield node


@pytest.fixture(autouse=True)
def _working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(chain: RunningNode, *arguments: str) -> Result:
    return CliRunner().invoke(APP, [*arguments, "--rpc", chain.url])


def test_the_lock_is_set_at_deployment_shown_and_changed(chain: RunningNode, tmp_path: Path) -> None:
    assert run(chain, "deploy", "--approval-lock", "3600").exit_code == 0
    assert "at least 3600 seconds" in run(chain, "approval-lock").output
    changed = run(chain, "approval-lock", "60")
    assert "at least 60 seconds" in changed.output, changed.output
    assert "at least 0 seconds" in run(chain, "approval-lock", "0").output
    assert [path.name for path in (tmp_path / "deployments").iterdir()] == [f"{CHAIN_ID}.json"]
    key = tmp_path / "guardian.key"
    key.write_text(dev_account("guardian").private_key.removeprefix("0x"))
    refused = run(chain, "approval-lock", "5", "--admin-key-file", str(key))
    assert isinstance(refused.exception, ContractError)
    assert refused.exception.code == "access_managed_unauthorized"
    assert run(chain, "approval-lock", "--", "-1").exit_code == 2
