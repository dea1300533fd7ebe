"""The two clients: the same methods, once awaited and once not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import httpx

from fenzhang.chain.tls import tls
from fenzhang.client.flow import Flow, Outcome, Pause, Send
from fenzhang.client.operations import Operations
from fenzhang.client.session import Credentials, RetryPolicy, Session
from fenzhang.client.signing import PlatformKey

P = ParamSpec("P")
T = TypeVar("T")
_LIMITS = httpx.Limits(max_connections=64, max_keepalive_connections=32)


def _awaited(
    operation: Callable[Concatenate[Operations, P], Flow[T]],
) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]]:
    @wraps(operation)
    async def method(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.run(operation(self.operations, *args, **kwargs))

    return method


def _blocking(
    operation: Callable[Concatenate[Operations, P], Flow[T]],
) -> Callable[Concatenate[Client, P], T]:
    @wraps(operation)
    def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.run(operation(self.operations, *args, **kwargs))

    return method


class AsyncClient:
    """The API for asyncio. An async context manager; one client may be used by many tasks.

    Args:
        base_url: where the API is.
        credentials: the app's; without them only what is public can be asked.
        key: the platform's own signing key. Without it the keystore's key signs.
        policy: how long to go on when the API does not answer.
        transport: another transport of httpx, for tests.
    """

    def __init__(
        self,
        base_url: str,
        credentials: Credentials | None = None,
        *,
        key: PlatformKey | None = None,
        policy: RetryPolicy | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.operations = Operations(Session(base_url, credentials, policy or RetryPolicy()), key)
        self._http = httpx.AsyncClient(transport=transport, limits=_LIMITS, verify=tls())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def run(self, flow: Flow[T]) -> T:
        """Carry out a flow."""
        outcome: Outcome = None
        while True:
            try:
                wish = flow.send(outcome)
            except StopIteration as end:
                result: T = end.value
                return result
            outcome = await self._grant(wish)

    async def _grant(self, wish: Send | Pause) -> Outcome:
        if isinstance(wish, Pause):
            await asyncio.sleep(wish.seconds)
            return None
        try:
            return await self._http.send(wish.request)
        except httpx.TransportError as error:
            return error

    create_app = _awaited(Operations.create_app)
    enrol_platform = _awaited(Operations.enrol_platform)
    get_platform = _awaited(Operations.get_platform)
    suspend_platform = _awaited(Operations.suspend_platform)
    resume_platform = _awaited(Operations.resume_platform)
    get_levels = _awaited(Operations.get_levels)
    get_trial_balance = _awaited(Operations.get_trial_balance)
    get_journal_head = _awaited(Operations.get_journal_head)
    enrol_participant = _awaited(Operations.enrol_participant)
    get_participant = _awaited(Operations.get_participant)
    list_participants = _awaited(Operations.list_participants)
    suspend_participant = _awaited(Operations.suspend_participant)
    place_participant = _awaited(Operations.place_participant)
    resume_participant = _awaited(Operations.resume_participant)
    propose_rule = _awaited(Operations.propose_rule)
    veto_rule = _awaited(Operations.veto_rule)
    change_consent = _awaited(Operations.change_consent)
    close_participant = _awaited(Operations.close_participant)
    cap_platform = _awaited(Operations.cap_platform)
    approve_rule = _awaited(Operations.approve_rule)
    retire_rule = _awaited(Operations.retire_rule)
    get_rule = _awaited(Operations.get_rule)
    find_rule = _awaited(Operations.find_rule)
    quote = _awaited(Operations.quote)
    diff_rule = _awaited(Operations.diff_rule)
    what_if = _awaited(Operations.what_if)
    propose_schedule = _awaited(Operations.propose_schedule)
    approve_schedule = _awaited(Operations.approve_schedule)
    veto_schedule = _awaited(Operations.veto_schedule)
    retire_schedule = _awaited(Operations.retire_schedule)
    get_schedule = _awaited(Operations.get_schedule)
    select_rule = _awaited(Operations.select_rule)
    create_order = _awaited(Operations.create_order)
    get_order = _awaited(Operations.get_order)
    split = _awaited(Operations.split)
    release = _awaited(Operations.release)
    return_ = _awaited(Operations.return_)
    refund = _awaited(Operations.refund)
    submit = _awaited(Operations.submit)
    get_instruction = _awaited(Operations.get_instruction)
    wait_for = _awaited(Operations.wait_for)
    completions = _awaited(Operations.completions)
    wait_all = _awaited(Operations.wait_all)
    upload_file = _awaited(Operations.upload_file)
    get_file = _awaited(Operations.get_file)
    wait_for_file = _awaited(Operations.wait_for_file)
    get_rejections = _awaited(Operations.get_rejections)
    list_files = _awaited(Operations.list_files)
    open_condition = _awaited(Operations.open_condition)
    get_condition = _awaited(Operations.get_condition)
    list_conditions = _awaited(Operations.list_conditions)
    confirm_condition = _awaited(Operations.confirm_condition)
    freeze = _awaited(Operations.freeze)
    unfreeze = _awaited(Operations.unfreeze)
    get_freeze = _awaited(Operations.get_freeze)
    get_unfreeze = _awaited(Operations.get_unfreeze)
    list_freezes = _awaited(Operations.list_freezes)
    list_suspense = _awaited(Operations.list_suspense)
    resolve_suspense = _awaited(Operations.resolve_suspense)
    name_heir = _awaited(Operations.name_heir)
    put_bank_account = _awaited(Operations.put_bank_account)
    get_bank_account = _awaited(Operations.get_bank_account)
    list_cycles = _awaited(Operations.list_cycles)
    get_cycle = _awaited(Operations.get_cycle)
    list_cycle_payouts = _awaited(Operations.list_cycle_payouts)
    get_cycle_payout = _awaited(Operations.get_cycle_payout)
    list_payouts = _awaited(Operations.list_payouts)
    list_positions = _awaited(Operations.list_positions)
    get_positions = _awaited(Operations.get_positions)
    debt_page = _awaited(Operations.debt_page)
    statement_page = _awaited(Operations.statement_page)
    get_bill = _awaited(Operations.get_bill)
    get_network = _awaited(Operations.get_network)
    is_ready = _awaited(Operations.is_ready)


class Client:
    """The API without asyncio. A context manager; arguments as for `AsyncClient`."""

    def __init__(
        self,
        base_url: str,
        credentials: Credentials | None = None,
        *,
        key: PlatformKey | None = None,
        policy: RetryPolicy | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.operations = Operations(Session(base_url, credentials, policy or RetryPolicy()), key)
        self._http = httpx.Client(transport=transport, limits=_LIMITS, verify=tls())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def run(self, flow: Flow[T]) -> T:
        """Carry out a flow."""
        outcome: Outcome = None
        while True:
            try:
                wish = flow.send(outcome)
            except StopIteration as end:
                result: T = end.value
                return result
            outcome = self._grant(wish)

    def _grant(self, wish: Send | Pause) -> Outcome:
        if isinstance(wish, Pause):
            time.sleep(wish.seconds)
            return None
        try:
            return self._http.send(wish.request)
        except httpx.TransportError as error:
            return error

    create_app = _blocking(Operations.create_app)
    enrol_platform = _blocking(Operations.enrol_platform)
    get_platform = _blocking(Operations.get_platform)
    suspend_platform = _blocking(Operations.suspend_platform)
    resume_platform = _blocking(Operations.resume_platform)
    get_levels = _blocking(Operations.get_levels)
    get_trial_balance = _blocking(Operations.get_trial_balance)
    get_journal_head = _blocking(Operations.get_journal_head)
    enrol_participant = _blocking(Operations.enrol_participant)
    get_participant = _blocking(Operations.get_participant)
    list_participants = _blocking(Operations.list_participants)
    suspend_participant = _blocking(Operations.suspend_participant)
    place_participant = _blocking(Operations.place_participant)
    resume_participant = _blocking(Operations.resume_participant)
    propose_rule = _blocking(Operations.propose_rule)
    veto_rule = _blocking(Operations.veto_rule)
    change_consent = _blocking(Operations.change_consent)
    close_participant = _blocking(Operations.close_participant)
    cap_platform = _blocking(Operations.cap_platform)
    approve_rule = _blocking(Operations.approve_rule)
    retire_rule = _blocking(Operations.retire_rule)
    get_rule = _blocking(Operations.get_rule)
    find_rule = _blocking(Operations.find_rule)
    quote = _blocking(Operations.quote)
    diff_rule = _blocking(Operations.diff_rule)
    what_if = _blocking(Operations.what_if)
    propose_schedule = _blocking(Operations.propose_schedule)
    approve_schedule = _blocking(Operations.approve_schedule)
    veto_schedule = _blocking(Operations.veto_schedule)
    retire_schedule = _blocking(Operations.retire_schedule)
    get_schedule = _blocking(Operations.get_schedule)
    select_rule = _blocking(Operations.select_rule)
    create_order = _blocking(Operations.create_order)
    get_order = _blocking(Operations.get_order)
    split = _blocking(Operations.split)
    release = _blocking(Operations.release)
    return_ = _blocking(Operations.return_)
    refund = _blocking(Operations.refund)
    submit = _blocking(Operations.submit)
    get_instruction = _blocking(Operations.get_instruction)
    wait_for = _blocking(Operations.wait_for)
    completions = _blocking(Operations.completions)
    wait_all = _blocking(Operations.wait_all)
    upload_file = _blocking(Operations.upload_file)
    get_file = _blocking(Operations.get_file)
    wait_for_file = _blocking(Operations.wait_for_file)
    get_rejections = _blocking(Operations.get_rejections)
    list_files = _blocking(Operations.list_files)
    open_condition = _blocking(Operations.open_condition)
    get_condition = _blocking(Operations.get_condition)
    list_conditions = _blocking(Operations.list_conditions)
    confirm_condition = _blocking(Operations.confirm_condition)
    freeze = _blocking(Operations.freeze)
    unfreeze = _blocking(Operations.unfreeze)
    get_freeze = _blocking(Operations.get_freeze)
    get_unfreeze = _blocking(Operations.get_unfreeze)
    list_freezes = _blocking(Operations.list_freezes)
    list_suspense = _blocking(Operations.list_suspense)
    resolve_suspense = _blocking(Operations.resolve_suspense)
    name_heir = _blocking(Operations.name_heir)
    put_bank_account = _blocking(Operations.put_bank_account)
    get_bank_account = _blocking(Operations.get_bank_account)
    list_cycles = _blocking(Operations.list_cycles)
    get_cycle = _blocking(Operations.get_cycle)
    list_cycle_payouts = _blocking(Operations.list_cycle_payouts)
    get_cycle_payout = _blocking(Operations.get_cycle_payout)
    list_payouts = _blocking(Operations.list_payouts)
    list_positions = _blocking(Operations.list_positions)
    get_positions = _blocking(Operations.get_positions)
    debt_page = _blocking(Operations.debt_page)
    statement_page = _blocking(Operations.statement_page)
    get_bill = _blocking(Operations.get_bill)
    get_network = _blocking(Operations.get_network)
    is_ready = _blocking(Operations.is_ready)
