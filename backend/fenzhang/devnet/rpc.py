"""One JSON-RPC call over HTTP with the standard library: all that starting, watching and saving a node needs."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from typing import Any

from fenzhang.devnet.errors import NodeUnreachable

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a local node is never behind a proxy


def call(url: str, method: str, *params: object, timeout_s: float = 5.0) -> Any:
    """The result of one call.

    Raises:
        NodeUnreachable: no connection, no answer in `timeout_s` seconds, or an error as the answer.
    """
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    request = urllib.request.Request(url, body, {"content-type": "application/json"})  # noqa: S310 - http: by construction
    try:
        with _OPENER.open(request, timeout=timeout_s) as response:
            answer = json.load(response)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise NodeUnreachable(url, str(error) or type(error).__name__) from error
    if "error" in answer:
        raise NodeUnreachable(url, f"{method}: {answer['error'].get('message', answer['error'])}")
    return answer["result"]


def latest_block(url: str) -> tuple[int, str]:
    """Number and hash of the newest block.

    Raises:
        NodeUnreachable: as `call`.
    """
    block = call(url, "eth_getBlockByNumber", "latest", False)  # noqa: FBT003 - positional by JSON-RPC
    return int(block["number"], 16), block["hash"]


def latest_time(url: str) -> int:
    """Unix time of the newest block.

    Raises:
        NodeUnreachable: as `call`.
    """
    return int(call(url, "eth_getBlockByNumber", "latest", False)["timestamp"], 16)  # noqa: FBT003 - positional by JSON-RPC


def advance_to(url: str, moment: int) -> int:
    """Put the chain's clock forward, so that the next block is at the Unix time `moment` or later.

    The clock goes on from there, ahead of that of the machine. Never put back.

    Returns:
        By how many seconds; 0 when the chain is there already.

    Raises:
        NodeUnreachable: as `call`.
    """
    seconds = max(0, moment - latest_time(url))
    if seconds:
        call(url, "evm_increaseTime", seconds)
    return seconds
