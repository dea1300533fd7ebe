"""The circuit breaker: by a clock of the test, and in front of a real server that fails and recovers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from fenzhang.chain.breaker import Breaker, BreakerState, CircuitOpen
from fenzhang.chain.errors import NodeUnavailable, RpcError
from fenzhang.chain.node import NodeClient
from support.rpcserver import Responder, always, answer, http, serving

DOWN = NodeUnavailable("down")


@dataclass(slots=True)
class Bench:
    """A breaker whose time passes by hand, and whose jitter draws what the test says."""

    now: float = 100.0
    drawn: float = 1.0
    breaker: Breaker = field(init=False)

    def __post_init__(self) -> None:
        self.breaker = Breaker(
            failures_to_open=3,
            first_pause_s=1.0,
            longest_pause_s=4.0,
            clock=lambda: self.now,
            draw=lambda: self.drawn,
        )

    def state(self) -> BreakerState:
        """The state now."""
        return self.breaker.state

    async def ask(self, outcome: BaseException | None = None) -> str:
        """What became of one request: ok, the name of what it raised, or "refused" when it was not sent."""
        sent = False
        try:
            async with self.breaker.guard():
                sent = True
                if outcome is not None:
                    raise outcome
        except (NodeUnavailable, RpcError, asyncio.CancelledError) as error:
            return type(error).__name__ if sent else "refused"
        return "ok"

    async def open(self) -> None:
        """Fail until it opens."""
        for _ in range(3):
            assert await self.ask(DOWN) == "NodeUnavailable"


async def test_only_failures_in_a_row_open_it_and_an_rpc_error_is_an_answer() -> None:
    bench = Bench()
    for outcome in (DOWN, DOWN, None, DOWN, DOWN, RpcError("eth_call", 3, "reverted"), DOWN, DOWN):
        await bench.ask(outcome)
        assert bench.state() is BreakerState.CLOSED
    await bench.ask(DOWN)
    assert bench.state() is BreakerState.OPEN
    assert (bench.breaker.failures, bench.breaker.openings) == (7, 1)


async def test_while_open_nothing_is_sent_and_the_error_says_until_when() -> None:
    bench = Bench()
    await bench.open()
    with pytest.raises(CircuitOpen) as refused:
        async with bench.breaker.guard():
            raise AssertionError("the node was asked")
    assert refused.value.retry_after_s == 1.0
    assert refused.value.code == NodeUnavailable.code
    assert refused.value.values["retry_after_s"] == 1


async def test_one_probe_at_a_time_decides() -> None:
    bench = Bench()
    await bench.open()
    bench.now += 1.0
    assert bench.state() is BreakerState.HALF_OPEN
    async with bench.breaker.guard():
        assert await bench.ask() == "refused"
    assert bench.state() is BreakerState.CLOSED
    assert await bench.ask() == "ok"


async def test_pauses_double_up_to_the_longest_and_begin_anew_after_an_answer() -> None:
    bench = Bench()
    await bench.open()
    pauses = []
    for _ in range(5):
        pauses.append(bench.breaker.retry_after_s)
        bench.now += bench.breaker.retry_after_s
        assert await bench.ask(DOWN) == "NodeUnavailable"
    assert pauses == [1.0, 2.0, 4.0, 4.0, 4.0]
    bench.now += 4.0
    assert await bench.ask() == "ok"
    await bench.open()
    assert bench.breaker.retry_after_s == 1.0
    assert bench.breaker.openings == 2


async def test_jitter_takes_up_to_half_of_a_pause_away() -> None:
    bench = Bench(drawn=0.0)
    await bench.open()
    assert bench.breaker.retry_after_s == 0.5


async def test_a_probe_that_is_cancelled_leaves_the_next_one_to_decide() -> None:
    bench = Bench()
    await bench.open()
    bench.now += 1.0
    assert await bench.ask(asyncio.CancelledError()) == "CancelledError"
    assert bench.state() is BreakerState.HALF_OPEN
    assert await bench.ask() == "ok"
    assert bench.state() is BreakerState.CLOSED


async def test_what_began_before_it_opened_decides_nothing_afterwards() -> None:
    bench = Bench()
    late_answer, late_failure = bench.breaker.guard(), bench.breaker.guard()
    await late_answer.__aenter__()
    await late_failure.__aenter__()
    await bench.open()
    await late_answer.__aexit__(None, None, None)
    assert bench.state() is BreakerState.OPEN
    bench.now += 1.0
    async with bench.breaker.guard():
        await late_failure.__aexit__(NodeUnavailable, DOWN, None)
    assert bench.state() is BreakerState.CLOSED


# ------------------------------------------------------------------------------ in front of a server

FAILURES: dict[str, Responder] = {
    "429": always(http(b"{}", "429 Too Many Requests")),
    "503": always(http(b"{}", "503 Service Unavailable")),
    "cut off": always(None),
    "no JSON": always(http(b"<html>")),
    "an unreadable result": answer("0xzz"),
}
ASKING: dict[str, Callable[[NodeClient], Any]] = {
    "one": lambda node: node.block_number(),
    "many": lambda node: node.receipts([b"h" * 32]),
    "send": lambda node: node.send_raw([b"raw"]),
}


@pytest.mark.parametrize("ask", ASKING.values(), ids=ASKING)
@pytest.mark.parametrize("respond", FAILURES.values(), ids=FAILURES)
async def test_every_kind_of_failure_opens_it_for_every_kind_of_request(
    respond: Responder, ask: Callable[[NodeClient], Any]
) -> None:
    def batched(request: Any) -> bytes | None:
        return respond(request if isinstance(request, dict) else request[0])

    breaker = Breaker(failures_to_open=2, first_pause_s=60.0, longest_pause_s=60.0)
    async with serving(batched) as (url, asked), NodeClient(url, 5.0, breaker=breaker) as node:
        for _ in range(2):
            with pytest.raises(NodeUnavailable):
                await ask(node)
        before = len(asked)
        with pytest.raises(CircuitOpen):
            await ask(node)
        assert len(asked) == before


async def test_silence_is_a_failure() -> None:
    async def hear_and_say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hear_and_say_nothing, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    breaker = Breaker(failures_to_open=1, first_pause_s=60.0, longest_pause_s=60.0)
    async with NodeClient(url, 0.2, breaker=breaker) as node:
        with pytest.raises(NodeUnavailable):
            await node.block_number()
    assert breaker.state is BreakerState.OPEN
    server.close()


async def test_an_answer_that_says_no_keeps_it_closed() -> None:
    refusal = http(b'{"jsonrpc":"2.0","id":null,"error":{"code":-32005,"message":"limit exceeded"}}')
    breaker = Breaker(failures_to_open=1)
    async with serving(always(refusal)) as (url, _), NodeClient(url, 5.0, breaker=breaker) as node:
        for _ in range(3):
            with pytest.raises(RpcError):
                await node.block_number()
    assert breaker.state is BreakerState.CLOSED


async def test_it_closes_again_when_the_node_is_back() -> None:
    healthy = False
    good, bad = answer("0x7"), always(http(b"", "503 Service Unavailable"))

    def respond(request: Any) -> bytes | None:
        return (good if healthy else bad)(request)

    breaker = Breaker(failures_to_open=2, first_pause_s=0.05, longest_pause_s=0.1)
    async with serving(respond) as (url, _), NodeClient(url, 5.0, breaker=breaker) as node:
        for _ in range(2):
            with pytest.raises(NodeUnavailable):
                await node.block_number()
        healthy = True
        async with asyncio.timeout(10):
            while breaker.state is not BreakerState.CLOSED:
                await asyncio.sleep(0.01)
                try:
                    assert await node.block_number() == 7
                except CircuitOpen:
                    continue
        assert breaker.openings == 1
