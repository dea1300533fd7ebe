"""The compiled contracts: from the installed package, or from contracts/artifacts in a checkout."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from fenzhang.chain.errors import ArtifactMissing

_INSTALLED = Path(__file__).parent / "artifacts"
_CHECKOUT = Path(__file__).parents[3] / "contracts" / "artifacts"


@dataclass(frozen=True, slots=True)
class Artifact:
    """A compiled contract. `immutable_references` are the places in its code that deployment fills in."""

    name: str
    abi: list[dict[str, Any]]
    bytecode: bytes
    deployed_bytecode: bytes
    immutable_references: dict[str, list[dict[str, int]]]
    compiler: str
    """Version of solc."""

    def functions(self) -> list[dict[str, Any]]:
        """ABI entries of its functions."""
        return [entry for entry in self.abi if entry["type"] == "function"]

    def without_immutables(self, code: bytes) -> bytes:
        """`code` of a deployed instance with its immutables blanked, so that it compares with the artifact."""
        blank = bytearray(code)
        for places in self.immutable_references.values():
            for place in places:
                start, length = place["start"], place["length"]
                blank[start : start + length] = bytes(len(blank[start : start + length]))
        return bytes(blank)


def artifacts_folder() -> Path:
    """Where the artifacts are."""
    return _INSTALLED if _INSTALLED.is_dir() else _CHECKOUT


@cache
def artifact(name: str) -> Artifact:
    """The compiled contract `name`, such as SplitLedger. Raises ArtifactMissing."""
    path = artifacts_folder() / f"{name}.json"
    try:
        content = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        raise ArtifactMissing(f"{path} does not exist: compile the contracts first", name=name) from None
    return Artifact(
        name=name,
        abi=content["abi"],
        bytecode=_code(content["bytecode"]),
        deployed_bytecode=_code(content["deployedBytecode"]),
        immutable_references=content.get("immutableReferences", {}),
        compiler=content.get("compiler", {}).get("version", ""),
    )


def _code(value: str) -> bytes:
    return bytes.fromhex(value.removeprefix("0x"))
