"""Commands of this project as real processes, with what they say kept in files, and none left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

STARTED_S = 60.0


@dataclass(slots=True)
class Process:
    """A running command."""

    popen: subprocess.Popen[bytes]
    log: Path

    @property
    def said(self) -> str:
        """Everything it wrote."""
        return self.log.read_text()

    @property
    def rss(self) -> int:
        """Bytes of memory that it holds."""
        [line] = [
            line
            for line in Path(f"/proc/{self.popen.pid}/status").read_text().splitlines()
            if line.startswith("VmRSS")
        ]
        return int(line.split()[1]) * 1024

    def kill(self) -> None:
        """SIGKILL."""
        self.popen.kill()

    async def stop(self, timeout_s: float = 30.0) -> int:
        """SIGTERM; its exit code."""
        self.popen.send_signal(signal.SIGTERM)
        return await self.ended(timeout_s)

    async def ended(self, timeout_s: float = 30.0) -> int:
        """Its exit code, once it has one."""
        return await asyncio.to_thread(self.popen.wait, timeout_s)

    async def answers(self, url: str) -> None:
        """Until something answers at `url`."""
        deadline = time.monotonic() + STARTED_S
        async with httpx.AsyncClient() as client:
            while True:
                assert self.popen.poll() is None, self.said
                assert time.monotonic() < deadline, self.said
                try:
                    await client.get(url)
                except httpx.HTTPError:
                    await asyncio.sleep(0.05)
                else:
                    return


@dataclass(slots=True)
class Processes:
    """Starts commands in an environment of their own."""

    environment: dict[str, str]
    folder: Path
    running: list[Process] = field(default_factory=list)

    def start(self, *arguments: str, **environment: str) -> Process:
        """Run `fenzhang` with these arguments; `environment` are FENZHANG_ settings in lower case."""
        log = self.folder / f"{len(self.running)}-{'-'.join(arguments[:2])}.log"
        given = {f"FENZHANG_{name.upper()}": value for name, value in environment.items()}
        with log.open("wb") as out:
            popen = subprocess.Popen(
                [sys.executable, "-m", "fenzhang", *arguments],
                env={**os.environ, **self.environment, **given},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        process = Process(popen, log)
        self.running.append(process)
        return process

    async def run(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        """Exit code, standard output and standard error of a command that ends by itself."""
        given = {f"FENZHANG_{name.upper()}": value for name, value in environment.items()}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "fenzhang",
            *arguments,
            env={**os.environ, **self.environment, **given},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), STARTED_S)
        return process.returncode or 0, out.decode(), err.decode()

    def end(self) -> None:
        """Kill what still runs."""
        for process in self.running:
            process.popen.kill()
            process.popen.wait()
