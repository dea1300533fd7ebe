"""What a devnet is started with, and the anvil command line that follows from it."""

from __future__ import annotations

import dataclasses
import os
from enum import StrEnum
from pathlib import Path
from typing import Final

CHAIN_ID: Final = 20261
"""Chain id of every devnet. Fixed, so that a signature made for it can be valid nowhere else."""

DEFAULT_PORT: Final = 8545
"""Where Ethereum tools look for a local node."""

HISTORY_BLOCKS: Final = 16
"""States kept in memory: how far `anvil_reorg` and a call at an older block can reach. Each is a copy of the state."""

BLOCK_GAS_LIMIT: Final = 1_000_000_000
"""A consortium chain's order of magnitude. Anvil's own 30 million hold five batches of 200 orders."""

DEV_BALANCE_ETHER: Final = 100_000_000
"""Balance of each test account. Gas is free; this covers tools that insist on paying."""


class Mining(StrEnum):
    """When a block is made."""

    INTERVAL = "interval"
    """Every `block_time_s` seconds, like a consortium chain, also when there is nothing to put in."""
    INSTANT = "instant"
    """At once for every transaction. Slow under load: an empty block costs 3 microseconds per storage slot."""
    MANUAL = "manual"
    """Only by `evm_mine`. For tests that decide what stands in which block."""


def default_home() -> Path:
    """Folder for everything that is local to a run: FENZHANG_HOME, else `.fenzhang` here."""
    return Path(os.environ.get("FENZHANG_HOME") or ".fenzhang").absolute()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DevnetConfig:
    """How to start a devnet."""

    home: Path = dataclasses.field(default_factory=default_home)
    """The chain lives in `home/devnet`: one state, one node."""
    host: str = "127.0.0.1"
    """Address to listen on. The node has public keys and cheat methods: keep it off the network."""
    port: int = DEFAULT_PORT
    """TCP port; 0 takes a free one."""
    mining: Mining = Mining.INTERVAL
    block_time_s: float = 1.0
    """Seconds between blocks, used by INTERVAL only."""
    chain_id: int = CHAIN_ID
    """Another chain id than the devnet's own is for tests of what must be refused."""
    persist: bool = True
    """Write snapshots. Without them the chain is gone when the node ends."""
    snapshot_interval_s: float = 1.0
    """Seconds between snapshots: what a SIGKILL may lose. They use at most a tenth of the time, so a big state
    stretches it to ten times the length of one snapshot."""
    history_blocks: int = HISTORY_BLOCKS
    """How far back a reorganisation can reach, which costs a copy of the state for each block."""
    start_timeout_s: float = 30.0
    """Seconds the node may take to answer."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:  # noqa: PLR2004 - the range of a TCP port
            raise ValueError(f"port {self.port} is not within 0 to 65535")
        if self.mining is Mining.INTERVAL and self.block_time_s <= 0:
            raise ValueError(f"a block time of {self.block_time_s} s is not positive")


def anvil_arguments(config: DevnetConfig, *, port: int, cache: Path, state: Path | None) -> list[str]:
    """Everything after the name of the binary.

    Args:
        config: what was asked for.
        port: TCP port, already chosen.
        cache: folder for what anvil may spill to disk.
        state: JSON state to load, if there is one.
    """
    arguments = [
        *("--host", config.host, "--port", str(port), "--chain-id", str(config.chain_id)),
        # Free gas, as consortium chains have it: legacy price 0 and maxFeePerGas 0 are both accepted.
        *("--gas-price", "0", "--block-base-fee-per-gas", "0", "--disable-min-priority-fee"),
        *("--balance", str(DEV_BALANCE_ETHER), "--gas-limit", str(BLOCK_GAS_LIMIT)),
        # What the contracts are compiled for: nothing newer can slip in.
        *("--hardfork", "cancun"),
        # Order of arrival. With free gas, "fees" would order by nothing.
        *("--order", "fifo"),
        # The default livelocks automine at about 1,000 ready transactions.
        *("--max-transactions", "100000"),
        # No state copy per block for ever, and nothing spilled to disk; all blocks, logs and receipts stay.
        *("--prune-history", str(config.history_blocks), "--cache-path", str(cache)),
        # A JSON-RPC array with hundreds of signed batches is larger than the default 2 MB.
        "--no-request-size-limit",
        # One log line per request costs time and disk; what goes wrong still arrives on stderr.
        "--quiet",
    ]
    if config.mining is Mining.INTERVAL:
        arguments += ["--block-time", f"{config.block_time_s:g}"]
    elif config.mining is Mining.MANUAL:
        arguments.append("--no-mining")
    if state is not None:
        arguments += ["--load-state", str(state)]
    return arguments
