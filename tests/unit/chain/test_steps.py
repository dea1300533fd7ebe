"""Single steps of a deployment: lost, reverted, changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from fenzhang.chain import steps
from fenzhang.chain.codec import encode_call
from fenzhang.chain.errors import ContractError, DeployInterrupted
from fenzhang.chain.governance import enroll_call
from fenzhang.chain.node import NodeClient
from fenzhang.chain.signer import TransactionRequest
from fenzhang.chain.steps import Progress, StepRunner
from fenzhang.devnet import CHAIN_ID, RunningNode, ephemeral_node
from unit.chain.system import ADMIN, REGISTRAR, System

pytestmark = pytest.mark.node

WHO = b"W" * 32


@pytest.fixture
def chain() -> Iterator[RunningNode]:
    with ephemeral_node() as node:
        yield node


@pytest.fixture
async def system(chain: RunningNode, tmp_path: Path) -> AsyncIterator[System]:
    """A deployed system that mines no more by itself."""
    async with NodeClient(chain.url) as node:
        found = await System.deployed(node, tmp_path, ["CNY"])
        automine = False
        await node.request("evm_setAutomine", automine)
        yield found


def runner_of(system: System, path: Path, *, timeout_s: float = 5.0) -> StepRunner:
    progress = Progress.open(path, {"test": 1})
    return StepRunner(system.node, REGISTRAR, CHAIN_ID, progress, timeout_s, lambda _: None)


async def test_a_transaction_that_the_node_lost_is_sent_again(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "_REBROADCAST_S", 0.2)
    runner = runner_of(system, tmp_path / "p")
    await runner.begin("enroll", system.deployment.participant_registry, enroll_call(WHO))
    [signed] = runner.progress.steps["enroll"].transactions
    await system.node.request("anvil_dropTransaction", "0x" + signed.hash.hex())
    waiting = asyncio.create_task(runner.finish("enroll"))
    await asyncio.sleep(0.6)
    await system.node.request("evm_mine")
    receipt = await waiting
    assert (receipt.tx_hash, receipt.succeeded) == (signed.hash, True)


async def test_a_step_that_reverts_is_told_and_tried_anew(system: System, tmp_path: Path) -> None:
    runner = runner_of(system, tmp_path / "p")
    registry = system.deployment.participant_registry
    await runner.begin("enroll", registry, enroll_call(WHO))
    [signed] = runner.progress.steps["enroll"].transactions
    await system.node.request("anvil_dropTransaction", "0x" + signed.hash.hex())
    # Before it is sent again, the administrator closes the registry.
    closed = True
    closing = encode_call("AccessManager", "setTargetClosed", registry, closed)
    nonce = await system.node.nonce(ADMIN.address)
    request = TransactionRequest(CHAIN_ID, nonce, system.deployment.access_manager, closing, 200_000)
    for raw in (ADMIN.sign_transaction(request).raw, signed.raw):
        await system.node.send_raw([raw])
        await system.node.request("evm_mine")
    with pytest.raises(DeployInterrupted, match="enroll reverted"):
        await runner.finish("enroll")
    again = runner_of(system, tmp_path / "p")
    with pytest.raises(ContractError) as caught:
        await again.begin("enroll", registry, enroll_call(WHO))
    assert caught.value.code == "access_managed_unauthorized"


async def test_a_step_is_not_continued_with_other_content(system: System, tmp_path: Path) -> None:
    registry = system.deployment.participant_registry
    await runner_of(system, tmp_path / "p").begin("enroll", registry, enroll_call(WHO))
    with pytest.raises(DeployInterrupted, match="other content"):
        await runner_of(system, tmp_path / "p").begin("enroll", registry, enroll_call(b"X" * 32))


async def test_logs_can_be_asked_for_by_topic(system: System) -> None:
    node, registry = system.node, system.deployment.participant_registry
    everything = await node.logs([system.deployment.access_manager], 0, await node.block_number())
    topic = bytes.fromhex(everything[0]["topics"][0][2:])
    head = await node.block_number()
    some = await node.logs([system.deployment.access_manager], 0, head, topics=[topic])
    assert some == [log for log in everything if log["topics"][0] == everything[0]["topics"][0]]
    assert await node.logs([registry], 0, head, topics=[[topic, bytes(32)], None]) == []
