"""The API on a real server with a real database, and a small consortium in it as the mirror would have left it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import update

from fenzhang.api.app import create_app
from fenzhang.api.auth import Tokens
from fenzhang.api.schemas.governance import CONTENT_HASH_EXAMPLE
from fenzhang.chain.breaker import Breaker
from fenzhang.chain.deployments import Deployment
from fenzhang.chain.eip712 import attestation_digest, authorization_digest, split_ledger_domain
from fenzhang.chain.node import NodeClient
from fenzhang.chain.schedules import schedule_hash
from fenzhang.chain.signer import LocalKey
from fenzhang.chain.tls import tls
from fenzhang.commands.serve_api import ApiServer, server
from fenzhang.domain import records
from fenzhang.domain.identifiers import rule_id
from fenzhang.domain.records import ParticipantStatus
from fenzhang.domain.rules import Leg, LegKind
from fenzhang.domain.schedules import SCHEDULE, Entry
from fenzhang.intake.actor import Scope
from fenzhang.settings import Settings
from fenzhang.store import feed, keys, payloads, tables
from fenzhang.store.session import Database
from fenzhang.store.tables import InstructionState

MALL, SHOP = (sha256(name.encode()).digest() for name in ("mall", "shop"))
MALL_KEY, SHOP_KEY, BANK_KEY, FOREIGN_KEY = (
    LocalKey(sha256(name.encode()).digest()) for name in ("mall key", "shop key", "bank key", "foreign key")
)
JWT_KEY = "k" * 32
FAR_FUTURE = 4_000_000_000
DEAD_NODE = "http://127.0.0.1:1"
DEPLOYMENT = Deployment(
    chain_id=20261,
    genesis_hash=b"g" * 32,
    block_number=1,
    access_manager=b"a" * 20,
    participant_registry=b"p" * 20,
    rule_book=b"r" * 20,
    conditions=b"c" * 20,
    split_ledger=b"l" * 20,
    ledger_view=b"v" * 20,
    clearing_house=b"h" * 20,
    code_hashes={},
    compiler="",
)
RETAIL = (
    Leg(-1, LegKind.SHARE, 500, 10, 20_000, role="platform"),
    Leg(-1, LegKind.FIXED, 300, role="logistics"),
    Leg(-1, LegKind.SHARE, 200, role="promoter"),
    Leg(-1, LegKind.REMAINDER, role="merchant"),
)
SIMPLE = (Leg(-1, LegKind.SHARE, 1000, role="platform"), Leg(-1, LegKind.REMAINDER, role="merchant"))


def participant(name: str) -> bytes:
    """Id of a participant of the world."""
    return sha256(f"participant {name}".encode()).digest()


def order(reference: str = "order-1", **changes: Any) -> dict[str, Any]:
    """An order of the mall, all roles bound."""
    return {
        "out_order_no": reference,
        "out_rule_no": "retail-standard",
        "merchant": "merchant-001",
        "currency": "CNY",
        "amount": 9_900,
        "channel": "bank-gateway",
        "bindings": {
            "platform": "mall",
            "logistics": "logistics-001",
            "promoter": "promoter-001",
            "merchant": "merchant-001",
        },
    } | changes


def split(
    reference: str = "split-1", order_no: str = "order-1", amount: Any = 6_600, **more: Any
) -> dict[str, Any]:
    """A split of an order."""
    return {"out_split_no": reference, "out_order_no": order_no, "amount": amount, **more}


def give_back(
    reference: str = "return-1", split_no: str = "split-1", amount: Any = 100, **more: Any
) -> dict[str, Any]:
    """A return from a split."""
    return {"out_return_no": reference, "out_split_no": split_no, "amount": amount, **more}


def release(reference: str = "release-1", order_no: str = "order-1") -> dict[str, Any]:
    """A release of an order."""
    return {"out_release_no": reference, "out_order_no": order_no}


@dataclass(slots=True)
class Api:
    """A running API, and clients of apps: `mall` and `shop` are platforms, the others have the scope of their name."""

    url: str
    database: Database
    server: ApiServer
    deployment: Deployment
    anybody: httpx.AsyncClient
    mall: httpx.AsyncClient = field(init=False)
    shop: httpx.AsyncClient = field(init=False)
    operator: httpx.AsyncClient = field(init=False)
    approver: httpx.AsyncClient = field(init=False)
    guardian: httpx.AsyncClient = field(init=False)
    auditor: httpx.AsyncClient = field(init=False)

    def client(self, client_id: str, scopes: list[Scope], platform: bytes | None = None) -> httpx.AsyncClient:
        """A client with a token of its own."""
        app = tables.App(client_id=client_id, platform_id=platform)
        token = Tokens(JWT_KEY, 3_600).issue(app, scopes)
        return httpx.AsyncClient(
            base_url=self.url, headers={"Authorization": f"Bearer {token}"}, timeout=30.0, verify=tls()
        )

    # -------------------------------------------------------------------------- as the mirror does

    async def set_state(
        self, kind: str, reference: str, state: InstructionState, reason: dict[str, Any] | None = None
    ) -> None:
        """What submission or the mirror makes of an instruction, with its completion."""
        async with self.database.write() as session:
            query = (
                update(tables.Instruction)
                .where(tables.Instruction.type == kind, tables.Instruction.reference == reference)
                .values(state=state.value, reason=reason, block_number=7, tx_hash=b"t" * 32)
                .returning(tables.Instruction.seq, tables.Instruction.platform_id)
            )
            seq, platform = (await session.execute(query)).one()
            if state in tables.TERMINAL_STATES:
                await feed.append(session, [feed.Change(platform, seq, state)])

    async def add(self, *rows: tables.Base) -> None:
        """Rows as the mirror writes them."""
        async with self.database.write() as session:
            for row in rows:
                session.add(row)
                await session.flush()

    async def count(self) -> int:
        """How many instructions the database has."""
        async with self.database.read() as session:
            from sqlalchemy import func, select

            return (await session.execute(select(func.count()).select_from(tables.Instruction))).scalar_one()

    async def contents(self) -> str:
        """Everything that the database holds, as a fingerprint: the same before and after, nothing changed."""
        digest = sha256()
        async with self.database.read() as session:
            for table in tables.Base.metadata.sorted_tables:
                for row in await session.execute(table.select().order_by(*table.primary_key)):
                    digest.update(repr(row).encode())
        return digest.hexdigest()

    # -------------------------------------------------------------------------- as a platform does

    def authorize(
        self,
        key: LocalKey,
        platform: bytes,
        *instructions: records.Instruction,
        nonce: int | None = None,
        deadline: int = FAR_FUTURE,
        chain_id: int | None = None,
    ) -> dict[str, Any]:
        """A platform's own signature over instructions."""
        number = secrets.randbits(256) if nonce is None else nonce
        domain = split_ledger_domain(chain_id or self.deployment.chain_id, self.deployment.split_ledger)
        digest = authorization_digest(domain, records.Authorization(platform, number, deadline, instructions))
        return {"nonce": str(number), "deadline": deadline, "signature": "0x" + key.sign_digest(digest).hex()}

    def attest(self, key: LocalKey, *captures: records.Capture, deadline: int = FAR_FUTURE) -> dict[str, Any]:
        """A bank's own signature over captures."""
        number = secrets.randbits(256)
        domain = split_ledger_domain(self.deployment.chain_id, self.deployment.split_ledger)
        digest = attestation_digest(domain, records.Attestation(key.address, number, deadline, captures))
        return {
            "attestor": "0x" + key.address.hex(),
            "nonce": hex(number),
            "deadline": deadline,
            "signature": "0x" + key.sign_digest(digest).hex(),
        }


@asynccontextmanager
async def running_api(
    database: Database,
    home: Path,
    *,
    node_url: str = DEAD_NODE,
    deployment: Deployment = DEPLOYMENT,
    **more: Any,
) -> AsyncIterator[Api]:
    """Serve the API on a free port until the block is left. `more` are other settings."""
    settings = Settings(
        home=home,
        jwt_secret=JWT_KEY,
        keystore_password="test",
        rpc_url=node_url,
        api_port=0,
        **more,
    )
    breaker = Breaker(failures_to_open=2, longest_pause_s=1.0)
    async with NodeClient(node_url, timeout_s=5.0, breaker=breaker) as node:
        serving = server(settings, database=database, node=node, deployment=deployment)
        # serve() would take over the signals of the test run.
        task = asyncio.create_task(serving._serve())
        while not serving.started:
            if task.done():
                await task
            await asyncio.sleep(0.005)
        port = serving.servers[0].sockets[0].getsockname()[1]
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", timeout=30.0, verify=tls()
        ) as anybody:
            api = Api(f"http://127.0.0.1:{port}", database, serving, deployment, anybody)
            api.mall = api.client("app_mall", [Scope.PLATFORM], MALL)
            api.shop = api.client("app_shop", [Scope.PLATFORM], SHOP)
            api.operator = api.client("app_operator", [Scope.OPERATOR])
            api.approver = api.client("app_approver", [Scope.APPROVER])
            api.guardian = api.client("app_guardian", [Scope.GUARDIAN])
            api.auditor = api.client("app_auditor", [Scope.AUDITOR])
            try:
                async with api.mall, api.shop, api.operator, api.approver, api.auditor, api.guardian:
                    yield api
            finally:
                serving.end()
                await task


def description() -> dict[str, Any]:
    """The API's OpenAPI document, without a running API."""
    settings = Settings(jwt_secret=JWT_KEY)
    app = create_app(
        settings, database=Database("sqlite://"), node=NodeClient(DEAD_NODE), deployment=DEPLOYMENT
    )
    return app.openapi()


# ------------------------------------------------------------------------------ the consortium


async def populate(database: Database) -> None:
    """Two platforms, their participants in every standing, rules in every state, keys of the mall and the bank."""
    async with database.write() as session:
        session.add_all(_participants())
        session.add_all(_rules())
        keys.add(session, keys.platform_label(MALL), MALL_KEY.address, {"version": 3})
        keys.add(session, keys.ATTESTOR, BANK_KEY.address, {"version": 3})


def _participants() -> list[tables.Participant]:
    active, suspended, unknown = (
        ParticipantStatus.ACTIVE,
        ParticipantStatus.SUSPENDED,
        ParticipantStatus.UNKNOWN,
    )
    found = [
        tables.Participant(
            id=MALL, platform_id=MALL, reference="mall", authority=MALL_KEY.address, status=active
        ),
        tables.Participant(
            id=SHOP, platform_id=SHOP, reference="shop", authority=SHOP_KEY.address, status=active
        ),
    ]
    for platform, name, status in (
        (MALL, "merchant-001", active),
        (MALL, "logistics-001", active),
        (MALL, "promoter-001", active),
        (MALL, "suspended-001", suspended),
        (MALL, "pending-001", unknown),
        (SHOP, "vendor-001", active),
    ):
        found.append(
            tables.Participant(id=participant(name), platform_id=platform, reference=name, status=status)
        )
    return found


def rule_row(
    platform: bytes, reference: str, version: int = 1, legs: tuple[Leg, ...] = SIMPLE, **columns: Any
) -> tables.RuleVersion:
    """A rule version, in force unless `columns` say otherwise."""
    values: dict[str, Any] = {
        "effective_from": 0,
        "content_hash": sha256(f"{reference} {version}".encode()).digest(),
        "proposed": True,
        "approved": True,
    }
    return tables.RuleVersion(
        platform_id=platform,
        rule_id=rule_id(platform, reference),
        version=version,
        reference=reference,
        legs=payloads.legs_to_json(legs),
        **values | columns,
    )


def schedule_row(
    platform: bytes, entries: tuple[Entry, ...], version: int = 1, **columns: Any
) -> tables.RuleVersion:
    """A version of a platform's schedule, in force unless `columns` say otherwise."""
    values: dict[str, Any] = {
        "effective_from": 0,
        "content_hash": schedule_hash(platform, version, 0, entries),
        "proposed": True,
        "approved": True,
    }
    return tables.RuleVersion(
        platform_id=platform,
        rule_id=SCHEDULE,
        version=version,
        reference=tables.SCHEDULE_REFERENCE,
        legs=[],
        entries=payloads.entries_to_json(entries),
        **values | columns,
    )


def _rules() -> list[tables.RuleVersion]:
    return [
        rule_row(MALL, "retail-standard", legs=RETAIL),
        rule_row(
            MALL, "draft", approved=False, content_hash=bytes.fromhex(CONTENT_HASH_EXAMPLE.removeprefix("0x"))
        ),
        rule_row(MALL, "unmirrored", approved=False, proposed=False),
        rule_row(MALL, "future", effective_from=FAR_FUTURE),
        rule_row(MALL, "retired", retired=True),
        rule_row(MALL, "versioned", 1),
        rule_row(MALL, "versioned", 2, effective_from=1),
        rule_row(SHOP, "vending"),
    ]
