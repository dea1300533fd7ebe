"""Deployment: onto a real node, once, whatever interrupts it; and deployment files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fenzhang.chain import steps
from fenzhang.chain.artifacts import artifact
from fenzhang.chain.deploy import DeployPlan, deploy
from fenzhang.chain.deployments import check_deployment, deployment_path, load, save
from fenzhang.chain.errors import (
    ContractError,
    DeployInterrupted,
    DeploymentInvalid,
    DeploymentMismatch,
    DevKeyRefused,
    NodeUnavailable,
    RpcError,
)
from fenzhang.chain.events import AdministrationChanged, CurrencyChanged, RoleGranted, decode_logs
from fenzhang.chain.governance import enroll_call
from fenzhang.chain.node import BlockTag, NodeClient
from fenzhang.chain.reverts import CONTRACTS
from fenzhang.chain.signer import LocalKey, TransactionRequest
from fenzhang.chain.steps import suggested_fees
from fenzhang.chain.views import (
    ATTESTOR_ROLE,
    CLEARING_BANK_ROLE,
    CLEARING_HOUSE_ROLE,
    GUARDIAN_ROLE,
    LEDGER_ROLE,
    REGISTRAR_ROLE,
    RULE_APPROVER_ROLE,
    ChainView,
)
from fenzhang.devnet import CHAIN_ID, RunningNode, dev_account, ephemeral_node
from fenzhang.domain.money import CURRENCIES

pytestmark = pytest.mark.node


def dev_key(purpose: str) -> LocalKey:
    return LocalKey(bytes.fromhex(dev_account(purpose).private_key.removeprefix("0x")))


ADMIN = dev_key("admin")
PLAN = DeployPlan(
    registrars=[dev_key("registrar").address],
    rule_approvers=[dev_key("rule-approver").address],
    guardians=[dev_key("guardian").address],
    attestors=[dev_key("bank-attestor").address],
    clearing_banks=[dev_key("clearing-bank").address],
)
SHORT = replace(PLAN, currencies=["CNY", "JPY"])
STEPS_OF_SHORT = len(CONTRACTS) + 2


@pytest.fixture
def chain() -> Iterator[RunningNode]:
    """A chain of its own for each test: a deployment cannot be undone."""
    with ephemeral_node() as node:
        yield node


async def test_everything_stands_where_the_file_says(chain: RunningNode, tmp_path: Path) -> None:
    path = deployment_path(CHAIN_ID, tmp_path / "deployments")
    async with NodeClient(chain.url) as node:
        deployment = await deploy(node, ADMIN, PLAN, path)
        assert path == tmp_path / "deployments" / "20261.json"
        assert load(path) == deployment
        assert _names(path.parent) == ["20261.json"]
        await check_deployment(node, deployment)
        assert deployment.block_number == 1

        view = ChainView(node, deployment)
        assert await view.has_role(REGISTRAR_ROLE, dev_key("registrar").address)
        assert await view.has_role(RULE_APPROVER_ROLE, dev_key("rule-approver").address)
        assert await view.has_role(ATTESTOR_ROLE, dev_key("bank-attestor").address)
        assert await view.has_role(GUARDIAN_ROLE, dev_key("guardian").address)
        assert await view.has_role(CLEARING_BANK_ROLE, dev_key("clearing-bank").address)
        assert await view.has_role(0, ADMIN.address)
        assert not await view.has_role(ATTESTOR_ROLE, ADMIN.address)
        for currency in CURRENCIES:
            assert (await view.totals(currency)).enabled, currency
        assert not (await view.totals("XXX")).enabled

        head = await node.block_number()
        logs = await node.logs(list(deployment.contracts), 0, head)
        events = decode_logs(logs, deployment.contracts)
    assert {event.currency for event in events if isinstance(event, CurrencyChanged)} == set(CURRENCIES)
    granted = {(event.role_id, event.account) for event in events if isinstance(event, RoleGranted)}
    assert granted == {
        (0, ADMIN.address),
        (LEDGER_ROLE, deployment.split_ledger),
        (CLEARING_HOUSE_ROLE, deployment.clearing_house),
        *((role, account) for role, account, _ in PLAN.members()),
    }
    assert min(event.at.block_number for event in events) == deployment.block_number
    labels = {
        event.values[1]
        for event in events
        if isinstance(event, AdministrationChanged) and event.name == "RoleLabel"
    }
    assert labels == {
        *("registrar", "rule-approver", "attestor", "guardian", "ledger"),
        *("clearing-house", "clearing-bank"),
    }


async def test_a_second_run_finds_everything_done(chain: RunningNode, tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    lines: list[str] = []
    async with NodeClient(chain.url) as node:
        first = await deploy(node, ADMIN, SHORT, path)
        nonce = await node.nonce(ADMIN.address)
        assert nonce == STEPS_OF_SHORT
        assert await deploy(node, ADMIN, SHORT, path, report=lines.append) == first
        assert await node.nonce(ADMIN.address) == nonce
    assert "nothing to do" in lines[-1]


def _names(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir()]


def _begun(progress: Path) -> set[str]:
    return set(json.loads(progress.read_bytes())["steps"])


class Killed(BaseException):
    """Stands for the end of the process."""


def _killer(monkeypatch: pytest.MonkeyPatch, moment: str, number: int) -> Callable[[], int]:
    """Kill the run at the given call of a method, before or after it does its work. Returns a counter."""
    name, _, when = moment.partition(" ")
    original = getattr(NodeClient, name) if hasattr(NodeClient, name) else getattr(steps.Progress, name)
    owner = NodeClient if hasattr(NodeClient, name) else steps.Progress
    calls = 0

    async def waits(self: Any, *args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number and when == "before":
            raise Killed
        result = await original(self, *args)
        if calls == number and when == "after":
            raise Killed
        return result

    def saves(self: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == number and when == "before":
            raise Killed
        original(self)
        if calls == number and when == "after":
            raise Killed

    monkeypatch.setattr(owner, name, saves if name == "save" else waits)
    return lambda: calls


@pytest.mark.fault
@pytest.mark.parametrize("moment", ["save before", "save after", "send_raw before", "send_raw after"])
@pytest.mark.parametrize("number", range(1, STEPS_OF_SHORT + 1))
async def test_a_run_killed_at_any_step_goes_on_and_does_nothing_twice(
    chain: RunningNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, number: int
) -> None:
    path = tmp_path / "d.json"
    async with NodeClient(chain.url) as node:
        with monkeypatch.context() as patch:
            calls = _killer(patch, moment, number)
            with pytest.raises(Killed):
                await deploy(node, ADMIN, SHORT, path)
            assert calls() == number
        assert not path.exists()
        deployment = await deploy(node, ADMIN, SHORT, path)
        await check_deployment(node, deployment)
        assert await node.nonce(ADMIN.address) == STEPS_OF_SHORT
        assert (await ChainView(node, deployment).totals("JPY")).enabled
    assert _names(tmp_path) == ["d.json"]


@pytest.mark.fault
async def test_a_node_that_dies_leaves_a_deployment_that_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    with ephemeral_node() as chain:
        async with NodeClient(chain.url) as node:
            lines: list[str] = []

            def stop_after_two(line: str) -> None:
                lines.append(line)
                if line.startswith("ParticipantRegistry: 0x"):
                    raise NodeUnavailable("gone")

            with pytest.raises(NodeUnavailable):
                await deploy(node, ADMIN, SHORT, path, report=stop_after_two)
            assert _begun(tmp_path / "d.json.progress") == {"AccessManager", "ParticipantRegistry"}
            lines.clear()
            deployment = await deploy(node, ADMIN, SHORT, path, report=lines.append)
            assert "AccessManager: done already" in lines
            await check_deployment(node, deployment)


@pytest.mark.fault
async def test_a_transaction_of_somebody_else_with_the_same_key_is_stepped_over(
    chain: RunningNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "d.json"
    async with NodeClient(chain.url) as node:
        with monkeypatch.context() as patch:
            _killer(patch, "save after", 2)
            with pytest.raises(Killed):
                await deploy(node, ADMIN, SHORT, path)
        other = TransactionRequest(CHAIN_ID, 1, bytes(19) + b"\x99", b"", 21_000)
        await node.send_raw([ADMIN.sign_transaction(other).raw])
        for _ in range(500):
            if await node.nonce(ADMIN.address) == 2:
                break
        deployment = await deploy(node, ADMIN, SHORT, path)
        await check_deployment(node, deployment)
        assert await node.nonce(ADMIN.address) == STEPS_OF_SHORT + 1


async def _raise_base_fee(node: NodeClient, wei: int) -> None:
    await node.request("anvil_setNextBlockBaseFeePerGas", hex(wei))
    await node.request("evm_mine")


@pytest.mark.fault
async def test_a_stored_transaction_that_became_too_cheap_is_replaced_at_its_own_nonce(
    chain: RunningNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "d.json"
    async with NodeClient(chain.url) as node:
        with monkeypatch.context() as patch:
            _killer(patch, "save after", 1)
            with pytest.raises(Killed):
                await deploy(node, ADMIN, SHORT, path)
        await _raise_base_fee(node, 10**9)
        max_fee, tip = await suggested_fees(node)
        assert max_fee > 10**9 > 0 <= tip
        deployment = await deploy(node, ADMIN, SHORT, path)
        await check_deployment(node, deployment)
        assert await node.nonce(ADMIN.address) == STEPS_OF_SHORT


async def test_a_key_that_cannot_pay_is_told_and_goes_on_when_it_can(
    chain: RunningNode, tmp_path: Path
) -> None:
    path = tmp_path / "d.json"
    own = LocalKey(b"\x11" * 32)
    async with NodeClient(chain.url) as node:
        await _raise_base_fee(node, 10**9)
        with pytest.raises((DeployInterrupted, RpcError), match=r"(?i)insufficient funds"):
            await deploy(node, own, SHORT, path)
        await node.request("anvil_setBalance", "0x" + own.address.hex(), hex(10**18))
        deployment = await deploy(node, own, SHORT, path)
        await check_deployment(node, deployment)
        assert await node.nonce(own.address) == STEPS_OF_SHORT


async def test_progress_of_other_parameters_is_not_continued(
    chain: RunningNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "d.json"
    async with NodeClient(chain.url) as node:
        with monkeypatch.context() as patch:
            _killer(patch, "save after", 3)
            with pytest.raises(Killed):
                await deploy(node, ADMIN, SHORT, path)
        with pytest.raises(DeployInterrupted, match="another deployment"):
            await deploy(node, ADMIN, PLAN, path)
        (tmp_path / "d.json.progress").write_text("{")
        with pytest.raises(DeployInterrupted, match="no progress file"):
            await deploy(node, ADMIN, SHORT, path)


async def test_a_transaction_that_is_not_mined_in_time_is_told_and_waits_for_the_next_run(
    tmp_path: Path,
) -> None:
    path = tmp_path / "d.json"
    with ephemeral_node(automine=False) as chain:
        async with NodeClient(chain.url) as node:
            with pytest.raises(DeployInterrupted, match="not mined within"):
                await deploy(node, ADMIN, SHORT, path, timeout_s=0.3)
            assert _names(tmp_path) == ["d.json.progress"]
            automine = True
            await node.request("evm_setAutomine", automine)
            await node.request("evm_mine")
            deployment = await deploy(node, ADMIN, SHORT, path)
            await check_deployment(node, deployment)
            assert await node.nonce(ADMIN.address) == STEPS_OF_SHORT


class Interfering(NodeClient):
    """In the middle of a run, begins a second one."""

    path: Path
    refused: str = ""

    async def nonce(self, address: bytes, tag: BlockTag = "latest") -> int:
        """Ask as usual, after the other run was refused."""
        if not self.refused:
            with pytest.raises(DeployInterrupted) as caught:
                await deploy(self, ADMIN, SHORT, self.path)
            self.refused = str(caught.value)
        return await super().nonce(address, tag)


async def test_two_runs_at_once_do_not_get_in_each_others_way(chain: RunningNode, tmp_path: Path) -> None:
    async with Interfering(chain.url) as node:
        node.path = tmp_path / "d.json"
        await deploy(node, ADMIN, SHORT, node.path)
        assert await node.nonce(ADMIN.address) == STEPS_OF_SHORT
    assert "another run" in node.refused


async def test_a_key_without_the_right_is_told_by_the_contract(chain: RunningNode, tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    async with NodeClient(chain.url) as node:
        deployment = await deploy(node, ADMIN, SHORT, path)
        progress = steps.Progress(tmp_path / "p", {})
        runner = steps.StepRunner(node, dev_key("guardian"), CHAIN_ID, progress, 5.0, lambda _: None)
        with pytest.raises(ContractError) as caught:
            await runner.begin("enroll", deployment.participant_registry, enroll_call(b"\x01" * 32))
    assert caught.value.code == "access_managed_unauthorized"


@pytest.mark.parametrize("place", ["admin", "registrar", "rule approver", "attestor", "guardian"])
async def test_well_known_keys_are_refused_off_the_devnet(tmp_path: Path, place: str) -> None:
    own = LocalKey(b"\x11" * 32)
    known = dev_key("guardian").address
    plans = {
        "admin": DeployPlan(),
        "registrar": DeployPlan(registrars=[known]),
        "rule approver": DeployPlan(rule_approvers=[own.address, known]),
        "attestor": DeployPlan(attestors=[known]),
        "guardian": DeployPlan(guardians=[known]),
    }
    with ephemeral_node(chain_id=777) as chain:
        async with NodeClient(chain.url) as node:
            with pytest.raises(DevKeyRefused):
                await deploy(node, ADMIN if place == "admin" else own, plans[place], tmp_path / "d.json")
            assert await node.nonce(ADMIN.address) == 0
    assert _names(tmp_path) == []


async def test_where_gas_costs_nothing_no_money_is_needed(chain: RunningNode, tmp_path: Path) -> None:
    own = LocalKey(b"\x11" * 32)
    async with NodeClient(chain.url) as node:
        assert await node.balance(own.address) == 0
        deployment = await deploy(node, own, SHORT, tmp_path / "d.json")
        await check_deployment(node, deployment)


async def test_a_deployment_of_another_chain_is_recognised(chain: RunningNode, tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    async with NodeClient(chain.url) as node:
        deployment = await deploy(node, ADMIN, SHORT, path)
        with pytest.raises(DeploymentMismatch, match="is for chain 7") as caught:
            await check_deployment(node, replace(deployment, chain_id=7))
        assert caught.value.values == {"expected": 7, "found": CHAIN_ID}
        with pytest.raises(DeploymentMismatch, match="another block 0"):
            await check_deployment(node, replace(deployment, genesis_hash=bytes(32)))
        with pytest.raises(DeploymentMismatch, match=r"no code at .* where RuleBook should be"):
            await check_deployment(node, replace(deployment, rule_book=bytes(19) + b"\x99"))
        with pytest.raises(DeploymentMismatch, match="other code"):
            await check_deployment(node, replace(deployment, rule_book=deployment.split_ledger))
    with ephemeral_node() as other:
        async with NodeClient(other.url) as node:
            with pytest.raises(DeploymentMismatch):
                await deploy(node, ADMIN, SHORT, path)
            assert await node.nonce(ADMIN.address) == 0


async def test_the_code_on_chain_is_what_was_compiled(chain: RunningNode, tmp_path: Path) -> None:
    async with NodeClient(chain.url) as node:
        deployment = await deploy(node, ADMIN, SHORT, tmp_path / "d.json")
        for name, address in deployment.addresses.items():
            code = await node.code(address)
            assert artifact(name).without_immutables(code) == artifact(name).deployed_bytecode


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"format": 1}', '{"format": 2, "contracts": {}}', "7", "null"]
)
def test_what_is_no_deployment_file_is_named_so(tmp_path: Path, content: str) -> None:
    path = tmp_path / "d.json"
    path.write_text(content)
    with pytest.raises(DeploymentInvalid, match=r"d\.json"):
        load(path)


def test_a_deployment_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DeploymentInvalid, match="absent"):
        load(tmp_path / "absent.json")


async def test_a_deployment_file_with_a_damaged_field_is_refused(chain: RunningNode, tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    async with NodeClient(chain.url) as node:
        deployment = await deploy(node, ADMIN, SHORT, path)
    whole = path.read_text()
    damaged = json.loads(whole)
    damaged["contracts"]["SplitLedger"]["address"] = "0x12"
    doubled = json.loads(whole)
    doubled["contracts"]["SplitLedger"]["address"] = doubled["contracts"]["RuleBook"]["address"]
    numbers = [
        json.loads(whole) | {name: value}
        for name in ("block_number", "chain_id")
        for value in (-1, 5.7, True, "5", None)
    ]
    for content in (damaged, doubled, *numbers):
        path.write_text(json.dumps(content))
        with pytest.raises(DeploymentInvalid):
            load(path)
    save(path, deployment)
    assert load(path) == deployment


async def test_a_deployment_from_a_block_that_is_yet_to_come_is_refused(
    chain: RunningNode, tmp_path: Path
) -> None:
    async with NodeClient(chain.url) as node:
        deployment = await deploy(node, ADMIN, SHORT, tmp_path / "d.json")
        newest = await node.block_number()
        await check_deployment(node, replace(deployment, block_number=newest))
        with pytest.raises(DeploymentMismatch, match=f"began in block {newest + 1}"):
            await check_deployment(node, replace(deployment, block_number=newest + 1))
