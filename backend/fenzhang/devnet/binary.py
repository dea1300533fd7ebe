"""Where the anvil binary is: the real one, not npm's JavaScript shim, so that pids and signals reach the node."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from fenzhang.devnet.errors import AnvilMissing, AnvilNotExecutable

DEVNET_DIRECTORY = "hardhat-free-devnet"
"""Folder of the repository that pins anvil, solc and the OpenZeppelin sources."""

_MACHINES = {"x86_64": "amd64", "amd64": "amd64", "arm64": "arm64", "aarch64": "arm64"}


def devnet_directories() -> Iterator[Path]:
    """Places where the repository's devnet folder may be: beside this package's checkout, then upwards from here."""
    roots = [Path(__file__).resolve().parents[3], Path.cwd(), *Path.cwd().parents]
    for root in dict.fromkeys(roots):
        directory = root / DEVNET_DIRECTORY
        if directory.is_dir():
            yield directory


def find_anvil(environ: Mapping[str, str] | None = None) -> Path:
    """The anvil to run: FENZHANG_ANVIL, else PATH, else the one that npm installed in the devnet folder.

    Args:
        environ: the environment to read instead of the process's own.

    Raises:
        AnvilNotExecutable: FENZHANG_ANVIL is set but names no executable file.
        AnvilMissing: none of the three has one.
    """
    env = os.environ if environ is None else environ
    named = env.get("FENZHANG_ANVIL")
    if named:
        found = shutil.which(named, path=env.get("PATH", ""))
        if found is None:
            raise AnvilNotExecutable(named)
        return Path(found).absolute()
    on_path = shutil.which("anvil", path=env.get("PATH", ""))
    if on_path is not None:
        return Path(on_path).absolute()
    for candidate in _npm_binaries():
        if os.access(candidate, os.X_OK):
            return candidate
    raise AnvilMissing(node_installed=shutil.which("node", path=env.get("PATH", "")) is not None)


def _npm_binaries() -> Iterator[Path]:
    """The binary inside the platform package, then the one npm's install script fetches where there is no package."""
    machine = _MACHINES.get(platform.machine().lower(), platform.machine().lower())
    package = f"anvil-{platform.system().lower()}-{machine}"
    for directory in devnet_directories():
        scope = directory / "node_modules" / "@foundry-rs"
        yield scope / package / "bin" / "anvil"
        yield scope / "anvil" / "anvil"
