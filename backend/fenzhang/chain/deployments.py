"""Where the contracts are: the deployment file of a chain, and whether a chain is the one it names."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from fenzhang.chain.answers import address_of, hash_of
from fenzhang.chain.eip712 import (
    SigningDomain,
    clearing_domain,
    conditions_domain,
    rule_book_domain,
    split_ledger_domain,
)
from fenzhang.chain.errors import DeploymentInvalid, DeploymentMismatch
from fenzhang.chain.keccak import keccak
from fenzhang.chain.node import NodeClient

FORMAT = 3
"""Version of the file's format."""
DEPLOYMENTS_FOLDER = Path("deployments")
_FIELDS = {
    "AccessManager": "access_manager",
    "ParticipantRegistry": "participant_registry",
    "RuleBook": "rule_book",
    "Conditions": "conditions",
    "SplitLedger": "split_ledger",
    "LedgerView": "ledger_view",
    "ClearingHouse": "clearing_house",
}


@dataclass(frozen=True, slots=True)
class Deployment:
    """The contracts on one chain: addresses (20 bytes) and the hashes of their code.

    `block_number` is the block of the first one: no event of theirs stands before it.
    """

    chain_id: int
    genesis_hash: bytes
    block_number: int
    access_manager: bytes
    participant_registry: bytes
    rule_book: bytes
    conditions: bytes
    split_ledger: bytes
    ledger_view: bytes
    clearing_house: bytes
    code_hashes: Mapping[str, bytes]
    compiler: str

    @property
    def addresses(self) -> dict[str, bytes]:
        """Address of each contract by its name."""
        return {name: getattr(self, field) for name, field in _FIELDS.items()}

    @property
    def contracts(self) -> dict[bytes, str]:
        """Name of each contract by its address."""
        return {address: name for name, address in self.addresses.items()}

    def ledger_domain(self) -> SigningDomain:
        """What attestations and authorizations are signed for."""
        return split_ledger_domain(self.chain_id, self.split_ledger)

    def rule_domain(self) -> SigningDomain:
        """What rule proposals and retirements are signed for."""
        return rule_book_domain(self.chain_id, self.rule_book)

    def condition_domain(self) -> SigningDomain:
        """What conditions and their confirmations are signed for."""
        return conditions_domain(self.chain_id, self.conditions)

    def clearing_domain(self) -> SigningDomain:
        """What cycles and reports are signed for."""
        return clearing_domain(self.chain_id, self.clearing_house)


def deployment_path(chain_id: int, folder: Path = DEPLOYMENTS_FOLDER) -> Path:
    """Where the deployment file of a chain is kept."""
    return folder / f"{chain_id}.json"


def load(path: Path) -> Deployment:
    """Read a deployment file. Raises DeploymentInvalid."""
    try:
        content = orjson.loads(path.read_bytes())
    except OSError as error:
        raise DeploymentInvalid(f"{path} cannot be read: {error.strerror}", path=str(path)) from None
    except orjson.JSONDecodeError:
        raise DeploymentInvalid(f"{path} is not JSON", path=str(path)) from None
    try:
        return _parse(content)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise DeploymentInvalid(f"{path} is no deployment file of format {FORMAT}", path=str(path)) from None


def _parse(content: Any) -> Deployment:
    if content["format"] != FORMAT:
        raise ValueError("unknown format")
    contracts = content["contracts"]
    addresses = {field: address_of(contracts[name]["address"]) for name, field in _FIELDS.items()}
    if len(set(addresses.values())) != len(addresses):
        raise ValueError("two contracts at one address")
    return Deployment(
        chain_id=_number(content["chain_id"]),
        genesis_hash=hash_of(content["genesis_hash"]),
        block_number=_number(content["block_number"]),
        code_hashes={name: hash_of(contracts[name]["code_hash"]) for name in _FIELDS},
        compiler=str(content["compiler"]),
        **addresses,
    )


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!r} is no number of a block or chain")
    return value


def save(path: Path, deployment: Deployment) -> None:
    """Write a deployment file in one step: a reader sees the old file or the whole new one."""
    contracts = {
        name: {"address": "0x" + address.hex(), "code_hash": "0x" + deployment.code_hashes[name].hex()}
        for name, address in deployment.addresses.items()
    }
    content = {
        "format": FORMAT,
        "chain_id": deployment.chain_id,
        "genesis_hash": "0x" + deployment.genesis_hash.hex(),
        "block_number": deployment.block_number,
        "compiler": deployment.compiler,
        "contracts": contracts,
    }
    write_atomically(path, orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def write_atomically(path: Path, content: bytes) -> None:
    """Replace `path` by `content`, durably, so that a crash leaves the old or the new content and no third thing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)  # addresses are public; mkstemp makes files that only the owner reads
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


async def genesis_hash(node: NodeClient) -> bytes:
    """Hash of block 0, which tells chains with the same number apart. Raises DeploymentMismatch without one."""
    genesis = await node.block(0)
    if genesis is None:
        raise DeploymentMismatch("the node has no block 0")
    return genesis.hash


async def check_chain(node: NodeClient, deployment: Deployment) -> None:
    """Raise DeploymentMismatch unless the node's chain is the deployment's, by its id and its block 0.

    One request: cheap enough to be repeated before anything is signed.
    """
    chain_id, genesis = await node.identity()
    if chain_id != deployment.chain_id:
        raise DeploymentMismatch(
            f"the deployment is for chain {deployment.chain_id}, the node {node.name} serves chain {chain_id}",
            expected=deployment.chain_id,
            found=chain_id,
        )
    if genesis != deployment.genesis_hash:
        raise DeploymentMismatch(
            f"the chain {chain_id} of node {node.name} begins with another block 0 than the deployment's",
            expected=deployment.genesis_hash,
            found=genesis or b"",
        )


async def check_deployment(node: NodeClient, deployment: Deployment) -> None:
    """Raise DeploymentMismatch unless the node's chain is the deployment's and carries the code that it names."""
    await check_chain(node, deployment)
    for name, address in deployment.addresses.items():
        code = await node.code(address)
        if keccak(code) != deployment.code_hashes[name]:
            what = "other code" if code else "no code"
            raise DeploymentMismatch(
                f"there is {what} at 0x{address.hex()}, where {name} should be", contract=name
            )
    newest = await node.block_number()
    if newest < deployment.block_number:
        raise DeploymentMismatch(
            f"the deployment began in block {deployment.block_number}, and the chain of {node.name} has {newest}",
            expected=deployment.block_number,
            found=newest,
        )
