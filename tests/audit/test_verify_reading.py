"""A chain that goes on, reorganises or is served by a narrow node while it is verified."""

from __future__ import annotations

import httpx
import orjson
import pytest

from audit.auditing import verified
from fenzhang.audit.errors import ChainMoved, HistoryMissing
from fenzhang.audit.verification import verify
from fenzhang.chain.errors import NodeUnavailable, RpcError
from fenzhang.chain.node import NodeClient
from support.world import World


class NarrowNode(httpx.AsyncBaseTransport):
    """A node in front of the real one that refuses some requests."""

    def __init__(self) -> None:
        self._real = httpx.AsyncHTTPTransport()
        self.max_range = 10**9
        """Blocks that one question for logs may span."""
        self.forgets = ""
        """Method whose result is null."""
        self.fails: dict[str, int] = {}
        """How often a method still fails."""
        self.widest = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Refuse a request, or pass it on."""
        content = orjson.loads(await request.aread())
        calls = content if isinstance(content, list) else [content]
        for call in calls:
            error = self._refusal(call)
            if error is not None:
                answer = [
                    {"jsonrpc": "2.0", "id": each["id"], "error": {"code": -32005, "message": error}}
                    for each in calls
                ]
                return httpx.Response(200, json=answer if isinstance(content, list) else answer[0])
        response = await self._real.handle_async_request(request)
        if any(call["method"] == self.forgets for call in calls):
            await response.aread()
            await response.aclose()
            return httpx.Response(
                200, json=[{"jsonrpc": "2.0", "id": call["id"], "result": None} for call in calls]
            )
        return response

    def _refusal(self, call: dict[str, object]) -> str | None:
        method = str(call["method"])
        if self.fails.get(method):
            self.fails[method] -= 1
            return "the state is gone"
        if method == "eth_getLogs":
            params = call["params"]
            assert isinstance(params, list)
            span = int(params[0]["toBlock"], 16) - int(params[0]["fromBlock"], 16) + 1
            if span > self.max_range:
                return "range too large"
            self.widest = max(self.widest, span)
        return None

    async def aclose(self) -> None:
        """Close the connections."""
        await self._real.aclose()


def populate(world: World) -> None:
    """Some orders in blocks of their own."""
    for amount in range(100, 112):
        order = world.captured(amount)
        world.did(world.split(order.order_id, 50))


async def test_a_node_that_limits_the_range_of_logs_is_asked_in_smaller_pieces(world: World) -> None:
    populate(world)
    narrow = NarrowNode()
    narrow.max_range = 3
    async with NodeClient(world.node.url, transport=narrow) as node:
        report = await verify(node, world.system.deployment)

    assert report.differences == ()
    assert report.counts["captures"] == 12
    assert 0 < narrow.widest <= 3


async def test_a_node_that_answers_not_even_one_block_is_an_error(world: World) -> None:
    narrow = NarrowNode()
    narrow.max_range = 0
    async with NodeClient(world.node.url, transport=narrow) as node:
        with pytest.raises(RpcError, match="range too large"):
            await verify(node, world.system.deployment)


async def test_a_node_that_forgot_the_newest_state_is_asked_again_at_a_newer_block(world: World) -> None:
    populate(world)
    narrow = NarrowNode()
    narrow.fails = {"eth_call": 2}
    async with NodeClient(world.node.url, transport=narrow) as node:
        report = await verify(node, world.system.deployment)

    assert report.differences == ()
    assert report.counts["order_slots"] == 12


async def test_a_node_that_has_no_state_at_all_is_an_error(world: World) -> None:
    narrow = NarrowNode()
    narrow.fails = {"eth_call": 1_000}
    async with NodeClient(world.node.url, transport=narrow) as node:
        with pytest.raises(RpcError, match="the state is gone"):
            await verify(node, world.system.deployment)


async def test_a_node_that_threw_transactions_away_is_an_error(world: World) -> None:
    narrow = NarrowNode()
    narrow.forgets = "eth_getTransactionByHash"
    async with NodeClient(world.node.url, transport=narrow) as node:
        with pytest.raises(HistoryMissing, match="does not have transaction"):
            await verify(node, world.system.deployment)


async def test_what_is_settled_while_the_history_is_read_is_verified_as_well(world: World) -> None:
    populate(world)
    late: list[bytes] = []

    def settle_another(_done: int, _last: int) -> None:
        if not late:
            late.append(world.captured(77).order_id)

    async with NodeClient(world.node.url) as node:
        report = await verify(node, world.system.deployment, progress=settle_another)

    assert report.differences == ()
    assert report.counts["captures"] == 13
    newest = int(world.node.request("eth_blockNumber"), 16)
    assert report.block.number == newest


async def test_a_chain_that_reorganises_while_it_is_read_is_an_error(world: World) -> None:
    populate(world)
    moved: list[bool] = []

    def reorganise(done: int, last: int) -> None:
        if done == last and not moved:
            moved.append(True)
            world.node.request("anvil_reorg", 3, [])

    async with NodeClient(world.node.url) as node:
        with pytest.raises(ChainMoved, match="reorganised"):
            await verify(node, world.system.deployment, progress=reorganise)


async def test_a_chain_that_reorganised_before_holds_as_it_is_now(world: World) -> None:
    populate(world)
    world.node.request("anvil_reorg", 3, [])

    report = await verified(world)

    assert report.differences == ()
    assert report.counts["captures"] < 12


async def test_an_unreachable_node_is_an_error(world: World) -> None:
    async with NodeClient("http://127.0.0.1:1") as node:
        with pytest.raises(NodeUnavailable, match="cannot be reached"):
            await verify(node, world.system.deployment)
