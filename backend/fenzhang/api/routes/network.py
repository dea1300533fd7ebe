"""`/v1/network`, `/healthz` and `/readyz`."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from sqlalchemy import func, select

from fenzhang.api.auth import allow
from fenzhang.api.documentation import operation
from fenzhang.api.responses import OrjsonResponse
from fenzhang.api.routing import PublicRoute, SecuredRoute
from fenzhang.api.schemas.answers import HealthAnswer, NetworkAnswer, ReadyAnswer
from fenzhang.api.services import services_of
from fenzhang.chain.eip712 import SigningDomain
from fenzhang.intake.actor import Actor, Scope
from fenzhang.store.tables import Block, Instruction, InstructionState

router = APIRouter(route_class=SecuredRoute, tags=["Network"])
health = APIRouter(route_class=PublicRoute, tags=["Health"])
Anybody = Annotated[Actor, Depends(allow(*Scope))]


@router.get("/v1/network", **operation({200: NetworkAnswer}, 401, 403, scopes=tuple(Scope)))
async def network(request: Request, _actor: Anybody) -> OrjsonResponse:
    """Chain, contracts and EIP-712 domains: what a client needs to sign."""
    services = services_of(request)
    deployment, signs_for = services.deployment, services.network
    answer = {
        "chain_id": deployment.chain_id,
        "contracts": {name: "0x" + address.hex() for name, address in deployment.addresses.items()},
        "domains": {
            "SplitLedger": _domain(signs_for.ledger_domain),
            "RuleBook": _domain(signs_for.rule_domain),
        },
    }
    return OrjsonResponse(answer)


def _domain(domain: SigningDomain) -> dict[str, object]:
    return {
        "name": domain.name,
        "version": "1",
        "chainId": domain.chain_id,
        "verifyingContract": "0x" + domain.verifying_contract.hex(),
    }


@health.get("/healthz", **operation({200: HealthAnswer}))
async def healthz() -> OrjsonResponse:
    """The process answers."""
    return OrjsonResponse({"status": "ok"})


@health.get("/readyz", **operation({200: ReadyAnswer}, 503))
async def readyz(request: Request) -> OrjsonResponse:
    """The database can be reached and is of this version, so writes are accepted. How far the mirror is, beside it.

    Neither the node nor the mirror has to be there: what is accepted waits for them.
    """
    services = services_of(request)
    await services.database.check()
    async with services.database.read() as session:
        newest = (await session.execute(select(Block).order_by(Block.number.desc()).limit(1))).scalar()
        waiting = select(func.count()).select_from(Instruction)
        unfinished = waiting.where(Instruction.state == InstructionState.ACCEPTED.value)
        open_instructions = (await session.execute(unfinished)).scalar_one()
    mirror = None
    if newest is not None:
        mirror = {
            "block": newest.number,
            "timestamp": newest.timestamp,
            "age_s": int(time.time()) - newest.timestamp,
        }
    answer = {"status": "ready", "mirror": mirror, "open_instructions": open_instructions}
    return OrjsonResponse(answer)
