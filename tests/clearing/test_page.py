"""The page about the bank interface does what it says."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from fenzhang.clearing import csvprofile
from fenzhang.devnet.processes import free_port
from fenzhang.sandboxbank.faults import Faults
from fenzhang.store.banktables import BankPaymentState

PAGE = (Path(__file__).parents[2] / "docs" / "bank-interface.md").read_text(encoding="utf-8")


def _block(language: str) -> str:
    [found] = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.mark.slow
async def test_the_example_of_the_page_prints_what_the_page_says(tmp_path: Path) -> None:
    command = tmp_path / ".venv" / "bin" / "fenzhang"
    command.parent.mkdir(parents=True)
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fenzhang "$@" 2>bank.log\n')
    command.chmod(0o755)
    environment = os.environ | {
        "PORT": str(free_port("127.0.0.1")),
        "PYTHONPATH": os.pathsep.join(sys.path),
        "EXAMPLE": _block("python"),
    }
    script = "trap 'kill $BANK' EXIT\n" + _block("sh") + f'"{sys.executable}" -c "$EXAMPLE"'

    process = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", script),
        cwd=tmp_path,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 120)

    assert (process.returncode, err.decode()) == (0, "whether sandbox has C1-CNY-1 is not known: HTTP 504\n")
    assert out.decode() == _block("text")


def test_the_page_names_every_state_fault_and_column() -> None:
    names = [*BankPaymentState, *Faults.model_fields, *csvprofile.PAYOUT_COLUMNS, *csvprofile.REPORT_COLUMNS]

    assert [name for name in names if f"`{name}`" not in PAGE] == []
