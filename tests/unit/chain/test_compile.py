"""Compiling: canonical sources, reproducible artifacts, differences by name, no warning unheard."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from fenzhang.chain.compile import (
    MAX_DEPLOYED_BYTES,
    SOLC_VERSION,
    CompilationFailed,
    CompiledContract,
    Compiler,
    CompilerMissing,
    compile_project,
    differences,
    find_compiler,
    gather_sources,
    imports_of,
    source_hash,
    write_artifacts,
)

ROOT = Path(__file__).resolve().parents[3]

VAULT = """// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {
    IVault,
    Box
} from "./interfaces/IVault.sol";
import {Twice} from "./libraries/Twice.sol";

contract Vault is IVault, AccessManaged {
    uint256 public immutable LIMIT;
    mapping(bytes32 => Box[3]) internal boxes;

    constructor(address authority_, uint256 limit) AccessManaged(authority_) {
        LIMIT = limit;
    }

    function put(uint256 amount) external returns (uint256) {
        boxes[bytes32(amount)][0].amount = amount;
        return Twice.twice(amount) + LIMIT;
    }
}
"""
IVAULT = """// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

struct Box { uint256 amount; }

interface IVault {
    function put(uint256 amount) external returns (uint256);
}
"""
TWICE = """// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

library Twice {
    function twice(uint256 amount) internal pure returns (uint256) {
        return 2 * amount;
    }
}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small repository with the real compiler and the real OpenZeppelin."""
    for name, source in {"Vault": VAULT, "interfaces/IVault": IVAULT, "libraries/Twice": TWICE}.items():
        file = tmp_path / "contracts" / f"{name}.sol"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)
    devnet = tmp_path / "hardhat-free-devnet"
    devnet.mkdir()
    for name in ("node_modules", "solc-wrapper.js"):
        (devnet / name).symlink_to(ROOT / "hardhat-free-devnet" / name)
    return tmp_path


def npm_compiler(root: Path) -> Compiler:
    return Compiler(root / "hardhat-free-devnet" / "solc-wrapper.js", native=False)


def test_artifacts_are_the_same_wherever_the_repository_lies(
    project: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path_factory.mktemp("a folder with spaces") / "repository"
    shutil.copytree(project, elsewhere, symlinks=True)

    here = compile_project(project)
    monkeypatch.chdir(elsewhere)
    there = compile_project(elsewhere, npm_compiler(elsewhere))

    assert [artifact.name for artifact in here] == ["AccessManager", "IVault", "Vault"]
    assert [artifact.text() for artifact in here] == [artifact.text() for artifact in there]
    vault = here[2].content
    assert str(project) not in here[2].text()
    assert vault["sourceName"] == "contracts/Vault.sol"
    assert vault["compiler"]["version"].startswith(f"{SOLC_VERSION}+commit.")
    assert set(vault["immutableReferences"]) == {"0"}
    assert any(entry.get("name") == "put" for entry in vault["abi"])
    assert "t_mapping(t_bytes32,t_array(t_struct(Box)_storage)3_storage)" in vault["storageLayout"]["types"]
    assert "astId" not in here[2].text()
    assert here[1].deployed_bytes == 0
    assert 0 < here[2].deployed_bytes < MAX_DEPLOYED_BYTES


def test_a_warning_is_a_refusal(project: Path) -> None:
    vault = project / "contracts" / "Vault.sol"
    vault.write_text(VAULT.replace("return Twice", "uint256 unused; return Twice"))

    with pytest.raises(CompilationFailed, match="Unused local variable"):
        compile_project(project)


def test_a_mistake_is_reported_in_the_compilers_words(project: Path) -> None:
    (project / "contracts" / "Vault.sol").write_text(
        VAULT.replace("Twice.twice(amount)", "Twice.thrice(amount)")
    )

    with pytest.raises(CompilationFailed, match='"thrice" not found'):
        compile_project(project)


def test_an_import_that_leads_nowhere_is_named(project: Path) -> None:
    (project / "contracts" / "libraries" / "Twice.sol").unlink()

    with pytest.raises(CompilationFailed, match=r"contracts/libraries/Twice\.sol"):
        gather_sources(project)


def test_sources_have_names_that_do_not_depend_on_the_place(project: Path) -> None:
    sources = gather_sources(project)

    assert "contracts/interfaces/IVault.sol" in sources
    assert "@openzeppelin/contracts/access/manager/AccessManager.sol" in sources
    assert all(name.startswith(("contracts/", "@openzeppelin/contracts/")) for name in sources)
    assert list(sources) == sorted(sources)


def test_imports_are_found_in_every_form() -> None:
    source = """
    import "./A.sol";
    import * as B from "../b/B.sol";
    import {C as D} from '@lib/C.sol';
    // import "./commented.sol";
    string constant text = 'import "./in text.sol";';
    """

    assert imports_of("contracts/x/Here.sol", source) == [
        "contracts/x/A.sol",
        "contracts/b/B.sol",
        "@lib/C.sol",
    ]


def test_the_source_hash_covers_what_is_imported_and_nothing_else() -> None:
    sources = {"a": 'import "b";\n', "b": "1", "c": "2"}

    first = source_hash("a", sources)

    assert source_hash("a", sources | {"c": "3"}) == first
    assert source_hash("a", sources | {"b": "3"}) != first


def test_differences_are_named(tmp_path: Path) -> None:
    same, changed, fresh = (
        CompiledContract(name, {"abi": [], "bytecode": "0x00"}) for name in ("A", "B", "C")
    )
    write_artifacts(tmp_path, [same, changed])
    assert differences(tmp_path, [same, changed]) == []
    (tmp_path / "B.json").write_text(json.dumps({"abi": [], "bytecode": "0x01"}))
    (tmp_path / "Old.json").write_text("{}")

    assert differences(tmp_path, [same, changed, fresh]) == [
        "B.json: bytecode differ",
        "C.json: missing",
        "Old.json: no such contract",
    ]
    write_artifacts(tmp_path, [same, changed, fresh])
    assert differences(tmp_path, [same, changed, fresh]) == []


def fake_solc(path: Path, version: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho 'Version: {version}+commit.00000000.Linux.g++'\n")
    path.chmod(0o755)
    return path


def test_a_native_compiler_serves_if_its_version_is_the_pinned_one(project: Path) -> None:
    right = fake_solc(project / "right" / "solc", SOLC_VERSION)
    wrong = fake_solc(project / "wrong" / "solc", "0.8.20")

    assert find_compiler(project, {"PATH": str(right.parent)}) == Compiler(right, native=True)
    assert find_compiler(project, {"PATH": "", "FENZHANG_SOLC": str(right)}) == Compiler(right, native=True)
    with pytest.raises(CompilerMissing, match=r"npm ci.*solc 0\.8\.37 on PATH"):
        find_compiler(project, {"PATH": str(wrong.parent)})
    with pytest.raises(CompilerMissing, match="FENZHANG_SOLC"):
        find_compiler(project, {"PATH": str(right.parent), "FENZHANG_SOLC": str(wrong)})


@pytest.mark.slow
def test_the_committed_artifacts_are_what_the_sources_compile_to() -> None:
    assert differences(ROOT / "contracts" / "artifacts", compile_project(ROOT)) == [], "run `make contracts`"
