"""`/v1/network`, `/healthz` and `/readyz`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from fenzhang.api.auth import allow
from fenzhang.api.documentation import operation
from fenzhang.api.problems import problem_of
from fenzhang.api.responses import OrjsonResponse
from fenzhang.api.routing import PublicRoute, SecuredRoute
from fenzhang.api.schemas.answers import HealthAnswer, NetworkAnswer, ReadyAnswer
from fenzhang.api.services import Services, services_of
from fenzhang.chain.eip712 import SigningDomain
from fenzhang.domain.errors import FenzhangError
from fenzhang.health.readiness import check_database, degraded, parts, require_chain
from fenzhang.intake.actor import Actor, Scope

router = APIRouter(route_class=SecuredRoute, tags=["Network"])
health = APIRouter(route_class=PublicRoute, tags=["Health"])
Anybody = Annotated[Actor, Depends(allow(*Scope))]


@router.get("/v1/network", **operation({200: NetworkAnswer}, 401, 403, 429, scopes=tuple(Scope)))
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
            "Conditions": _domain(signs_for.condition_domain),
            "ClearingHouse": _domain(deployment.clearing_domain()),
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
    """The process answers. Whether it can do its job, `/readyz` says."""
    return OrjsonResponse({"status": "ok"})


@health.get("/readyz", **operation({200: ReadyAnswer}, 503))
async def readyz(request: Request) -> OrjsonResponse:
    """Writes are accepted durably: the database can be reached, is of this version and of this chain.

    Neither the node nor the mirror has to be there: what is accepted waits for them, and `degraded` names what is
    missing. A node that serves another chain needs a person, and is 503 like a database that is away.
    """
    return OrjsonResponse(await readiness_of(services_of(request)))


async def readiness_of(services: Services) -> dict[str, Any]:
    """What `/readyz` says. Raises DatabaseError and DeploymentMismatch when nothing should be sent here."""
    monitor = services.monitor
    await check_database(services.database, monitor)
    require_chain(monitor)
    return {
        "status": "ready",
        "degraded": degraded(monitor, services.settings.ready_lag_s),
        **parts(monitor),
        "open_instructions": monitor.queue.accepted,
    }


async def alive() -> tuple[bool, dict[str, Any]]:
    """`/healthz` on the port of the metrics."""
    return True, {"status": "ok"}


async def readiness(services: Services) -> tuple[bool, dict[str, Any]]:
    """`/readyz` on the port of the metrics."""
    try:
        return True, await readiness_of(services)
    except FenzhangError as error:
        return False, problem_of(error)
