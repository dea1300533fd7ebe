"""The direction of imports: domain <- chain, store <- stages <- api, cli. See section 6 of the design.

`ALLOWED` is the rule. A package that is not in it fails the test, so that a new one has to be given its place.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import fenzhang

PACKAGE: Final = Path(fenzhang.__file__).parent

STAGES: Final = frozenset({"intake", "submission", "mirror", "ledger", "clearing", "audit"})
TOP: Final = frozenset(
    {"__main__", "api", "bench", "cli", "commands", "health", "local", "sandboxbank", "testing"}
)
BELOW_STAGES: Final = frozenset({"domain", "chain", "store"})
BELOW_LOOPS: Final = BELOW_STAGES | {"stageloop", "telemetry", "crashpoints"}
EVERYTHING: Final = STAGES | TOP | BELOW_LOOPS | {"client", "devnet", "replay", "settings", "privatefile"}

ALLOWED: Final[dict[str, frozenset[str]]] = {
    "domain": frozenset(),
    "chain": frozenset({"domain"}),
    "store": frozenset({"domain"}),
    # The local chain is a tool beside the system: nothing of the system needs it.
    "devnet": frozenset({"domain"}),
    # What a process tells about itself. It reads the breaker; it decides nothing.
    "telemetry": frozenset({"domain", "chain"}),
    # How a stage that never ends runs, waits out an outage and stops: shared by those that do.
    "stageloop": BELOW_STAGES | {"telemetry"},
    # Where a fault test may make a process die: a no-op in all others.
    "crashpoints": frozenset({"chain"}),
    # Files with secrets, written the same way by whoever keeps one.
    "privatefile": frozenset(),
    "intake": BELOW_STAGES,
    "submission": BELOW_LOOPS,
    # The one stage that calls another: its checkpoint, its rows and their postings commit in one transaction.
    "mirror": BELOW_LOOPS | {"ledger"},
    "ledger": BELOW_STAGES,
    # Nets and tells what the ledger has posted.
    "clearing": BELOW_LOOPS | {"ledger"},
    # An auditor trusts a node and not the operator's database.
    "audit": frozenset({"domain", "chain"}),
    # What a platform installs: it signs and speaks HTTP, it has no database.
    "client": frozenset({"domain", "chain"}),
    # Plays a scenario as a platform would: over HTTP, by the client. What came of it is read from the chain.
    "replay": frozenset({"domain", "chain", "client", "privatefile"}),
    # What the environment says. Read at the top and handed down; a stage has its own configuration type.
    "settings": frozenset({"domain", "telemetry"}),
    **dict.fromkeys(TOP, EVERYTHING),
}
"""For each part of the package, which other parts it may import."""

STANDARD_LIBRARY_ONLY: Final = frozenset({"domain", "devnet"})
"""Parts that import nothing installed: the specification, and the keeper of the node, which must start in no time."""


def imported_names(file: Path, module: str) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of every import in a file, wherever in it the import stands.

    For `from a.b import c` that is `a.b.c`: whether c is a module or a name in one does not matter here.
    """
    is_package = file.name == "__init__.py"
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), str(file))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")[
                    : None if is_package and node.level == 1 else -node.level + is_package
                ]
                base = ".".join([*parents, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"


def violations(package: Path) -> list[str]:
    """Every import against the direction in a tree laid out like the package `fenzhang`."""
    found: list[str] = []
    for file in sorted(package.rglob("*.py")):
        relative = file.relative_to(package)
        module = ".".join(["fenzhang", *relative.with_suffix("").parts]).removesuffix(".__init__")
        part = module.split(".")[1] if module.count(".") else ""
        if part and part not in ALLOWED:
            found.append(f"{relative}: {part!r} has no place in ALLOWED")
            continue
        for line, name in imported_names(file, module):
            problem = _problem(part, name)
            if problem:
                found.append(f"{relative}:{line}: {problem}")
    return found


def _problem(part: str, name: str) -> str | None:
    """What is wrong with `part` importing `name`, None if nothing is."""
    root, _, rest = name.partition(".")
    if root != "fenzhang":
        outside = root not in sys.stdlib_module_names
        return (
            f"{part} may use the standard library only, not {root}"
            if outside and part in STANDARD_LIBRARY_ONLY
            else None
        )
    target = rest.partition(".")[0]
    if target == part or target not in ALLOWED:
        return None  # itself, or a name of the package's own __init__
    if not part:
        return f"fenzhang/__init__ imports {target}: importing the package must not load its parts"
    return None if target in ALLOWED[part] else f"{part} must not import {target}"


def test_imports_follow_the_direction() -> None:
    assert violations(PACKAGE) == []


@pytest.mark.parametrize(
    ("file", "line", "problem"),
    [
        ("domain/money.py", "import web3", "domain may use the standard library only, not web3"),
        ("domain/money.py", "from fenzhang.chain import codec", "domain must not import chain"),
        ("domain/money.py", "from ..chain.codec import encode", "domain must not import chain"),
        ("domain/__init__.py", "from ..store import tables", "domain must not import store"),
        ("domain/deep/money.py", "from ...store import tables", "domain must not import store"),
        ("chain/codec.py", "from fenzhang.store.tables import Order", "chain must not import store"),
        ("chain/codec.py", "from fenzhang import devnet", "chain must not import devnet"),
        ("store/tables.py", "import fenzhang.chain.codec", "store must not import chain"),
        ("intake/service.py", "from fenzhang.submission import service", "intake must not import submission"),
        ("intake/service.py", "def late():\n    import fenzhang.api", "intake must not import api"),
        ("ledger/service.py", "from fenzhang.mirror import follow", "ledger must not import mirror"),
        ("audit/verify.py", "from fenzhang.store import tables", "audit must not import store"),
        ("client/client.py", "from fenzhang.intake import service", "client must not import intake"),
        ("devnet/node.py", "import httpx", "devnet may use the standard library only, not httpx"),
        ("__init__.py", "from fenzhang.client import Client", "fenzhang/__init__ imports client"),
        ("mystery/thing.py", "", "'mystery' has no place in ALLOWED"),
        ("mystery.py", "", "'mystery' has no place in ALLOWED"),
    ],
)
def test_a_violation_is_found(tmp_path: Path, file: str, line: str, problem: str) -> None:
    target = tmp_path / file
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(line + "\n")

    found = violations(tmp_path)

    assert len(found) == 1
    assert found[0].startswith(file)
    assert problem in found[0]


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("domain/money.py", "import decimal\nfrom fenzhang.domain import errors\nfrom . import rules"),
        ("domain/__init__.py", "from .money import Money\nfrom . import rules"),
        ("chain/codec.py", "import web3\nfrom fenzhang.domain.money import Money"),
        ("mirror/follow.py", "from fenzhang.ledger.posting import post"),
        ("audit/verify.py", "from fenzhang.chain import node\nfrom fenzhang import __version__"),
        ("cli.py", "from fenzhang.devnet import start\nfrom fenzhang.audit import verify"),
    ],
)
def test_what_is_allowed_is_not_reported(tmp_path: Path, file: str, line: str) -> None:
    target = tmp_path / file
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(line + "\n")

    assert violations(tmp_path) == []
