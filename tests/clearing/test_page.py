"""The page about the bank interface does what it says."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from fenzhang.clearing import csvprofile
from fenzhang.clearing.reconciliation.model import BreakKind
from fenzhang.clearing.reconciliation.terms import Terms
from fenzhang.devnet.processes import free_port
from fenzhang.sandboxbank.faults import Faults
from fenzhang.settings import Settings
from fenzhang.store.banktables import BankPaymentState
from fenzhang.store.reconciliationtables import BreakState, Comparison

DOCS = Path(__file__).parents[2] / "docs"
BANK_INTERFACE, RECONCILIATION = (
    (DOCS / name).read_text(encoding="utf-8") for name in ("bank-interface.md", "reconciliation.md")
)


def _block(page: str, language: str) -> str:
    [found] = re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "logged"),
    [
        (BANK_INTERFACE, "whether sandbox has C1-CNY-1 is not known: HTTP 504\n"),
        (RECONCILIATION, ""),
    ],
    ids=["bank-interface", "reconciliation"],
)
async def test_the_example_of_the_page_prints_what_the_page_says(
    page: str, logged: str, tmp_path: Path
) -> None:
    command = tmp_path / ".venv" / "bin" / "fenzhang"
    command.parent.mkdir(parents=True)
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fenzhang "$@" 2>bank.log\n')
    command.chmod(0o755)
    environment = os.environ | {
        "PORT": str(free_port("127.0.0.1")),
        "PYTHONPATH": os.pathsep.join(sys.path),
        "EXAMPLE": _block(page, "python"),
    }
    script = "trap 'kill $BANK' EXIT\n" + _block(page, "sh") + f'"{sys.executable}" -c "$EXAMPLE"'

    process = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", script),
        cwd=tmp_path,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 120)

    assert (process.returncode, err.decode()) == (0, logged)
    assert out.decode() == _block(page, "text")


def test_the_page_names_every_state_fault_and_column() -> None:
    names = [*BankPaymentState, *Faults.model_fields, *csvprofile.PAYOUT_COLUMNS, *csvprofile.REPORT_COLUMNS]

    assert [name for name in names if f"`{name}`" not in BANK_INTERFACE] == []


def test_the_page_about_reconciliation_names_every_kind_and_setting() -> None:
    names = [*BreakKind, *BreakState, *Comparison]

    assert [name for name in names if f"`{name}`" not in RECONCILIATION] == []
    for name in Terms.__dataclass_fields__:
        assert f"FENZHANG_{name.upper()}" in RECONCILIATION
        assert Settings.model_fields[name].default == getattr(Terms(), name)
