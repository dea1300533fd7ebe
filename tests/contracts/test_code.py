"""The code on chain: that of the committed artifacts, within the size any chain accepts.

That recompiling gives the same artifacts is tested beside the compiler, in tests/unit/chain/test_compile.py.
"""

from __future__ import annotations

import json

import pytest

from fenzhang.chain.abitypes import canonical_type
from fenzhang.chain.artifacts import artifact, artifacts_folder
from fenzhang.chain.compile import MAX_DEPLOYED_BYTES, SETTINGS, SOLC_VERSION
from fenzhang.chain.reverts import CONTRACTS
from support.world import World

MAX_CREATION_BYTES = 2 * MAX_DEPLOYED_BYTES
"""EIP-3860."""


@pytest.mark.parametrize("name", CONTRACTS)
def test_what_is_deployed_is_the_artifact(world: World, name: str) -> None:
    address = world.system.deployment.addresses[name]
    code = bytes.fromhex(world.node.request("eth_getCode", "0x" + address.hex(), "latest")[2:])
    compiled = artifact(name)
    assert compiled.without_immutables(code) == compiled.deployed_bytecode


@pytest.mark.parametrize("name", CONTRACTS)
def test_any_chain_accepts_its_size(name: str) -> None:
    assert 0 < len(artifact(name).deployed_bytecode) < MAX_DEPLOYED_BYTES
    assert len(artifact(name).bytecode) + 5 * 32 < MAX_CREATION_BYTES


@pytest.mark.parametrize("name", CONTRACTS)
def test_it_was_compiled_with_the_pinned_compiler_and_settings(name: str) -> None:
    content = json.loads((artifacts_folder() / f"{name}.json").read_text(encoding="utf-8"))
    assert content["compiler"]["version"].partition("+")[0] == SOLC_VERSION
    assert content["compiler"]["settings"] == SETTINGS


def declared(name: str) -> set[tuple[str, str]]:
    """Kinds and signatures of all that an ABI declares, but constructors."""
    return {
        (entry["type"], f"{entry['name']}({','.join(map(canonical_type, entry['inputs']))})")
        for entry in artifact(name).abi
        if entry["type"] != "constructor"
    }


@pytest.mark.parametrize("name", CONTRACTS[1:])
def test_it_declares_all_that_its_interface_does(name: str) -> None:
    assert declared(f"I{name}") - declared(name) == set()
