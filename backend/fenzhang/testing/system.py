"""A running system as a test sees it."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from fenzhang.chain.signer import LocalKey
from fenzhang.client import (
    AsyncClient,
    Client,
    Credentials,
    InstructionType,
    NewRule,
    PlatformKey,
    RetryPolicy,
)
from fenzhang.domain.rules import Leg
from fenzhang.local.supervisor import Endpoints
from fenzhang.replay.credentials import Apps


@dataclass(frozen=True, slots=True)
class LocalSystem:
    """Where it is, and clients for everybody that a test wants to be."""

    endpoints: Endpoints

    @property
    def api(self) -> str:
        """URL of the API."""
        return self.endpoints.api

    @property
    def rpc(self) -> str:
        """URL of the node."""
        return self.endpoints.rpc

    def operator(self) -> Client:
        """A client that enrols platforms and creates apps."""
        return Client(self.api, Apps.load(self.endpoints.apps).operator)

    def approver(self) -> Client:
        """A client that approves rules."""
        return Client(self.api, Apps.load(self.endpoints.apps).approver)

    def new_app(self, platform: str, key: LocalKey | None = None) -> Credentials:
        """Enrol a platform if it is new, wait for it, and create an app for it.

        With `key` the platform signs for itself, else a key is made for it in the backend's keystore.
        """
        with self.operator() as operator:
            operator.enrol_platform(platform, None if key is None else "0x" + key.address.hex())
            operator.wait_for(InstructionType.ENROLL, platform)
            app = operator.create_app(f"test-{secrets.token_hex(8)}", ["platform"], platform)
        return Credentials(app.client_id, app.client_secret)

    def platform(
        self, platform: str, key: LocalKey | None = None, policy: RetryPolicy | None = None
    ) -> Client:
        """A client of a platform, as `new_app` makes it."""
        return Client(self.api, self.new_app(platform, key), key=self._key(platform, key), policy=policy)

    def async_platform(
        self, platform: str, key: LocalKey | None = None, policy: RetryPolicy | None = None
    ) -> AsyncClient:
        """The same for asyncio."""
        return AsyncClient(self.api, self.new_app(platform, key), key=self._key(platform, key), policy=policy)

    @staticmethod
    def _key(platform: str, key: LocalKey | None) -> PlatformKey | None:
        return None if key is None else PlatformKey(key=key, platform=platform)

    def put_rule_in_force(self, client: Client, platform: str, rule: str, legs: Sequence[Leg]) -> int:
        """Propose the next version of a rule, approve it, and wait. Returns its number."""
        mark = secrets.token_hex(8)
        known = [view.latest for view in (client.find_rule(rule),) if view is not None]
        version = max(known, default=0) + 1
        client.propose_rule(
            NewRule(
                out_request_no=f"propose-{mark}",
                out_rule_no=rule,
                legs=legs,
                version=version,
                effective_from=0,
            )
        )
        client.wait_for(InstructionType.PROPOSE, f"propose-{mark}")
        [proposed] = [found for found in client.get_rule(rule).versions if found.version == version]
        with self.approver() as approver:
            approver.approve_rule(f"approve-{mark}", platform, proposed)
        client.wait_for(InstructionType.APPROVE, f"approve-{mark}")
        return version

    def enrol(self, client: Client, names: Sequence[str]) -> None:
        """Enrol participants of a platform, and wait until they can be bound."""
        for name in names:
            client.enrol_participant(name)
        for name in names:
            client.wait_for(InstructionType.ENROLL, name)
