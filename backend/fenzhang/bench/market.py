"""What is split: two platforms, fifty recipients each, one rule with five leaves; and the bodies of requests."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import httpx

from fenzhang.bench.http import LoadFailed
from fenzhang.chain.signer import LocalKey
from fenzhang.client import AsyncClient, Credentials, InstructionType, NewRule, PlatformKey
from fenzhang.domain.identifiers import parse_id, rule_id
from fenzhang.domain.rules import Leg, LegKind
from fenzhang.local.supervisor import Endpoints
from fenzhang.replay.credentials import Apps

RECIPIENTS = 50
ROLES = ("logistics", "promoter", "supplier", "platform", "merchant")
LEGS = (
    Leg(-1, LegKind.SHARE, 500, role="logistics"),
    Leg(-1, LegKind.FIXED, 30, role="promoter"),
    Leg(-1, LegKind.SHARE, 200, role="supplier"),
    Leg(-1, LegKind.SHARE, 1_000, role="platform"),
    Leg(-1, LegKind.REMAINDER, role="merchant"),
)
RULE = "five-ways"
KEYSTORE, SELF_SIGNED = "bench", "bench-self-signed"
"""Platforms: one whose key the keystore has, and one that signs by itself, for the baseline."""
_AT_ONCE = 16
_PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class Market:
    """A platform that is ready to send orders."""

    platform: bytes
    token: str
    key: LocalKey | None
    rule: bytes
    recipients: tuple[bytes, ...]

    def parties(self, number: int) -> list[int]:
        """Which recipients order `number` pays: five different ones, each in its turn."""
        return [(number + 7 * place) % RECIPIENTS for place in range(len(ROLES))]

    def amount(self, number: int) -> int:
        """Minor units of order `number`."""
        return 10_000 + number % 90_000


def capture_body(market: Market, reference: str, number: int) -> str:
    """An order as JSON text, without the braces."""
    parties = market.parties(number)
    bound = ",".join(f'"{role}":"r{who}"' for role, who in zip(ROLES, parties, strict=True))
    return (
        f'"out_order_no":"{reference}","out_rule_no":"{RULE}","merchant":"r{parties[-1]}","currency":"CNY",'
        f'"amount":{market.amount(number)},"channel":"sandbox","bindings":{{{bound}}}'
    )


def split_body(market: Market, reference: str, number: int) -> str:
    """A split of a whole order as JSON text, without the braces."""
    amount = market.amount(number)
    return f'"out_split_no":"{reference}","out_order_no":"{reference}","amount":{amount}'


def batch_body(market: Market, name: str, numbers: range) -> bytes:
    """A request that captures and splits many orders."""
    items: list[str] = []
    for number in numbers:
        reference = f"{name}-{number}"
        items.append(f'{{"type":"CAPTURE",{capture_body(market, reference, number)}}}')
        items.append(f'{{"type":"SPLIT",{split_body(market, reference, number)}}}')
    return f'{{"items":[{",".join(items)}]}}'.encode("ascii")


def cut(count: int, size: int) -> Iterator[range]:
    """0 to `count` in pieces."""
    for first in range(0, count, size):
        yield range(first, min(first + size, count))


async def open_markets(endpoints: Endpoints) -> tuple[Market, Market]:
    """Enrol both platforms with everything they need. Raises what the client raises, and LoadFailed."""
    apps = Apps.load(endpoints.apps)
    async with (
        AsyncClient(endpoints.api, apps.operator) as operator,
        AsyncClient(endpoints.api, apps.approver) as approver,
    ):
        key = LocalKey(secrets.token_bytes(32))
        first, second = await asyncio.gather(
            _open(endpoints, operator, approver, KEYSTORE, None),
            _open(endpoints, operator, approver, SELF_SIGNED, key),
        )
    return first, second


async def _open(
    endpoints: Endpoints, operator: AsyncClient, approver: AsyncClient, name: str, key: LocalKey | None
) -> Market:
    await operator.enrol_platform(name, None if key is None else "0x" + key.address.hex())
    await operator.wait_for(InstructionType.ENROLL, name, timeout_s=_PATIENCE_S)
    made = await operator.create_app(name, ["platform"], name)
    credentials = Credentials(made.client_id, made.client_secret)
    signing = None if key is None else PlatformKey(key=key, platform=name)
    async with AsyncClient(endpoints.api, credentials, key=signing) as client:
        platform = parse_id("participant_id", (await client.get_participant(name)).participant_id)
        gate = asyncio.Semaphore(_AT_ONCE)

        async def enrol(number: int) -> bytes:
            async with gate:
                found = await client.enrol_participant(f"r{number}")
                await client.wait_for(InstructionType.ENROLL, f"r{number}", timeout_s=_PATIENCE_S)
                return parse_id("participant_id", found.participant_id)

        *recipients, _ = await asyncio.gather(
            *(enrol(number) for number in range(RECIPIENTS)), _put_in_force(client, approver, name)
        )
    token = await _token(endpoints.api, credentials)
    return Market(platform, token, key, rule_id(platform, RULE), tuple(recipients))


async def _put_in_force(client: AsyncClient, approver: AsyncClient, platform: str) -> bytes:
    """Propose and approve the rule; its id. Raises LoadFailed."""
    await client.propose_rule(
        NewRule(out_request_no="propose", out_rule_no=RULE, legs=LEGS, version=1, effective_from=0)
    )
    await client.wait_for(InstructionType.PROPOSE, "propose", timeout_s=_PATIENCE_S)
    rule = await client.get_rule(RULE)
    await approver.approve_rule("approve", platform, rule.versions[0])
    await client.wait_for(InstructionType.APPROVE, "approve", timeout_s=_PATIENCE_S)
    rule = await client.get_rule(RULE)
    if rule.in_force != 1:
        raise LoadFailed("the rule did not come into force")
    return parse_id("rule_id", rule.rule_id)


async def _token(api: str, credentials: Credentials) -> str:
    form = {
        "grant_type": "client_credentials",
        "client_id": credentials.client_id,
        "client_secret": credentials.client_secret,
    }
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(f"{api}/oauth/token", data=form)
    return str(answer.raise_for_status().json()["access_token"])
