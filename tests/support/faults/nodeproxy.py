"""An HTTP proxy in front of the node that answers late, wrong, half, twice, or with errors that nodes have."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import httpx
import orjson

HOST = "127.0.0.1"
LATE_S = 1.5
Answer = dict[str, Any]


class Fault(StrEnum):
    """What the proxy does to a request or its answer."""

    LATE = "late"
    OTHER_ID = "other id"
    GARBAGE = "garbage instead of JSON"
    WRONG_TYPES = "wrong types"
    CUT = "cut in the middle of the answer"
    NO_ANSWER = "connection closed without an answer"
    HALF_ARRAY = "half of an array"
    ANSWERS_TWICE = "answers twice and in another order"
    SENT_TWICE = "request sent to the node twice"
    LOGS_MISSING = "logs left out"
    """Of a range of blocks: a node that lacks a block says so when it is asked for that block's logs by its hash."""
    TOO_MANY_REQUESTS = "HTTP 429"
    UNAVAILABLE = "HTTP 503"
    ALREADY_KNOWN = "already known"
    NONCE_TOO_LOW = "nonce too low"
    UNDERPRICED = "replacement transaction underpriced"


_SAID = {
    Fault.ALREADY_KNOWN: "already known",
    Fault.NONCE_TOO_LOW: "nonce too low",
    Fault.UNDERPRICED: "replacement transaction underpriced",
}
"""Answers to a raw transaction that the node never gets to see."""
_SPOILS = {
    Fault.GARBAGE,
    Fault.OTHER_ID,
    Fault.WRONG_TYPES,
    Fault.HALF_ARRAY,
    Fault.ANSWERS_TWICE,
    Fault.LOGS_MISSING,
}
"""Those that change what the node answered."""
_STATUS = {Fault.TOO_MANY_REQUESTS: 429, Fault.UNAVAILABLE: 503}
_OF_ARRAYS = {Fault.HALF_ARRAY, Fault.ANSWERS_TWICE}
_SEND = "eth_sendRawTransaction"
_SHARE_OF_SENDING = 0.6


@dataclass(slots=True)
class NodeProxy:
    """Passes requests on to `target`; a request is hit by one of `faults` with probability `share`."""

    target: str
    chosen: random.Random
    port: int = 0
    faults: tuple[Fault, ...] = ()
    share: float = 0.0
    hits: Counter[Fault] = field(default_factory=Counter)
    raws: set[str] = field(default_factory=set)
    """Every raw transaction that anybody has tried to send."""
    requests: int = 0
    _server: asyncio.Server | None = None
    _client: httpx.AsyncClient = field(default_factory=lambda: httpx.AsyncClient(timeout=60, trust_env=False))
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{HOST}:{self.port}"

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._serve, HOST, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and close everything."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await self._client.aclose()

    def behave(self, *faults: Fault, share: float = 0.0) -> None:
        """Do this to a share of the requests from now on; without arguments, nothing."""
        self.faults, self.share = faults, share

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while await self._exchange(reader, writer):
                    pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request. Whether the connection stays open."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        [length] = [line[15:] for line in head.split("\r\n") if line.startswith("content-length:")]
        body = await reader.readexactly(int(length))
        asked = orjson.loads(body)
        self.requests += 1
        calls = asked if isinstance(asked, list) else [asked]
        self.raws |= {call["params"][0] for call in calls if call["method"] == _SEND}
        fault = self._draw(calls)
        status = _STATUS.get(fault, 200) if fault else 200
        if status != httpx.codes.OK:
            _write(writer, status, b"too many, or not now")
            return True
        if fault is Fault.NO_ANSWER:
            return False
        try:
            answer = await self._answer(asked, body, fault)
        except httpx.HTTPError:
            return False
        if fault is Fault.CUT:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer))
            writer.write(answer[: len(answer) // 2])
            await writer.drain()
            return False
        _write(writer, status, answer)
        await writer.drain()
        return True

    def _draw(self, calls: list[Answer]) -> Fault | None:
        """One of those faults that this request can have, the ones before all that were rarest so far."""
        possible = [fault for fault in self.faults if _can_have(calls, fault)]
        # There are few requests that send anything.
        share = _SHARE_OF_SENDING if not _SAID.keys().isdisjoint(possible) else self.share
        if not possible or self.chosen.random() >= share:
            return None
        rarest = min(self.hits[fault] for fault in possible)
        fault = self.chosen.choice([fault for fault in possible if self.hits[fault] == rarest])
        self.hits[fault] += 1
        return fault

    async def _answer(self, asked: Any, body: bytes, fault: Fault | None) -> bytes:
        if fault in _SAID:
            said = {"code": -32_000, "message": _SAID[fault]}
            return _each(asked, lambda call: {"jsonrpc": "2.0", "id": call["id"], "error": said})
        if fault is Fault.LATE:
            await asyncio.sleep(LATE_S)
        if fault is Fault.SENT_TWICE:
            await self._client.post(self.target, content=body, headers=_JSON)
        response = await self._client.post(self.target, content=body, headers=_JSON)
        return self._spoil(response.content, fault) if fault in _SPOILS else response.content

    def _spoil(self, content: bytes, fault: Fault | None) -> bytes:
        answer = orjson.loads(content)
        match fault:
            case Fault.GARBAGE:
                return b"<html>Bad gateway</html>"
            case Fault.OTHER_ID:
                return _each(answer, lambda each: {**each, "id": each["id"] + 1_000_000})
            case Fault.WRONG_TYPES:
                return _each(answer, lambda each: {**each, "result": self.chosen.choice(_NONSENSE)})
            case Fault.HALF_ARRAY:
                return orjson.dumps(answer[: len(answer) // 2])
            case Fault.ANSWERS_TWICE:
                return orjson.dumps(self.chosen.sample(answer * 2, 2 * len(answer)))
            case _:
                return _each(answer, self._without_logs)

    def _without_logs(self, answer: Answer) -> Answer:
        """All logs gone, as from a node that does not have the block yet, or some."""
        result = answer.get("result")
        if not isinstance(result, list):
            return answer
        keep = 0 if self.chosen.random() < 0.5 else len(result) // 2
        return {**answer, "result": result[:keep]}


_JSON = {"Content-Type": "application/json"}
_NONSENSE = (7, "0xnothex", [1], {"number": "x"}, True, "", 1.5)


def _can_have(calls: list[Answer], fault: Fault) -> bool:
    if fault in _SAID:
        return any(call["method"] == _SEND for call in calls)
    if fault is Fault.LOGS_MISSING:
        return any("fromBlock" in str(call["params"]) for call in calls)
    return fault not in _OF_ARRAYS or len(calls) > 1


def _each(content: Any, change: Callable[[Answer], Answer]) -> bytes:
    if isinstance(content, list):
        return orjson.dumps([change(each) for each in content])
    return orjson.dumps(change(content))


def _write(writer: asyncio.StreamWriter, status: int, content: bytes) -> None:
    head = f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    writer.write(head.encode() + content)
