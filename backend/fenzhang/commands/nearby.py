"""Which node and deployment a command means when none is named: what the environment says, else what runs here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from fenzhang.chain.node import NodeClient
    from fenzhang.settings import Settings

RPC_HELP = "JSON-RPC endpoint of a node. Default: FENZHANG_RPC_URL, else the node that `up` or `devnet up` runs here."
DEPLOYMENT_HELP = (
    "Deployment file. Default: FENZHANG_DEPLOYMENT, else deployments/<chain id>.json in FENZHANG_HOME (.fenzhang), "
    "else here."
)


def node_url(settings: Settings, given: str | None) -> str:
    """Where the node is: `given`, else FENZHANG_RPC_URL, else the devnet that runs in the home folder."""
    if given is not None:
        return given
    if "rpc_url" not in settings.model_fields_set:
        from fenzhang import devnet

        running = devnet.status(settings.home).node
        if running is not None:
            return running.url
    return settings.rpc_url


async def deployment_file(settings: Settings, given: Path | None, node: NodeClient) -> Path:
    """The deployment file of the node's chain: `given`, else FENZHANG_DEPLOYMENT, else in the home folder, else here.

    Raises NodeUnavailable, RpcError.
    """
    if given is not None:
        return given
    if "deployment" in settings.model_fields_set:
        return settings.deployment
    from fenzhang.chain.deployments import DEPLOYMENTS_FOLDER, deployment_path

    chain_id = await node.chain_id()
    at_home = deployment_path(chain_id, settings.home / DEPLOYMENTS_FOLDER)
    return at_home if at_home.exists() else deployment_path(chain_id)


def say_which(
    settings: Settings, node: NodeClient, rpc: str | None, deployment: Path, given: Path | None
) -> None:
    """Say on standard error what was looked at, unless `rpc` and `given` or the environment named it."""
    named = settings.model_fields_set
    if (rpc is None and "rpc_url" not in named) or (given is None and "deployment" not in named):
        typer.echo(f"node {node.name}, deployment {deployment}", err=True)
