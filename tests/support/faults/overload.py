"""Ten times more than the system can take: 429 with Retry-After, bounded memory, and full speed afterwards."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path

import httpx

from fenzhang.client import AsyncClient, NewOrder, RetryPolicy
from fenzhang.client.errors import ApiUnreachable
from support.faults.rig import Rig, Scenario
from support.faults.system import MAX_REQUESTS
from support.faults.traffic import PaperOrder, Platform

SUSTAINED_CLIENTS = 8
_FLOOD_CLIENTS = 10 * MAX_REQUESTS
"""All at once and without patience: ten times what the process admits."""
_MEMORY_LIMIT_MB = 500
_SPEED_SHARE = 0.5
"""Of the rate before; less than all of it because machines that run tests are shared."""
_MEASURED_ORDERS = 40
_IMPATIENT = RetryPolicy(patience_s=0.0, timeout_s=60.0)


class _Watching(httpx.AsyncHTTPTransport):
    """Counts answers by status, and those that say 429 without saying when to come again."""

    def __init__(self) -> None:
        super().__init__(limits=httpx.Limits(max_connections=None))
        self.statuses: Counter[int] = Counter()
        self.unhelpful = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        self.statuses[response.status_code] += 1
        if response.status_code == httpx.codes.TOO_MANY_REQUESTS and "retry-after" not in response.headers:
            self.unhelpful += 1
        return response


async def overload(rig: Rig) -> int:
    """A flood of orders from clients that do not wait, and then the same orders again from patient ones."""
    refused = 0
    for _ in range(rig.rounds):
        before = await _rate(rig)
        await rig.settle()
        refused += await _flood(rig)
        await rig.settle()
        after = await _rate(rig)
        rig.measured("instructions per second before", before)
        rig.measured("instructions per second afterwards", after)
        if after < _SPEED_SHARE * before:
            rig.system.processes["api"].ended.append(
                f"slower after overload: {before:.0f}/s, then {after:.0f}/s"
            )
    return refused


async def _rate(rig: Rig) -> float:
    sent, began = rig.traffic.sent, time.monotonic()
    await rig.traffic.send_orders(_MEASURED_ORDERS, SUSTAINED_CLIENTS)
    return (rig.traffic.sent - sent) / (time.monotonic() - began)


async def _flood(rig: Rig) -> int:
    """Returns how many were turned away. All of them come again until they are taken."""
    [platform] = [each for each in rig.traffic.platforms if not each.signs]
    watching = _Watching()
    api = rig.system.processes["api"]
    orders = [rig.traffic.new_order(platform) for _ in range(_FLOOD_CLIENTS)]
    async with AsyncClient(
        rig.system.api, platform.credentials, policy=_IMPATIENT, transport=watching
    ) as client:
        await client.get_network()  # one token for all
        taken = await asyncio.gather(*(_try(client, order.new) for order in orders))
    memory_mb = _memory_mb(api.pid)
    for order, was_taken in zip(orders, taken, strict=True):
        await _settle_one(rig, platform, order, was_taken=was_taken)
    turned_away = watching.statuses[httpx.codes.TOO_MANY_REQUESTS]
    rig.measured("megabytes of the API after a flood", memory_mb)
    rig.say(
        f"{turned_away} of {len(orders)} turned away, {memory_mb:.0f} MB; answers {dict(watching.statuses)}"
    )
    if watching.unhelpful:
        api.ended.append(f"{watching.unhelpful} answers 429 without Retry-After")
    if memory_mb > _MEMORY_LIMIT_MB:
        api.ended.append(f"the API uses {memory_mb:.0f} MB")
    return turned_away


async def _try(client: AsyncClient, new: NewOrder) -> bool:
    try:
        await client.create_order(new)
    except ApiUnreachable:
        return False
    return True


async def _settle_one(rig: Rig, platform: Platform, order: PaperOrder, *, was_taken: bool) -> None:
    if was_taken:
        order.play(order.new, rig.traffic.model)
        rig.traffic.sent += 1
    else:
        await rig.traffic.send(platform, order, order.new)


def _memory_mb(pid: int) -> float:
    """Resident memory of a process."""
    [line] = [
        line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS:")
    ]
    return int(line.split()[1]) / 1024


OVERLOAD = Scenario("overload", "ten times more than can be taken", overload, 1, 3)
