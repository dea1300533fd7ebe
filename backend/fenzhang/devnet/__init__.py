"""The local chain without Hardhat: one pinned anvil with a fixed chain id, known accounts and a state that lasts.

node = start(DevnetConfig(port=0))      # keeps running when this process ends
stop(node.home)

with ephemeral_node(block_time=1.0) as node: ...    # for tests, gone afterwards
"""

from fenzhang.devnet.accounts import DEV_ACCOUNTS, DEV_MNEMONIC, DEV_PRIVATE_KEYS, DevAccount, dev_account
from fenzhang.devnet.binary import find_anvil
from fenzhang.devnet.config import CHAIN_ID, DEFAULT_PORT, DevnetConfig, Mining, default_home
from fenzhang.devnet.errors import (
    AnvilMissing,
    AnvilNotExecutable,
    DevnetError,
    DevnetRunning,
    NodeUnreachable,
    PortTaken,
    StartFailed,
    StateUnreadable,
    StopFailed,
    WrongChain,
)
from fenzhang.devnet.node import (
    DevnetStatus,
    child_node,
    ephemeral_node,
    reset,
    start,
    status,
    stop,
)
from fenzhang.devnet.rpc import advance_to, latest_time
from fenzhang.devnet.statedir import RunningNode

__all__ = [
    "CHAIN_ID",
    "DEFAULT_PORT",
    "DEV_ACCOUNTS",
    "DEV_MNEMONIC",
    "DEV_PRIVATE_KEYS",
    "AnvilMissing",
    "AnvilNotExecutable",
    "DevAccount",
    "DevnetConfig",
    "DevnetError",
    "DevnetRunning",
    "DevnetStatus",
    "Mining",
    "NodeUnreachable",
    "PortTaken",
    "RunningNode",
    "StartFailed",
    "StateUnreadable",
    "StopFailed",
    "WrongChain",
    "advance_to",
    "child_node",
    "default_home",
    "dev_account",
    "ephemeral_node",
    "find_anvil",
    "latest_time",
    "reset",
    "start",
    "status",
    "stop",
]
