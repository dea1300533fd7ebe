"""The bloom filter of a header, against the node's own."""

from __future__ import annotations

from fenzhang.chain.bloom import SIZE, may_have_logs
from support.world import World

A, B = b"a" * 20, b"b" * 20


def test_an_empty_filter_has_no_logs_and_a_full_one_may_have_any() -> None:
    assert not may_have_logs(bytes(SIZE), [A, B])
    assert not may_have_logs(b"\xff" * SIZE, [])
    assert may_have_logs(b"\xff" * SIZE, [A])


def test_what_a_block_logged_is_in_the_filter_of_the_node(world: World) -> None:
    contracts = world.system.deployment.addresses
    world.captured()
    block = world.node.request("eth_getBlockByNumber", "latest", False)  # noqa: FBT003 -- by JSON-RPC
    bloom = bytes.fromhex(block["logsBloom"][2:])
    assert may_have_logs(bloom, [contracts["SplitLedger"]])
    assert not may_have_logs(bloom, [contracts["RuleBook"]])
    world.node.mine()
    empty = world.node.request("eth_getBlockByNumber", "latest", False)  # noqa: FBT003 -- by JSON-RPC
    assert not may_have_logs(bytes.fromhex(empty["logsBloom"][2:]), contracts.values())
