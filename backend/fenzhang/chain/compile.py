"""Compiles the contracts into `contracts/artifacts/`: the same bytes on every machine, whichever compiler runs.

Sources go to the compiler inline, under names that do not depend on where the repository lies, together with every
OpenZeppelin file they reach. So the compiler opens no file, and a native solc and the npm one give the same bytecode.
All contracts compile in one run, always the same set: with viaIR the set of sources can influence the bytecode.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import posixpath
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import solcx
from solcx.exceptions import SolcError
from solcx.wrapper import get_version_str_from_solc_binary

from fenzhang.domain.errors import FenzhangError

SOLC_VERSION: Final = "0.8.37"
"""The one compiler version the artifacts are made with."""

MAX_DEPLOYED_BYTES: Final = 24_576
"""EIP-170: no chain accepts a contract with more code than this."""

EXTRA_CONTRACTS: Final = ("@openzeppelin/contracts/access/manager/AccessManager.sol",)
"""Library contracts that are deployed as they are, so that they need an artifact too."""

SETTINGS: Final[Mapping[str, Any]] = {
    "evmVersion": "cancun",
    # More runs make SplitLedger 5 KB larger and an order 0.2 % cheaper; the room is worth more.
    "optimizer": {"enabled": True, "runs": 200},
    "viaIR": True,
    # No hash of the metadata in the code: it would change with every comment.
    "metadata": {"appendCBOR": False, "bytecodeHash": "none"},
}
"""Compiler settings without the choice of outputs."""

_OUTPUTS: Final = [
    "abi",
    "devdoc",
    "evm.bytecode",
    "evm.deployedBytecode",
    "storageLayout",
    "userdoc",
]
_IMPORT = re.compile(r"""^\s*import\s+(?:[^"';]*?\bfrom\s+)?["']([^"']+)["']""", re.MULTILINE)
_AST_ID = re.compile(r"(?<![a-z])(t_(?:contract|enum|struct|userDefinedValueType)\([^()]+\))\d+")


class CompilerMissing(FenzhangError):
    """There is no compiler of the pinned version."""

    code = "compiler_missing"


class CompilationFailed(FenzhangError):
    """The compiler refused the sources, or warned about them; the message is the compiler's own."""

    code = "compilation_failed"


@dataclasses.dataclass(frozen=True, slots=True)
class Compiler:
    """An executable that py-solc-x can drive."""

    path: Path
    native: bool
    """A real solc; otherwise the wrapper around the npm package."""


@dataclasses.dataclass(frozen=True, slots=True)
class CompiledContract:
    """One artifact: what is written to `<name>.json`."""

    name: str
    content: Mapping[str, Any]

    @property
    def deployed_bytes(self) -> int:
        """Size of the code on chain; 0 for an interface."""
        return (len(self.content["deployedBytecode"]) - 2) // 2

    def text(self) -> str:
        """The file's content: sorted keys, a newline at the end."""
        return json.dumps(self.content, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def find_compiler(root: Path, environ: Mapping[str, str] | None = None) -> Compiler:
    """A native solc of exactly `SOLC_VERSION`, else the npm compiler.

    The native one is FENZHANG_SOLC, one that py-solc-x installed, or `solc` on PATH, in this order.

    Args:
        root: the repository.
        environ: the environment to read instead of the process's own.

    Raises:
        CompilerMissing: FENZHANG_SOLC is another version, or there is neither a native solc nor the npm package.
    """
    env = os.environ if environ is None else environ
    named = env.get("FENZHANG_SOLC")
    if named:
        if _version(Path(named)) != SOLC_VERSION:
            raise CompilerMissing(
                f"FENZHANG_SOLC is {named!r}, which is not a solc {SOLC_VERSION}", path=named
            )
        return Compiler(Path(named), native=True)
    for candidate in _native_candidates(env):
        if _version(candidate) == SOLC_VERSION:
            return Compiler(candidate, native=True)
    devnet = root / "hardhat-free-devnet"
    wrapper = devnet / "solc-wrapper.js"
    if shutil.which("node", path=env.get("PATH", "")) and (devnet / "node_modules" / "solc").is_dir():
        return Compiler(wrapper, native=False)
    raise CompilerMissing(
        f"no solc {SOLC_VERSION}: run `npm ci` in hardhat-free-devnet (or `make setup`; needs Node.js 20 or newer), "
        f"or put a native solc {SOLC_VERSION} on PATH"
    )


def _native_candidates(env: Mapping[str, str]) -> Iterator[Path]:
    if any(str(version) == SOLC_VERSION for version in solcx.get_installed_solc_versions()):
        yield Path(solcx.install.get_executable(SOLC_VERSION))
    on_path = shutil.which("solc", path=env.get("PATH", ""))
    if on_path:
        yield Path(on_path)


def _version(binary: Path) -> str | None:
    """Version without the commit, None if the file cannot be asked."""
    try:
        return get_version_str_from_solc_binary(binary).partition("+")[0]
    except (OSError, ValueError, SolcError):
        return None


def gather_sources(root: Path) -> dict[str, str]:
    """Every source by its canonical name: the project's own, the extra contracts, and all they import.

    Args:
        root: the repository; the OpenZeppelin files are those in `hardhat-free-devnet/node_modules`.

    Raises:
        CompilationFailed: there are no contracts, or an import leads nowhere.
        CompilerMissing: the npm packages are not installed.
    """
    modules = root / "hardhat-free-devnet" / "node_modules"
    if not (modules / "@openzeppelin" / "contracts").is_dir():
        raise CompilerMissing("OpenZeppelin's contracts are missing: run `npm ci` in hardhat-free-devnet")
    own = list((root / "contracts").rglob("*.sol"))
    if not own:
        raise CompilationFailed(f"there is no contract in {root / 'contracts'}")
    waiting = [file.relative_to(root).as_posix() for file in own] + list(EXTRA_CONTRACTS)
    sources: dict[str, str] = {}
    while waiting:
        name = waiting.pop()
        if name in sources:
            continue
        file = root / name if name.startswith("contracts/") else modules / name
        try:
            sources[name] = file.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise CompilationFailed(f"{name} is imported but does not exist", source=name) from None
        waiting += imports_of(name, sources[name])
    return dict(sorted(sources.items()))


def imports_of(name: str, source: str) -> list[str]:
    """Canonical names of what the source `name` imports."""
    folder = posixpath.dirname(name)
    return [
        posixpath.normpath(posixpath.join(folder, path)) if path.startswith(".") else path
        for path in _IMPORT.findall(source)
    ]


def compile_project(root: Path, compiler: Compiler | None = None) -> list[CompiledContract]:
    """Compile everything under `contracts/`, and the extra contracts.

    Args:
        root: the repository.
        compiler: which to use; `find_compiler(root)` if not given.

    Returns:
        An artifact for each concrete contract and interface, by name. Libraries are inlined and have none.

    Raises:
        CompilerMissing: as `find_compiler` and `gather_sources`.
        CompilationFailed: the sources do not compile, or not without a warning.
    """
    compiler = compiler or find_compiler(root)
    sources = gather_sources(root)
    chosen = [name for name in sources if name.startswith("contracts/") or name in EXTRA_CONTRACTS]
    output = _run(compiler, sources, chosen)
    version = "+".join(get_version_str_from_solc_binary(compiler.path).split("+")[:2])
    artifacts: dict[str, CompiledContract] = {}
    for source in chosen:
        for name, compiled in sorted(output["contracts"].get(source, {}).items()):
            if not _wanted(source, compiled):
                continue
            if name in artifacts:
                raise CompilationFailed(f"there are two contracts named {name}", contract=name)
            artifacts[name] = _artifact(name, source, compiled, sources, version)
    return [artifacts[name] for name in sorted(artifacts)]


def _run(compiler: Compiler, sources: Mapping[str, str], chosen: Iterable[str]) -> dict[str, Any]:
    """The compiler's output. A warning counts as a refusal, so that none can hide the next."""
    request = {
        "language": "Solidity",
        "sources": {name: {"content": content} for name, content in sources.items()},
        "settings": {**SETTINGS, "outputSelection": {name: {"*": _OUTPUTS} for name in chosen}},
    }
    try:
        output: dict[str, Any] = solcx.compile_standard(request, solc_binary=compiler.path)
    except SolcError as error:
        raise CompilationFailed(
            _complaints(error.error_dict) or error.stderr_data or error.message
        ) from error
    if output.get("errors"):
        raise CompilationFailed(_complaints(output["errors"]))
    return output


def _complaints(errors: Iterable[Mapping[str, str]] | None) -> str:
    return "\n".join(found["formattedMessage"].strip() for found in errors or ())


def _wanted(source: str, compiled: Mapping[str, Any]) -> bool:
    """Whether this one gets an artifact: libraries and abstract contracts do not."""
    if source.startswith("contracts/libraries/"):
        return False
    return bool(compiled["evm"]["bytecode"]["object"]) or source.startswith("contracts/interfaces/")


def _artifact(
    name: str, source: str, compiled: Mapping[str, Any], sources: Mapping[str, str], version: str
) -> CompiledContract:
    creation, deployed = compiled["evm"]["bytecode"], compiled["evm"]["deployedBytecode"]
    if creation.get("linkReferences"):
        raise CompilationFailed(
            f"{name} calls an external library; libraries must be internal", contract=name
        )
    content = {
        "contractName": name,
        "sourceName": source,
        "abi": compiled["abi"],
        "bytecode": "0x" + creation["object"],
        "deployedBytecode": "0x" + deployed["object"],
        "immutableReferences": _immutables(deployed.get("immutableReferences", {})),
        "storageLayout": _storage_layout(compiled["storageLayout"]),
        "devdoc": compiled["devdoc"],
        "userdoc": compiled["userdoc"],
        "compiler": {"version": version, "settings": dict(SETTINGS)},
        "sourceHash": source_hash(source, sources),
    }
    return CompiledContract(name, content)


def source_hash(name: str, sources: Mapping[str, str]) -> str:
    """SHA-256 over a source and everything it imports, names included, in the order of the names."""
    reached: set[str] = set()
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current not in reached:
            reached.add(current)
            waiting += imports_of(current, sources[current])
    digest = hashlib.sha256()
    for current in sorted(reached):
        digest.update(f"{current}\0{sources[current]}\0".encode())
    return "0x" + digest.hexdigest()


def _immutables(references: Mapping[str, list[dict[str, int]]]) -> dict[str, list[dict[str, int]]]:
    """Where deployment fills in immutables, numbered by first place instead of by the compiler's node ids."""
    places = sorted(references.values(), key=lambda found: min(place["start"] for place in found))
    return {str(index): sorted(found, key=lambda place: place["start"]) for index, found in enumerate(places)}


def _storage_layout(layout: Mapping[str, Any]) -> dict[str, Any]:
    """The layout without the compiler's node ids, which change with every edit anywhere."""

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {clean(key): clean(item) for key, item in value.items() if key != "astId"}
        if isinstance(value, list):
            return [clean(item) for item in value]
        return _AST_ID.sub(r"\1", value) if isinstance(value, str) and value.startswith("t_") else value

    types = layout["types"] or {}
    cleaned = clean(types)
    if len(cleaned) != len(types):
        raise CompilationFailed("two types of the same name are stored in one contract", types=sorted(types))
    return {"storage": clean(layout["storage"]), "types": cleaned}


def write_artifacts(folder: Path, artifacts: Iterable[CompiledContract]) -> None:
    """Make the folder hold exactly these artifacts."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = set()
    for artifact in artifacts:
        file = folder / f"{artifact.name}.json"
        kept.add(file)
        file.write_text(artifact.text(), encoding="utf-8")
    for file in set(folder.glob("*.json")) - kept:
        file.unlink()


def differences(folder: Path, artifacts: Iterable[CompiledContract]) -> list[str]:
    """What separates the committed artifacts from these, a line each; empty if nothing does."""
    found: list[str] = []
    expected = {f"{artifact.name}.json": artifact for artifact in artifacts}
    for name, artifact in sorted(expected.items()):
        try:
            text = (folder / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            found.append(f"{name}: missing")
            continue
        if text != artifact.text():
            found.append(f"{name}: {_difference(text, artifact)}")
    found += [
        f"{file.name}: no such contract"
        for file in sorted(folder.glob("*.json"))
        if file.name not in expected
    ]
    return found


def _difference(text: str, artifact: CompiledContract) -> str:
    """Which fields differ."""
    try:
        committed = json.loads(text)
    except ValueError:
        return "not JSON"
    fields = sorted(
        field
        for field in committed.keys() | artifact.content
        if committed.get(field) != artifact.content.get(field)
    )
    return f"{', '.join(fields)} differ" if fields else "same content in other formatting"
