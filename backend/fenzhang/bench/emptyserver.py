"""The API's server stack with a handler that does nothing: `python -m fenzhang.bench.emptyserver`.

Prints the port it listens on, and serves until it is told to end.
"""

from __future__ import annotations

import asyncio
import socket
import sys

import uvicorn
from fastapi import FastAPI, Request

from fenzhang.api.guard import BodyGuard
from fenzhang.api.responses import OrjsonResponse


def empty_app() -> FastAPI:
    """An application that reads the body and answers 202."""
    app = FastAPI(openapi_url=None)

    @app.post("/")
    async def accept(request: Request) -> OrjsonResponse:
        await request.body()
        return OrjsonResponse({}, 202)

    app.add_middleware(BodyGuard)
    return app


def main() -> None:
    """Serve on a free port of this machine."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(empty_app(), access_log=False, log_level="warning")
    sys.stdout.write(f"{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(uvicorn.Server(config).serve(sockets=[listening]))


if __name__ == "__main__":
    main()
