"""`fenzhang deploy`: the contracts onto any chain, once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fenzhang.commands.keyfile import PASSWORD_VARIABLE, read_key
from fenzhang.commands.nearby import RPC_HELP, node_url

if TYPE_CHECKING:
    from fenzhang.chain.deploy import DeployPlan
    from fenzhang.chain.deployments import Deployment
    from fenzhang.chain.signer import LocalKey

ADDRESS_SIZE = 20
ADMIN_KEY_HELP = (
    "Key of the administrator, who also pays: a key file (Web3 secret storage) or 64 hexadecimal digits. "
    f"Its password is asked for, or read from {PASSWORD_VARIABLE}. "
    "On the devnet the first test account is the default."
)

Addresses = list[str] | None


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("deploy")(deploy_command)


def deploy_command(
    *,
    rpc: Annotated[str | None, typer.Option("--rpc", help=RPC_HELP, show_default=False)] = None,
    admin_key_file: Annotated[
        Path | None,
        typer.Option(help=ADMIN_KEY_HELP, show_default=False),
    ] = None,
    registrar: Annotated[Addresses, typer.Option(help="Address with the registrar role; repeatable.")] = None,
    rule_approver: Annotated[
        Addresses, typer.Option(help="Address with the rule approver role; repeatable.")
    ] = None,
    attestor: Annotated[
        Addresses, typer.Option(help="Address of a bank that attests captures; repeatable.")
    ] = None,
    guardian: Annotated[Addresses, typer.Option(help="Address with the guardian role; repeatable.")] = None,
    clearing_bank: Annotated[
        Addresses, typer.Option(help="Address of a bank that closes cycles and reports payouts; repeatable.")
    ] = None,
    execution_delay: Annotated[
        int,
        typer.Option(help="Seconds between announcing and doing for registrars and rule approvers.", min=0),
    ] = 0,
    approval_lock: Annotated[
        int,
        typer.Option(help="Least seconds between the approval of a rule version and its effect.", min=0),
    ] = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="Deployment file. Default: deployments/<chain id>.json.", show_default=False),
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for one transaction.", min=1)] = 120.0,
) -> None:
    """Deploy the contracts and set up roles and currencies. Running it again continues an interrupted run."""
    from fenzhang.chain.deploy import DeployPlan

    plan = DeployPlan(
        registrars=_addresses(registrar),
        rule_approvers=_addresses(rule_approver),
        attestors=_addresses(attestor),
        guardians=_addresses(guardian),
        clearing_banks=_addresses(clearing_bank),
        execution_delay_s=execution_delay,
        approval_lock_s=approval_lock,
    )
    deployment = asyncio.run(_deploy(rpc, admin_key_file, plan, out, timeout))
    typer.echo(f"SplitLedger 0x{deployment.split_ledger.hex()} on chain {deployment.chain_id}")


async def _deploy(
    rpc: str | None, key_file: Path | None, plan: DeployPlan, out: Path | None, timeout_s: float
) -> Deployment:
    from fenzhang.chain.deploy import deploy
    from fenzhang.chain.deployments import deployment_path
    from fenzhang.chain.keystore import DEVNET_CHAIN_ID
    from fenzhang.chain.node import NodeClient
    from fenzhang.settings import Settings

    async with NodeClient(node_url(Settings.from_environment(), rpc)) as node:
        chain_id = await node.chain_id()
        if chain_id == DEVNET_CHAIN_ID and not plan.members():
            plan = replace(devnet_plan(), approval_lock_s=plan.approval_lock_s)
        admin = administrator(key_file, chain_id)
        path = out or deployment_path(chain_id)
        return await deploy(node, admin, plan, path, report=typer.echo, timeout_s=timeout_s)


def administrator(key_file: Path | None, chain_id: int) -> LocalKey:
    """The administrator's key: of the file, or on the devnet the first test account's. Raises BadParameter."""
    from fenzhang.chain.keystore import DEVNET_CHAIN_ID

    if key_file is not None:
        return read_key(key_file)
    if chain_id == DEVNET_CHAIN_ID:
        return _devnet_key("admin")
    raise typer.BadParameter("--admin-key-file is needed on every chain but the devnet")


def devnet_plan() -> DeployPlan:
    """The roles of the devnet's test accounts."""
    from fenzhang.chain.deploy import DeployPlan

    return DeployPlan(
        registrars=[_devnet_key("registrar").address],
        rule_approvers=[_devnet_key("rule-approver").address],
        attestors=[_devnet_key("bank-attestor").address],
        guardians=[_devnet_key("guardian").address, _devnet_key("second-guardian").address],
        clearing_banks=[_devnet_key("clearing-bank").address],
    )


def _devnet_key(purpose: str) -> LocalKey:
    from fenzhang.chain.signer import LocalKey
    from fenzhang.devnet import dev_account

    return LocalKey(bytes.fromhex(dev_account(purpose).private_key.removeprefix("0x")))


def _addresses(values: Addresses) -> list[bytes]:
    return [_address(value) for value in values or ()]


def _address(value: str) -> bytes:
    try:
        raw = bytes.fromhex(value.removeprefix("0x"))
    except ValueError:
        raw = b""
    if len(raw) != ADDRESS_SIZE or not any(raw):
        raise typer.BadParameter(f"{value!r} is no address: 0x and 40 hexadecimal digits, not all zero")
    return raw
