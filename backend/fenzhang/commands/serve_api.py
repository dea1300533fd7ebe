"""`fenzhang serve api`: one API process. Any number may run side by side on one database."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
import uvicorn
from fastapi import FastAPI

from fenzhang import crashpoints
from fenzhang.api.app import check_start, create_app
from fenzhang.api.services import Services
from fenzhang.commands.settling import settle_in
from fenzhang.settings import Settings
from fenzhang.stageloop import outlast
from fenzhang.telemetry import logs, traces

_GRACE_S = 10
"""How long requests that are under way may take when the process is told to end."""


class ApiServer(uvicorn.Server):
    """uvicorn, which lets clients that wait for a state change have their answer when it is told to end."""

    def __init__(self, application: FastAPI, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.services: Services = application.state.services

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGINT or SIGTERM."""
        self.services.watcher.close()
        super().handle_exit(sig, frame)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As its base, but a stop that was asked for is no death by the signal: the exit code is 0."""
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def end(self) -> None:
        """End as a signal would end it."""
        self.services.watcher.close()
        self.should_exit = True


def server(settings: Settings, **wired: Any) -> ApiServer:
    """A server by `settings`; `wired` goes to create_app. Its `serve()` runs until it is told to end."""
    application = create_app(settings, **wired)
    config = uvicorn.Config(
        application,
        host=settings.api_host,
        port=settings.api_port,
        lifespan="on",
        access_log=False,
        # Nothing here asks where a client is.
        proxy_headers=False,
        log_config=None,
        timeout_graceful_shutdown=_GRACE_S,
    )
    return ApiServer(application, config)


def serve_api(
    *,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[
        int | None, typer.Option(help="TCP port.", show_default="8700", min=1, max=65_535)
    ] = None,
    deployment: Annotated[Path | None, typer.Option(help="Deployment file of the chain.")] = None,
) -> None:
    """Serve the HTTP API until SIGINT or SIGTERM. The database must be up to date (`fenzhang db upgrade`)."""
    given = {"api_host": host, "api_port": port, "deployment": deployment}
    settings = Settings.from_environment().model_copy(
        update={name: it for name, it in given.items() if it is not None}
    )
    logs.configure(settings.log, settings.log_level)
    traces.configure("api")
    serving = server(settings)
    with asyncio.Runner(loop_factory=serving.config.get_loop_factory()) as runner:
        runner.run(check_and_serve(serving))


async def check_and_serve(serving: ApiServer) -> None:
    """Serve, after refusing what cannot work with the error itself instead of a traceback.

    Raises what create_app names.
    """
    crashpoints.arm(serving.services.deployment.chain_id)
    try:
        # A supervisor need not start things in order: a database that comes up is waited for.
        await outlast("api", partial(check_start, serving.services), asyncio.Event())
    except BaseException:
        await serving.services.close()
        raise
    settle_in()
    await serving.serve()
