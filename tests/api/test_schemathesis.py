"""Generated requests, valid and not: every answer is documented, well formed and no server error."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import eth_keyfile  # noqa: F401 -- its import raises the recursion limit, which Hypothesis would notice
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from fenzhang.api.auth import Tokens
from fenzhang.api.problems import PROBLEM_JSON
from fenzhang.chain.keystore import encrypt_key
from fenzhang.devnet import ephemeral_node
from fenzhang.intake.actor import Scope
from fenzhang.store import tables
from fenzhang.store.session import Database
from support.api import JWT_KEY, MALL, description, populate, running_api
from support.node import HandNode
from support.system import System, deploy_system

EXAMPLES = 20
"""Per operation: enough to find what is wrong with a schema, in well under a minute."""


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    """Contracts on a real node, for quotes."""
    with ephemeral_node(automine=False) as running:
        node = HandNode(running.url)
        yield deploy_system(node)
        node.close()


@pytest.fixture(scope="module")
def served(migrated_sqlite: Path, system: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of an API in a thread of its own: schemathesis waits for answers without an event loop."""
    home = tmp_path_factory.mktemp("fuzzed")
    path = home / "fenzhang.db"
    shutil.copy(migrated_sqlite, path)
    ready, url, loops = threading.Event(), [], []
    stop = asyncio.Event()
    # A second per generated key is meant to hold up those who guess passwords, not this test.
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr("fenzhang.intake.participants.encrypt_key", partial(encrypt_key, work_factor=2))

    async def serve() -> None:
        async with Database(f"sqlite:///{path}") as database:
            await populate(database)
            async with running_api(
                database, home, node_url=system.node.url, deployment=system.deployment
            ) as api:
                # Nobody is going to settle anything: a wait of up to a minute must end at once.
                api.server.services.watcher.close()
                url.append(api.url)
                loops.append(asyncio.get_running_loop())
                ready.set()
                await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(30)
    yield url[0]
    loops[0].call_soon_threadsafe(stop.set)
    thread.join(30)
    monkeypatch.undo()


@schemathesis.serializer("text/csv", "application/jsonl", "application/x-ndjson")
def as_text(_context: Any, value: Any) -> bytes:
    """A file is the text that was generated for it, good rows or not."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


schema = schemathesis.openapi.from_dict(description())
# Each value of each schema one by one takes minutes; drawing from valid and invalid ones finds the same things.
schema.config.phases.coverage.enabled = False


@pytest.fixture(scope="module")
def headers() -> dict[str, str]:
    """A token that may do everything."""
    app = tables.App(client_id="app_fuzz", platform_id=MALL)
    return {"Authorization": f"Bearer {Tokens(JWT_KEY, 3_600).issue(app, list(Scope))}"}


@schema.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
def test_answers_conform_to_the_description(case: Case[Any], served: str, headers: dict[str, str]) -> None:
    response = case.call(base_url=served, headers=headers)
    excluded: list[Any] = []
    is_json = response.headers["content-type"][0] in {"application/json", PROBLEM_JSON}
    if is_json and (_is_beyond_schemas(case.body, response.json()) or _is_misread(case.query)):
        excluded.append(positive_data_acceptance)
    if case.path == "/v1/files" and not isinstance(case.body, str | bytes):
        # As a file, whatever was generated instead of a text is a text all the same.
        excluded.append(negative_data_rejection)
    case.validate_response(response, excluded_checks=excluded)


def _is_beyond_schemas(body: Any, answer: Any) -> bool:
    """Whether a refusal is for what JSON Schema has no words for, or what the generator misreads.

    To JSON Schema 1.0 is an integer; here it is none. The generator takes bounds for doubles, and 2**63 + 200 for
    less than 2**63. No schema says that legs form a tree, that entries have an order, that amounts have a sum, that a
    period ends after it begins, that days begin in 1970, that of two parameters one is given, that a hold ends before
    an expiry, that a deadline is ahead, that the check digits of an account are right, that a note has no
    control characters, that all items of a signed batch are good, or what the first line of a text is.
    """
    beyond = {
        "invalid_rule",
        "invalid_day",
        "invalid_bill",
        "invalid_schedule",
        "invalid_period",
        "invalid_moment",
        "invalid_account",
        "hold_beyond_expiry",
        "deadline_passed",
        "invalid_bank_account",
        "invalid_note",
        "authorization_missing",
        "invalid_header",
        "too_many_files",
    }
    if isinstance(answer, dict) and answer.get("code") in beyond:
        return True
    if isinstance(body, dict) and "items" in body and (body.get("authorization") or body.get("attestation")):
        return True
    amounts = body.get("amounts") if isinstance(body, dict) else None
    if isinstance(amounts, list) and not any(amounts):
        return True
    return _is_misread(body)


def _is_misread(value: Any) -> bool:
    return any(isinstance(number, float) or number >= 2**63 for number in _numbers(value))


def _numbers(value: Any) -> Iterator[int | float]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value
