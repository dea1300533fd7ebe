"""A range of the chain, read from a node and checked for being one piece."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fenzhang.chain.bloom import may_have_logs
from fenzhang.chain.events import Event, decode_logs
from fenzhang.chain.node import BlockHeader, NodeClient
from fenzhang.mirror.errors import ChainMoved


@dataclass(frozen=True, slots=True)
class BlockRef:
    """Which block: its number, and its hash, which tells the chain it is on."""

    number: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive blocks and all events of the contracts in them, in order."""

    headers: list[BlockHeader]
    events: list[Event]

    @property
    def tip(self) -> BlockRef:
        """The last block."""
        return BlockRef(self.headers[-1].number, self.headers[-1].hash)


async def fetch_span(
    node: NodeClient, contracts: Mapping[bytes, str], first: int, last: int, parent: BlockRef | None
) -> Span:
    """Read blocks `first` to `last`. Raises ChainMoved unless they follow `parent` and belong together.

    `contracts` are the addresses whose events are wanted.
    """
    headers: list[BlockHeader] = []
    before = parent
    for header in await node.blocks(range(first, last + 1)):
        if header is None:
            raise ChainMoved("a block has vanished", first=first, last=last)
        if before is not None and header.parent_hash != before.hash:
            raise ChainMoved(f"block {header.number} does not follow the one before", number=header.number)
        headers.append(header)
        before = BlockRef(header.number, header.hash)
    events = decode_logs(await node.logs(list(contracts), first, last), contracts)
    events += decode_logs(await _overlooked_logs(node, contracts, headers, events), contracts)
    for event in events:
        if event.at.block_hash != headers[event.at.block_number - first].hash:
            raise ChainMoved(f"block {event.at.block_number} was replaced", number=event.at.block_number)
    events.sort(key=lambda event: (event.at.block_number, event.at.log_index))
    return Span(headers, events)


async def _overlooked_logs(
    node: NodeClient, contracts: Mapping[bytes, str], headers: Sequence[BlockHeader], events: Sequence[Event]
) -> list[dict[str, Any]]:
    """Logs of blocks that came without any, although their headers say that there may be some.

    Behind one address there may be several nodes, and one that does not have a block yet finds no logs in it.
    """
    with_events = {event.at.block_number for event in events}
    doubtful = [
        header.hash
        for header in headers
        if header.number not in with_events
        and header.logs_bloom is not None
        and may_have_logs(header.logs_bloom, contracts)
    ]
    return await node.logs_of_blocks(list(contracts), doubtful) if doubtful else []
