"""Whether a node's chain is the deployment's, and the code there is the compiled one, wired as it must be."""

from __future__ import annotations

from fenzhang.audit.differences import Code, Findings
from fenzhang.audit.state import StateReader
from fenzhang.chain.artifacts import artifact
from fenzhang.chain.deployments import Deployment, check_chain
from fenzhang.chain.eip712 import (
    CLEARING_HOUSE_NAME,
    CONDITIONS_NAME,
    DOMAIN_VERSION,
    LEDGER_NAME,
    RULE_BOOK_NAME,
)
from fenzhang.chain.errors import DeploymentMismatch
from fenzhang.chain.keccak import keccak
from fenzhang.chain.node import NodeClient


async def check_contracts(node: NodeClient, deployment: Deployment) -> None:
    """Raise DeploymentMismatch unless the node serves the deployment's chain, with contracts at its addresses."""
    await check_chain(node, deployment)
    for name, address in deployment.addresses.items():
        if not await node.code(address):
            raise DeploymentMismatch(f"there is no {name} at 0x{address.hex()} on this chain", contract=name)


async def check_code(node: NodeClient, deployment: Deployment, findings: Findings) -> None:
    """Compare the code of every contract with the compiled one (immutables masked) and the deployment file."""
    for name, address in deployment.addresses.items():
        code, compiled = await node.code(address), artifact(name)
        findings.count("contracts")
        expected: bytes | None = None
        if compiled.without_immutables(code) != compiled.without_immutables(compiled.deployed_bytecode):
            message, expected = "is not the compiled code", keccak(compiled.deployed_bytecode)
        elif keccak(code) != deployment.code_hashes[name]:
            message, expected = "is not what the deployment file says", deployment.code_hashes[name]
        else:
            continue
        findings.report(
            Code.CODE_DIFFERS,
            f"the code of {name} at 0x{address.hex()} {message}",
            expected=expected,
            found=keccak(code),
        )


async def check_wiring(state: StateReader) -> None:
    """Compare what the contracts rely on (immutables, AccessManager, signing domains) with the deployment."""
    at = state.deployment
    manager, registry, rules = at.access_manager, at.participant_registry, at.rule_book
    expected: dict[tuple[str, str], object] = {
        ("ParticipantRegistry", "authority"): manager,
        ("RuleBook", "authority"): manager,
        ("RuleBook", "registry"): registry,
        ("RuleBook", "eip712Domain"): (RULE_BOOK_NAME, DOMAIN_VERSION, at.chain_id, rules),
        ("Conditions", "authority"): manager,
        ("Conditions", "registry"): registry,
        ("Conditions", "eip712Domain"): (CONDITIONS_NAME, DOMAIN_VERSION, at.chain_id, at.conditions),
        ("SplitLedger", "authority"): manager,
        ("SplitLedger", "registry"): registry,
        ("SplitLedger", "ruleBook"): rules,
        ("SplitLedger", "conditions"): at.conditions,
        ("LedgerView", "ledger"): at.split_ledger,
        ("SplitLedger", "eip712Domain"): (LEDGER_NAME, DOMAIN_VERSION, at.chain_id, at.split_ledger),
        ("ClearingHouse", "authority"): manager,
        ("ClearingHouse", "registry"): registry,
        ("ClearingHouse", "ledger"): at.split_ledger,
        ("ClearingHouse", "ledgerView"): at.ledger_view,
        ("ClearingHouse", "eip712Domain"): (
            CLEARING_HOUSE_NAME,
            DOMAIN_VERSION,
            at.chain_id,
            at.clearing_house,
        ),
    }
    for (contract, function), wanted in expected.items():
        answer = await state.one(contract, function)
        if answer is None:
            continue
        found = answer[1:5] if function == "eip712Domain" else answer[0]
        if found != wanted:
            state.findings.report(
                Code.WIRING_DIFFERS,
                f"{contract}.{function} is not the deployment's",
                expected=wanted,
                found=found,
            )
