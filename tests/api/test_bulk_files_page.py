"""The page about bulk files does what it says."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from fenzhang.intake.actor import Scope
from fenzhang.intake.apps import create_app
from support.api import Api

PAGE = Path(__file__).parents[2] / "docs" / "bulk-files.md"


def _block(language: str) -> str:
    [found] = re.findall(
        rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    return str(found)


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_the_examples_of_the_page_run_and_say_what_it_says(api: Api, tmp_path: Path) -> None:
    async with api.database.write() as session:
        app = await create_app(session, "reader", [Scope.PLATFORM], "mall")
    environment = {**os.environ, "API": api.url, "CLIENT": f"{app.client_id}:{app.secret}"}

    async def said(*command: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=tmp_path, env=environment, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        assert process.returncode == 0
        return out.decode().replace("\r\n", "\n")

    assert await said("bash", "-euo", "pipefail", "-c", _block("sh")) == _block("csv")
    assert await said(sys.executable, "-c", _block("python")) == _block("text")
    assert (tmp_path / "rejected.csv").read_bytes().count(b"\r\n") == 3
