"""A capture that came alone waits a moment for its split."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from fenzhang.store import tables
from pipeline.harness import FAST, Pipeline

pytestmark = pytest.mark.either_database
LINGER_S = 0.2


@pytest.fixture
def patient(pipeline: Pipeline) -> Pipeline:
    """Whose submitter waits for splits."""
    pipeline.config = replace(FAST, linger_s=LINGER_S)
    pipeline.restart()
    return pipeline


async def test_a_split_that_comes_soon_goes_with_its_capture(patient: Pipeline) -> None:
    world = patient.world
    capture = world.capture(1_000)
    first = await patient.accept(capture)
    await patient.submit()
    assert await patient.states(*first) == ["ACCEPTED"]

    second = await patient.accept(world.split(capture.order_id, 600))
    await patient.submit()
    assert await patient.states(*first, *second) == ["SUBMITTED", "SUBMITTED"]
    assert len(await patient.transactions()) == 1
    await patient.round()
    assert await patient.states(*first, *second) == ["SETTLED", "SETTLED"]


async def test_a_capture_that_stays_alone_goes_after_a_moment(patient: Pipeline) -> None:
    seqs = await patient.accept(patient.world.capture(1_000))
    await patient.submit()
    await asyncio.sleep(LINGER_S + 0.05)
    await patient.submit()

    assert await patient.states(*seqs) == ["SUBMITTED"]


async def test_a_new_capture_does_not_keep_an_older_one(patient: Pipeline) -> None:
    world = patient.world
    old = await patient.accept(world.capture(1_000))
    await patient.submit()
    await asyncio.sleep(LINGER_S + 0.05)
    new = await patient.accept(world.capture(2_000))
    await patient.submit()

    assert await patient.states(*old, *new) == ["SUBMITTED", "ACCEPTED"]


async def test_what_is_signed_as_a_whole_does_not_wait(patient: Pipeline) -> None:
    world = patient.world
    seqs = await patient.accept_signed(world.attest(world.capture(1_000)))
    await patient.submit()

    assert await patient.states(*seqs) == ["SUBMITTED"]
    assert len(await patient.rows(tables.Authorization)) == 1
