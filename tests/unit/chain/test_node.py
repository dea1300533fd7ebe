"""The node client against a server that misbehaves on purpose, and against a real node."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from fenzhang.chain.answers import send_result
from fenzhang.chain.errors import NodeUnavailable, RpcError
from fenzhang.chain.node import BATCH_CALLS, NodeClient, SendStatus
from fenzhang.chain.signer import LocalKey, TransactionRequest
from fenzhang.devnet import CHAIN_ID, RunningNode, dev_account, ephemeral_node
from support.rpcserver import Responder, always, answer, end, http, serving


async def failure(respond: Responder, *, timeout_s: float = 5.0) -> NodeUnavailable:
    async with serving(respond) as (url, _), NodeClient(url, timeout_s) as node:
        with pytest.raises(NodeUnavailable) as caught:
            await node.chain_id()
        return caught.value


BROKEN = {
    "no JSON": http(b"<html>it works</html>"),
    "empty": http(b""),
    "half an answer": http(b'{"jsonrpc":"2.0","id":1,"resu', length=100) + b"",
    "half of the JSON": http(b'{"jsonrpc":"2.0","id":1,"resu'),
    "a number": http(b"7"),
    "null": http(b"null"),
    "an empty array": http(b"[]"),
    "another id": http(b'{"jsonrpc":"2.0","id":999,"result":"0x1"}'),
    "neither result nor error": http(b'{"jsonrpc":"2.0","id":1}'),
    "a result of another type": http(b'{"jsonrpc":"2.0","id":1,"result":{"chain":1}}'),
    "a result that is no number": http(b'{"jsonrpc":"2.0","id":1,"result":"0xzz"}'),
    "no result": http(b'{"jsonrpc":"2.0","id":1,"result":null}'),
    "an error without a code": http(b'{"jsonrpc":"2.0","id":1,"error":"no"}'),
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
    "HTTP 404": http(b"not here", "404 Not Found"),
    "HTTP 401": http(b"", "401 Unauthorized"),
}


@pytest.mark.parametrize("response", BROKEN.values(), ids=BROKEN)
async def test_a_malformed_answer_is_an_unavailable_node(response: bytes) -> None:
    served = False

    def respond(_: Any) -> bytes | None:
        nonlocal served
        if served and response == BROKEN["half an answer"]:
            return None
        served = True
        return response

    error = await failure(respond, timeout_s=1.0)
    assert error.code == "node_unavailable"


@pytest.mark.parametrize("status", ["429 Too Many Requests", "500 Internal Server Error", "503 Busy"])
async def test_an_overloaded_node_is_unavailable_even_with_a_proper_body(status: str) -> None:
    error = await failure(always(http(b'{"jsonrpc":"2.0","id":1,"result":"0x1"}', status)))
    assert error.values["http_status"] == int(status[:3])


async def test_a_node_that_hangs_is_unavailable_after_the_timeout() -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        await end(writer)

    server = await asyncio.start_server(never, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with NodeClient(url, timeout_s=0.2) as node:
        with pytest.raises(NodeUnavailable, match="in time"):
            await node.chain_id()
    server.close()


async def test_a_node_that_is_not_there_is_unavailable() -> None:
    async with NodeClient("http://127.0.0.1:1") as node:
        with pytest.raises(NodeUnavailable, match="cannot be reached"):
            await node.block_number()


async def test_credentials_in_the_url_stay_out_of_every_text() -> None:
    texts = []
    async with NodeClient("http://someone:s3cret@127.0.0.1:1/v3/api-key?token=t0ken") as node:
        with pytest.raises(NodeUnavailable) as caught:
            await node.chain_id()
        texts += [str(caught.value), repr(caught.value), str(caught.value.values), node.name]
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__
    for secret in ("s3cret", "someone", "api-key", "t0ken"):
        assert not any(secret in text for text in texts)


async def test_credentials_in_the_url_are_sent() -> None:
    heads: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(http(b'{"jsonrpc":"2.0","id":1,"result":"0x1"}'))
        await writer.drain()
        await end(writer)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with NodeClient(f"http://user:pass@127.0.0.1:{port}") as node:
        assert await node.chain_id() == 1
    server.close()
    assert b"Authorization: Basic dXNlcjpwYXNz" in heads[0]


async def test_nothing_of_the_url_reaches_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with serving(answer("0x1")) as (url, _):
        node = NodeClient(url.replace("http://", "http://user:s3cret@") + "/api-key")
        assert await node.chain_id() == 1
        await node.close()
    assert "s3cret" not in caplog.text
    assert "api-key" not in caplog.text


async def test_a_local_node_is_reached_past_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    async with serving(answer("0x1")) as (url, _), NodeClient(url) as node:
        assert await node.chain_id() == 1
        async with NodeClient(url.replace("127.0.0.1", "localhost")) as named:
            assert await named.chain_id() == 1


@pytest.mark.parametrize(
    "url",
    [
        "ftp://u:s3cret@localhost",
        "localhost:8545",
        "http://",
        "",
        "http://[::1",
        "http://u:s3cret@a:b",
        "http://u:s3cret@a:99999",
    ],
)
def test_a_url_that_is_none_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(NodeUnavailable) as caught:
        NodeClient(url)
    assert str(caught.value).startswith("the URL of ")
    assert "s3cret" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


async def test_a_connection_lost_while_idle_is_tried_once_more() -> None:
    first = True

    def respond(request: Any) -> bytes | None:
        nonlocal first
        if first:
            first = False
            return None
        return answer("0x4f25")(request)

    async with serving(respond) as (url, requests), NodeClient(url) as node:
        assert await node.chain_id() == 20261
        assert len(requests) == 2


async def test_a_method_that_may_not_be_sent_twice_is_not() -> None:
    async with serving(always(None)) as (url, requests), NodeClient(url) as node:
        with pytest.raises(NodeUnavailable):
            await node.request("anvil_mine", "0x1")
        assert len(requests) == 1


async def test_an_error_of_the_node_is_an_rpc_error_with_its_code_and_data() -> None:
    def respond(request: Any) -> bytes:
        error = {"code": 3, "message": "execution reverted", "data": "0x08c379a0"}
        return http(json.dumps({"jsonrpc": "2.0", "id": request["id"], "error": error}).encode())

    async with serving(respond) as (url, _), NodeClient(url) as node:
        with pytest.raises(RpcError, match="execution reverted") as caught:
            await node.call(bytes(20), b"")
    assert caught.value.rpc_code == 3
    assert caught.value.revert_data == bytes.fromhex("08c379a0")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (None, None),
        ("0x", b""),
        ("0x0102", b"\x01\x02"),
        ({"data": "0x0102"}, b"\x01\x02"),
        ({"message": "x"}, None),
        ("Reverted 0x0102", b"\x01\x02"),
        ("execution reverted", None),
        (7, None),
    ],
)
def test_revert_data_is_found_where_nodes_put_it(data: object, expected: bytes | None) -> None:
    assert RpcError("eth_call", 3, "reverted", data).revert_data == expected


async def test_a_batch_is_answered_in_order_whatever_order_the_node_chose() -> None:
    def respond(request: Any) -> bytes:
        answers = [
            {"id": r["id"], "result": r["params"][0]}
            if r["method"] == "eth_echo"
            else {"id": r["id"], "error": {"code": -32601, "message": "no such method"}}
            for r in request
        ]
        return http(json.dumps(answers[::-1]).encode())

    async with serving(respond) as (url, _), NodeClient(url) as node:
        results = await node.batch([("eth_echo", ["a"]), ("eth_other", []), ("eth_echo", ["b"])])
    assert results[0] == "a"
    assert isinstance(results[1], RpcError)
    assert results[2] == "b"


async def test_a_batch_with_an_answer_missing_is_an_unavailable_node() -> None:
    def respond(request: Any) -> bytes:
        return http(json.dumps([{"id": request[0]["id"], "result": "0x1"}]).encode())

    async with serving(respond) as (url, _), NodeClient(url) as node:
        with pytest.raises(NodeUnavailable, match="nothing for"):
            await node.batch([("eth_chainId", []), ("eth_chainId", [])])


async def test_a_batch_refused_as_a_whole_is_an_rpc_error() -> None:
    refusal = {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "batch too large"}}
    async with serving(always(http(json.dumps(refusal).encode()))) as (url, _), NodeClient(url) as node:
        with pytest.raises(RpcError, match="too large"):
            await node.batch([("eth_chainId", []), ("eth_chainId", [])])


async def test_many_calls_go_in_several_requests() -> None:
    def respond(request: Any) -> bytes:
        return http(json.dumps([{"id": r["id"], "result": r["params"][0]} for r in request]).encode())

    async with serving(respond) as (url, requests), NodeClient(url) as node:
        wanted = [str(number) for number in range(2 * BATCH_CALLS + 1)]
        assert await node.batch([("eth_echo", [each]) for each in wanted]) == wanted
        assert [len(request) for request in requests] == [BATCH_CALLS, BATCH_CALLS, 1]
        requests.clear()
        large = ["x" * 900_000] * 5
        assert await node.batch([("eth_echo", [each]) for each in large]) == large
        assert [len(request) for request in requests] == [2, 2, 1]
        requests.clear()
        assert await node.batch([]) == []
        assert requests == []


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ("already known", SendStatus.ALREADY_KNOWN),
        ("transaction already imported", SendStatus.ALREADY_KNOWN),
        ("Known transaction", SendStatus.ALREADY_KNOWN),
        ("AlreadyKnown", SendStatus.ALREADY_KNOWN),
        ("nonce too low: next nonce 4, tx nonce 3", SendStatus.NONCE_TOO_LOW),
        ("Nonce too low", SendStatus.NONCE_TOO_LOW),
        ("OldNonce, Current nonce: 4, nonce of rejected tx: 3", SendStatus.NONCE_TOO_LOW),
        ("replacement transaction underpriced", SendStatus.REFUSED),
        ("insufficient funds for gas * price + value", SendStatus.REFUSED),
        ("nonce too high", SendStatus.REFUSED),
    ],
)
def test_what_nodes_say_to_a_transaction(message: str, status: SendStatus) -> None:
    assert send_result(RpcError("eth_sendRawTransaction", -32000, message)).status is status


async def test_a_node_that_gives_no_hash_for_a_transaction_is_unavailable() -> None:
    def respond(request: Any) -> bytes:
        return http(json.dumps([{"id": r["id"], "result": "0x"} for r in request]).encode())

    async with serving(respond) as (url, _), NodeClient(url) as node:
        with pytest.raises(NodeUnavailable):
            await node.send_raw([b"\x02"])


# ------------------------------------------------------------------------------ a real node


@pytest.fixture(scope="module")
def chain() -> Iterator[RunningNode]:
    with ephemeral_node() as node:
        yield node


def _key(purpose: str) -> LocalKey:
    return LocalKey(bytes.fromhex(dev_account(purpose).private_key.removeprefix("0x")))


@pytest.mark.node
async def test_the_client_reads_a_real_chain(chain: RunningNode) -> None:
    async with NodeClient(chain.url) as node:
        assert await node.chain_id() == CHAIN_ID
        head = await node.block()
        genesis = await node.block(0)
        assert head is not None
        assert genesis is not None
        assert genesis.number == 0
        assert genesis.parent_hash == bytes(32)
        assert await node.block(10**9) is None
        assert await node.blocks([0, 10**9]) == [genesis, None]
        assert await node.receipts([bytes(32)]) == [None]
        assert await node.transactions([bytes(32)]) == [None]
        assert await node.code(bytes(20)) == b""
        assert await node.storage(bytes(19) + b"\x99", 0) == bytes(32)
        assert await node.logs([bytes(20)], 0, head.number) == []
        assert await node.gas_price() >= 0
        assert await node.call(bytes(19) + b"\x99", b"", block="0x" + genesis.hash.hex()) == b""


@pytest.mark.node
async def test_sending_again_and_sending_late_are_answers(chain: RunningNode) -> None:
    key = _key("submitter")
    async with NodeClient(chain.url) as node:
        nonce = await node.nonce(key.address)

        def signed(number: int, value: int) -> bytes:
            request = TransactionRequest(CHAIN_ID, number, bytes(19) + b"\x99", b"", 21_000, value=value)
            return key.sign_transaction(request).raw

        # The later nonce first: it waits in the pool.
        results = await node.send_raw([signed(nonce + 1, 0), signed(nonce + 1, 0)])
        assert [result.status for result in results] == [SendStatus.ACCEPTED, SendStatus.ALREADY_KNOWN]
        assert [result.status for result in await node.send_raw([signed(nonce, 0)])] == [SendStatus.ACCEPTED]
        for _ in range(500):
            if await node.nonce(key.address) == nonce + 2:
                break
            await asyncio.sleep(0.02)
        [late] = await node.send_raw([signed(nonce, 1)])
        assert late.status is SendStatus.NONCE_TOO_LOW
        assert await node.send_raw([]) == []
        [wrong] = await node.send_raw([b"\x02nonsense"])
        assert wrong.status is SendStatus.REFUSED


@pytest.mark.node
async def test_a_mined_transaction_reads_back(chain: RunningNode) -> None:
    key = _key("guardian")
    async with NodeClient(chain.url) as node:
        nonce = await node.nonce(key.address)
        signed = key.sign_transaction(
            TransactionRequest(CHAIN_ID, nonce, bytes(19) + b"\x99", b"hello", 50_000)
        )
        await node.send_raw([signed.raw])
        for _ in range(500):
            [receipt] = await node.receipts([signed.hash])
            if receipt is not None:
                break
            await asyncio.sleep(0.02)
        else:
            pytest.fail("the transaction was not mined")
        [transaction] = await node.transactions([signed.hash])
    assert receipt.succeeded
    assert receipt.tx_hash == signed.hash
    assert transaction is not None
    assert (transaction.sender, transaction.nonce, transaction.data) == (key.address, nonce, b"hello")
    assert (transaction.block_number, transaction.tx_index) == (receipt.block_number, receipt.tx_index)
