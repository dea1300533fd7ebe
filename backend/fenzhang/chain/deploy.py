"""Deploys the contracts to any chain and sets up who may do what. An interrupted run continues where it stopped."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fenzhang.chain.abi import currency_bytes
from fenzhang.chain.artifacts import artifact
from fenzhang.chain.codec import encode_call, encode_deployment, selector_of
from fenzhang.chain.deployments import Deployment, check_deployment, genesis_hash, load, save
from fenzhang.chain.errors import DeployInterrupted, DeploymentMismatch
from fenzhang.chain.governance import set_approval_lock_call
from fenzhang.chain.keccak import keccak
from fenzhang.chain.keystore import refuse_dev_key
from fenzhang.chain.node import NodeClient
from fenzhang.chain.signer import LocalKey
from fenzhang.chain.steps import Progress, StepRunner
from fenzhang.chain.views import (
    ATTESTOR_ROLE,
    CLEARING_BANK_ROLE,
    CLEARING_HOUSE_ROLE,
    GUARDIAN_ROLE,
    LEDGER_ROLE,
    REGISTRAR_ROLE,
    RULE_APPROVER_ROLE,
)
from fenzhang.domain.money import CURRENCIES

REGISTRAR_FUNCTIONS = (
    "enroll",
    "enrollRecipient",
    "suspend",
    "resume",
    "close",
    "place",
    "rotateAuthority",
    "setConsent",
)
"""Functions of ParticipantRegistry for the registrar. The last two serve a party's own authority as well."""
APPROVER_FUNCTIONS = ("approve",)
"""Functions of RuleBook for the rule approver."""
GUARDIAN_FUNCTIONS = {
    "RuleBook": ("veto",),
    "ParticipantRegistry": ("setMaxShareOut", "setFrozen", "nameHeir"),
    "Conditions": ("setFrozen",),
}
"""Functions of each contract for the guardian."""
LEDGER_FUNCTIONS = ("join",)
"""Functions of Conditions for the SplitLedger."""
CLEARING_FUNCTIONS = ("book",)
"""Functions of SplitLedger for the ClearingHouse."""
ROLE_LABELS = {
    REGISTRAR_ROLE: "registrar",
    RULE_APPROVER_ROLE: "rule-approver",
    ATTESTOR_ROLE: "attestor",
    GUARDIAN_ROLE: "guardian",
    LEDGER_ROLE: "ledger",
    CLEARING_HOUSE_ROLE: "clearing-house",
    CLEARING_BANK_ROLE: "clearing-bank",
}
CURRENCY_CHUNK = 60
"""Currencies opened in one transaction: about 25,000 gas each."""
DEFAULT_TIMEOUT_S = 120.0
_CONFIGURE = "roles"
_LOCK = "approval lock"


@dataclass(frozen=True, slots=True)
class DeployPlan:
    """Who gets which role (addresses, 20 bytes), and which currencies are opened.

    `execution_delay_s` is the AccessManager's delay between announcing and doing for registrars and rule approvers;
    guardians act at once. `approval_lock_s` is the least time between the approval of a rule version and its effect.
    """

    registrars: Sequence[bytes] = ()
    rule_approvers: Sequence[bytes] = ()
    attestors: Sequence[bytes] = ()
    guardians: Sequence[bytes] = ()
    clearing_banks: Sequence[bytes] = ()
    execution_delay_s: int = 0
    approval_lock_s: int = 0
    currencies: Sequence[str] = field(default=CURRENCIES)

    def members(self) -> list[tuple[int, bytes, int]]:
        """Role, account and execution delay of every grant."""
        delay = self.execution_delay_s
        return [
            *((REGISTRAR_ROLE, account, delay) for account in self.registrars),
            *((RULE_APPROVER_ROLE, account, delay) for account in self.rule_approvers),
            *((ATTESTOR_ROLE, account, 0) for account in self.attestors),
            *((GUARDIAN_ROLE, account, 0) for account in self.guardians),
            *((CLEARING_BANK_ROLE, account, 0) for account in self.clearing_banks),
        ]


def _silent(_: str) -> None:
    """Report nothing."""


async def deploy(
    node: NodeClient,
    admin: LocalKey,
    plan: DeployPlan,
    path: Path,
    *,
    report: Callable[[str], None] = _silent,
    timeout_s: float = DEFAULT_TIMEOUT_S,
) -> Deployment:
    """Deploy the contracts with `admin` as administrator, and write the deployment file to `path`.

    When `path` holds a deployment of this very chain already, that one is returned and nothing is done. Otherwise
    progress is kept beside it until all is done, so that running it again after an interruption continues.
    `report` gets a line for each thing done; `timeout_s` bounds the wait for one transaction.

    Raises DevKeyRefused, DeploymentMismatch (a file of another chain at `path`), DeployInterrupted, NodeUnavailable,
    RpcError, ContractError.
    """
    chain_id = await node.chain_id()
    for address in [admin.address, *(account for _, account, _ in plan.members())]:
        refuse_dev_key(address, chain_id)
    genesis = await genesis_hash(node)
    progress_path = path.with_name(f"{path.name}.progress")
    with _locked(path.parent):
        deployment = _existing(path)
        if deployment is not None:
            await check_deployment(node, deployment)
            report(f"{path} is the deployment of this chain: nothing to do")
            return deployment
        progress = Progress.open(progress_path, _identity(chain_id, genesis, admin, plan))
        runner = StepRunner(node, admin, chain_id, progress, timeout_s, report)
        addresses = await _create_contracts(runner, admin)
        await _configure(runner, plan, addresses)
        deployment = await _describe(runner, chain_id, genesis, addresses)
        save(path, deployment)
        progress.discard()
    report(f"deployed: {path}")
    return deployment


def _existing(path: Path) -> Deployment | None:
    return load(path) if path.exists() else None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep a second run with files in the same folder out while this one works."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DeployInterrupted(f"another run is deploying to {folder}") from None
        yield
    finally:
        os.close(handle)


def _identity(chain_id: int, genesis: bytes, admin: LocalKey, plan: DeployPlan) -> dict[str, Any]:
    return {
        "chain_id": chain_id,
        "genesis_hash": genesis.hex(),
        "admin": admin.address.hex(),
        "members": [[role, account.hex(), delay] for role, account, delay in plan.members()],
        "currencies": list(plan.currencies),
        "approval_lock_s": plan.approval_lock_s,
    }


async def _create_contracts(runner: StepRunner, admin: LocalKey) -> dict[str, bytes]:
    """Create the contracts one after the other, for each one's constructor names those before it."""
    addresses: dict[str, bytes] = {}
    arguments: dict[str, Callable[[], tuple[bytes, ...]]] = {
        "AccessManager": lambda: (admin.address,),
        "ParticipantRegistry": lambda: (addresses["AccessManager"],),
        "RuleBook": lambda: (addresses["AccessManager"], addresses["ParticipantRegistry"]),
        "Conditions": lambda: (addresses["AccessManager"], addresses["ParticipantRegistry"]),
        "SplitLedger": lambda: (
            addresses["AccessManager"],
            addresses["ParticipantRegistry"],
            addresses["RuleBook"],
            addresses["Conditions"],
        ),
        "LedgerView": lambda: (addresses["SplitLedger"],),
        "ClearingHouse": lambda: (addresses["AccessManager"], addresses["LedgerView"]),
    }
    for name, constructor in arguments.items():
        await runner.begin(name, None, encode_deployment(name, *constructor()))
        receipt = await runner.finish(name)
        if receipt.contract_address is None:
            raise DeployInterrupted(f"{name}: the node names no contract in the receipt")
        addresses[name] = receipt.contract_address
        runner.report(f"{name}: 0x{receipt.contract_address.hex()}")
    return addresses


async def _configure(runner: StepRunner, plan: DeployPlan, addresses: dict[str, bytes]) -> None:
    """Assign functions to roles, roles to accounts, and open the currencies; all in one go of transactions."""
    roles = encode_call("AccessManager", "multicall", _role_calls(plan, addresses))
    await runner.begin(_CONFIGURE, addresses["AccessManager"], roles)
    names = [_CONFIGURE]
    if plan.approval_lock_s:
        await runner.begin(_LOCK, addresses["RuleBook"], set_approval_lock_call(plan.approval_lock_s))
        names.append(_LOCK)
    for start in range(0, len(plan.currencies), CURRENCY_CHUNK):
        chunk = plan.currencies[start : start + CURRENCY_CHUNK]
        name = f"currencies {chunk[0]} to {chunk[-1]}"
        arguments = (list(map(currency_bytes, chunk)), True)
        data = encode_call("SplitLedger", "setCurrencies", *arguments)
        await runner.begin(name, addresses["SplitLedger"], data)
        names.append(name)
    for name in names:
        await runner.finish(name)


def _role_calls(plan: DeployPlan, addresses: dict[str, bytes]) -> list[bytes]:
    manager = "AccessManager"
    registrar = [selector_of("ParticipantRegistry", function) for function in REGISTRAR_FUNCTIONS]
    approver = [selector_of("RuleBook", function) for function in APPROVER_FUNCTIONS]
    joining = [selector_of("Conditions", function) for function in LEDGER_FUNCTIONS]
    booking = [selector_of("SplitLedger", function) for function in CLEARING_FUNCTIONS]
    registry, rules = addresses["ParticipantRegistry"], addresses["RuleBook"]
    return [
        *(encode_call(manager, "labelRole", role, label) for role, label in ROLE_LABELS.items()),
        encode_call(manager, "setTargetFunctionRole", registry, registrar, REGISTRAR_ROLE),
        encode_call(manager, "setTargetFunctionRole", rules, approver, RULE_APPROVER_ROLE),
        encode_call(manager, "setTargetFunctionRole", addresses["Conditions"], joining, LEDGER_ROLE),
        encode_call(manager, "grantRole", LEDGER_ROLE, addresses["SplitLedger"], 0),
        encode_call(manager, "setTargetFunctionRole", addresses["SplitLedger"], booking, CLEARING_HOUSE_ROLE),
        encode_call(manager, "grantRole", CLEARING_HOUSE_ROLE, addresses["ClearingHouse"], 0),
        *(
            encode_call(
                manager,
                "setTargetFunctionRole",
                addresses[contract],
                [selector_of(contract, function) for function in functions],
                GUARDIAN_ROLE,
            )
            for contract, functions in GUARDIAN_FUNCTIONS.items()
        ),
        *(encode_call(manager, "grantRole", *grant) for grant in plan.members()),
    ]


async def _describe(
    runner: StepRunner, chain_id: int, genesis: bytes, addresses: dict[str, bytes]
) -> Deployment:
    """Look at what is on the chain now. Raises DeploymentMismatch unless it is the code that was compiled."""
    hashes = {}
    for name, address in addresses.items():
        code = await runner.node.code(address)
        if artifact(name).without_immutables(code) != artifact(name).deployed_bytecode:
            raise DeploymentMismatch(f"the code at 0x{address.hex()} is not that of {name}", contract=name)
        hashes[name] = keccak(code)
    first = await runner.finish("AccessManager")
    return Deployment(
        chain_id=chain_id,
        genesis_hash=genesis,
        block_number=first.block_number,
        access_manager=addresses["AccessManager"],
        participant_registry=addresses["ParticipantRegistry"],
        rule_book=addresses["RuleBook"],
        conditions=addresses["Conditions"],
        split_ledger=addresses["SplitLedger"],
        ledger_view=addresses["LedgerView"],
        clearing_house=addresses["ClearingHouse"],
        code_hashes=hashes,
        compiler=artifact("SplitLedger").compiler,
    )
