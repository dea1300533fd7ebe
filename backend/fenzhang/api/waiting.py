"""Long polling: answer when an instruction has changed, or when the client's patience ends."""

from __future__ import annotations

import time
from typing import Annotated, Literal

from fastapi import Query

from fenzhang.api.services import Services
from fenzhang.intake.reading import instruction_named
from fenzhang.store.tables import TERMINAL_STATES, Instruction, InstructionType

MAX_WAIT_S = 60.0

Wait = Annotated[
    float,
    Query(
        ge=0,
        le=MAX_WAIT_S,
        allow_inf_nan=False,
        description="Seconds to wait until the state is terminal, or is another than `state`.",
    ),
]
SeenState = Annotated[
    Literal["ACCEPTED", "SUBMITTED", "SETTLED", "REJECTED"] | None,
    Query(description="The state the client knows: with `wait`, answer as soon as it is another."),
]


async def awaited(
    services: Services,
    namespace: bytes,
    kind: InstructionType,
    reference: str,
    *,
    wait: float,
    state: str | None,
) -> Instruction:
    """An instruction, once there is something to say about it or `wait` seconds have passed. Raises Unknown."""
    deadline = time.monotonic() + wait
    instruction = await _read(services, namespace, kind, reference)
    if wait <= 0 or _is_news(instruction, state):
        return instruction
    with services.watcher.instruction(instruction.seq, state) as waiting:
        while True:
            instruction = await _read(services, namespace, kind, reference)
            remaining = deadline - time.monotonic()
            if _is_news(instruction, state) or remaining <= 0 or services.watcher.closing:
                return instruction
            if not await waiting.wait(remaining):
                return await _read(services, namespace, kind, reference)


async def _read(services: Services, namespace: bytes, kind: InstructionType, reference: str) -> Instruction:
    async with services.database.read() as session:
        return await instruction_named(session, namespace, kind, reference)


def _is_news(instruction: Instruction, state: str | None) -> bool:
    return instruction.state != state if state is not None else instruction.state in TERMINAL_STATES
