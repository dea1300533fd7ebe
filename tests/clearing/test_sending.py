"""Payouts are paid at most once and none is forgotten, whatever gets lost, late or killed on the way."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import select, update

from clearing.bankside import (
    FATES,
    HONEST,
    PAYEES,
    VAULT,
    Fate,
    order,
    payout_file,
)
from clearing.sending import RESEND_AFTER_S, System
from fenzhang.clearing import payments
from fenzhang.clearing.errors import DuplicatePayout
from fenzhang.clearing.formats import CSV, ISO20022, Format
from fenzhang.clearing.model import PayoutState
from fenzhang.clearing.sender import PayoutSender
from fenzhang.clearing.states import OPEN, Arrival, after, arrival
from fenzhang.sandboxbank.faults import Faults
from fenzhang.store.banktables import BankFile, BankFileState, BankPayment, BankPaymentState

State = BankPaymentState


class PayoutsUnderFire(RuleBasedStateMachine):
    """Random payouts, losses, deaths, late deliveries, statements. What the bank did is in its own books."""

    template: Path

    @initialize(bank_format=st.sampled_from((ISO20022, CSV)))
    def start(self, bank_format: Format) -> None:
        """A fresh database and a fresh bank."""
        self.folder = Path(tempfile.mkdtemp(prefix="fenzhang-payouts-"))
        shutil.copy(self.template, self.folder / "fenzhang.db")
        self.runner = asyncio.Runner()
        self.system = System(f"sqlite:///{self.folder / 'fenzhang.db'}", self.folder, bank_format)
        self.prepared = 0

    @rule(payees=st.lists(st.sampled_from(PAYEES), min_size=1, max_size=3), amount=st.integers(1, 10**9))
    def prepare(self, payees: list[Any], amount: int) -> None:
        """Store a file of payouts."""
        self.prepared += 1
        payouts = [order(f"E{self.prepared}-{place}", amount, payee) for place, payee in enumerate(payees)]
        self.runner.run(self.system.prepare(f"M{self.prepared}", *payouts))

    @rule(fates=st.lists(st.sampled_from(FATES), max_size=3))
    def tick(self, fates: list[Fate]) -> None:
        """A round of the sender, with what becomes of the files that it sends."""
        self.system.network.fates.clear()
        self.system.network.fates.extend(fates)
        self.runner.run(self.system.tick())

    @rule()
    def deliver_late(self) -> None:
        """What was held up arrives."""
        self.runner.run(self.system.network.deliver_late())

    @rule(seconds=st.integers(1, 2 * RESEND_AFTER_S))
    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.system.now += seconds

    @rule(
        lose_files=st.integers(0, 1),
        lose_answers=st.integers(0, 1),
        take_after_s=st.sampled_from((0, 30, 3 * RESEND_AFTER_S)),
        pay_after_s=st.sampled_from((0, 50)),
        shown=st.fixed_dictionaries(
            {},
            optional=dict.fromkeys(
                ("duplicate_lines", "split_lines", "merge_lines", "drop_references"), st.just(value=True)
            ),
        ),
    )
    def trouble(self, shown: dict[str, bool], **numbers: float) -> None:
        """The bank begins, or ceases, to misbehave."""
        self.system.sandbox.books.set_faults(Faults.model_validate(numbers | shown))

    @rule()
    def read_statements(self) -> None:
        """All of them, as far as they go."""
        self.runner.run(self.system.read_statements())

    @invariant()
    def nothing_is_paid_twice(self) -> None:
        """By the bank's own books."""
        if hasattr(self, "system"):
            books = self.system.sandbox.books
            assert all(times == 1 for times in books.times_paid().values())
            assert not any(books.totals().values())
            assert self.system.network.sent_needlessly == 0

    @invariant()
    def nothing_is_said_to_be_what_it_is_not(self) -> None:
        """Of payouts that are decided."""
        if not hasattr(self, "system"):
            return
        states = self.runner.run(self.system.states())
        at_bank = self.system.sandbox.books.statuses(list(states))
        for each, state in states.items():
            assert state is not State.DISPUTED
            if state is State.PAID:  # what was returned since, a statement or an answer will say
                assert self.system.sandbox.books.times_paid().get(each) == 1
            if state in {State.FAILED, State.RETURNED}:
                assert at_bank[each].state is PayoutState.FAILED

    def teardown(self) -> None:
        """Whatever happened, it comes to an end."""
        if not hasattr(self, "system"):
            return
        try:
            self.runner.run(self._everything_ends())
        finally:
            self.runner.run(self.system.close())
            self.runner.close()
            shutil.rmtree(self.folder)

    async def _everything_ends(self) -> None:
        """Trouble is over: every payout comes to the end that it has in the bank's books."""
        system = self.system
        system.network.fates.clear()
        system.sandbox.books.set_faults(Faults())
        for _ in range(4):
            system.now += 4 * RESEND_AFTER_S
            await system.tick()
            await system.network.deliver_late()
        assert await system.read_statements() == {}
        self.nothing_is_paid_twice()
        states = await system.states()
        at_bank = system.sandbox.books.statuses(list(states))
        assert len(states) == len(at_bank)
        for each, state in states.items():
            if state is State.PAID:
                assert at_bank[each].state is PayoutState.PAID
            else:
                assert state in {State.FAILED, State.RETURNED}
                assert at_bank[each].state is PayoutState.FAILED
        assert set(system.sandbox.books.times_paid()) <= set(states)


def test_payouts_under_fire(migrated_sqlite: Path) -> None:
    class Machine(PayoutsUnderFire):
        template = migrated_sqlite

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=50,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )


@pytest.fixture
async def system(database_url: str, tmp_path: Path) -> Any:
    made = System(database_url, tmp_path)
    yield made
    await made.close()


async def test_payouts_end_as_the_bank_decides(system: System) -> None:
    await system.prepare("M1", *(order(f"E{place}", 100, payee) for place, payee in enumerate(PAYEES)))

    await system.tick()

    assert await system.states() == {
        "E0": State.PAID,
        "E1": State.FAILED,
        "E2": State.FAILED,
        "E3": State.FAILED,
        "E4": State.FAILED,
    }
    assert await system.file_states() == {"M1": BankFileState.ACCEPTED}


async def test_a_payout_that_came_back_is_returned_and_a_statement_may_be_the_first_to_say_so(
    system: System,
) -> None:
    system.sandbox.books.set_faults(Faults(lose_answers=1))
    await system.prepare("M1", order("E1", 100, PAYEES[2]))
    await system.tick()
    assert await system.states() == {"E1": State.UNKNOWN}

    assert await system.read_statements() == {}
    assert await system.states() == {"E1": State.RETURNED}
    await system.tick()
    assert await system.file_states() == {"M1": BankFileState.ACCEPTED}
    assert await system.states() == {"E1": State.RETURNED}


@pytest.mark.parametrize("fate", ["lost", "answer lost", "late", "dies before", "dies after"])
async def test_what_is_unknown_is_asked_and_not_sent_again(system: System, fate: Fate) -> None:
    await system.prepare("M1", order("E1"))
    system.network.fates.append(fate)
    await system.tick()
    assert await system.states() == {"E1": State.UNKNOWN}

    system.now += RESEND_AFTER_S - 1
    await system.tick()
    assert system.network.sent == 1

    await system.network.deliver_late()
    system.now += 1
    await system.tick()
    assert system.network.sent == (2 if fate in {"lost", "dies before"} else 1)
    assert await system.states() == {"E1": State.PAID}
    assert system.sandbox.books.times_paid() == {"E1": 1}


async def test_a_copy_that_arrives_after_the_second_attempt_pays_nothing(system: System) -> None:
    await system.prepare("M1", order("E1"))
    system.network.fates.append("late")
    await system.tick()
    system.now += RESEND_AFTER_S
    await system.tick()

    await system.network.deliver_late()

    assert system.network.sent == 2
    assert system.sandbox.books.times_paid() == {"E1": 1}


async def test_a_refused_file_fails_its_payouts_only_when_the_bank_knows_none(system: System) -> None:
    system.sandbox.books.open_account(payout_file("X", order("X")).debtor, "CNY", customer="")
    await system.prepare("M1", order("E1"))
    await system.tick()
    assert await system.file_states() == {"M1": BankFileState.UNKNOWN}

    system.now += RESEND_AFTER_S
    await system.tick()

    assert system.network.sent == 1
    assert await system.file_states() == {"M1": BankFileState.REFUSED}
    assert await system.states() == {"E1": State.FAILED}


@pytest.mark.parametrize("take_after_s", [0, 10, 2 * RESEND_AFTER_S])
async def test_a_refusal_of_what_the_bank_has_is_no_refusal(system: System, take_after_s: int) -> None:
    system.sandbox.books.set_faults(Faults(take_after_s=take_after_s))
    await system.prepare("M1", order("E1"))
    system.network.fates.append("doubled")

    for _ in range(4):
        await system.tick()
        system.now += RESEND_AFTER_S

    assert await system.states() == {"E1": State.PAID}
    assert await system.file_states() == {"M1": BankFileState.ACCEPTED}


async def test_an_old_copy_of_the_database_sends_nothing_again(system: System) -> None:
    await system.prepare("M1", order("E1"))
    await system.tick()
    async with system.database.write() as session:
        await session.execute(update(BankFile).values(state="PREPARED", attempts=0, attempted_at=None))
        await session.execute(update(BankPayment).values(state="PREPARED"))

    await system.tick()

    assert system.network.sent == 1
    assert await system.states() == {"E1": State.PAID}
    assert await system.file_states() == {"M1": BankFileState.ACCEPTED}


async def test_no_id_is_prepared_twice(system: System) -> None:
    await system.prepare("M1", order("E1"))

    for message_id, end_to_end_id in (("M2", "E1"), ("M1", "E2")):
        with pytest.raises(DuplicatePayout):
            await system.prepare(message_id, order(end_to_end_id))


async def test_two_senders_make_one_attempt(system: System) -> None:
    await system.prepare("M1", order("E1"))
    other = PayoutSender(system.database, VAULT, system.bank, lambda: system.now)

    await asyncio.gather(system.sender.tick(), other.tick())

    assert system.network.sent == 1


async def test_the_stored_file_cannot_be_read_without_the_key(system: System) -> None:
    await system.prepare("M1", order("E1"))

    async with system.database.read() as session:
        [content] = (await session.execute(select(BankFile.content))).scalars()
    assert HONEST.account.number.encode() not in content
    assert HONEST.holder.encode() not in content


def _paths() -> Iterator[tuple[State, PayoutState]]:
    for state in State:
        for said in PayoutState:
            yield state, said


def test_nothing_that_is_known_becomes_unknown_again() -> None:
    for state, said in _paths():
        following = after(state, said)
        assert following is state or following not in {State.PREPARED, State.UNKNOWN}
        if state not in OPEN:
            assert following not in OPEN
    assert after(State.FAILED, PayoutState.PAID) is State.DISPUTED
    assert after(State.PAID, PayoutState.FAILED) is State.RETURNED


def test_a_file_is_not_there_only_when_the_bank_says_so_of_all_its_payouts() -> None:
    assert arrival([PayoutState.NOT_KNOWN] * 2, 2) is Arrival.NOT_THERE
    assert arrival([PayoutState.NOT_KNOWN], 2) is Arrival.NOT_SAID
    for known in (PayoutState.PENDING, PayoutState.PAID, PayoutState.FAILED):
        assert arrival([PayoutState.NOT_KNOWN, known], 2) is Arrival.THERE


async def test_a_payout_of_a_future_day_is_pending_until_then(system: System) -> None:
    file = payout_file("M1", order("E1"), at=system.now + 86_400)
    async with system.database.write() as session:
        await payments.prepare(session, VAULT, "sandbox", ISO20022, file, now=int(system.now))
    await system.tick()
    assert await system.states() == {"E1": State.SENT}

    system.now = datetime(2026, 11, 23, tzinfo=UTC).timestamp()
    await system.tick()
    assert await system.states() == {"E1": State.PAID}


async def test_a_statement_that_cannot_be_read_holds_up_no_other(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    await system.prepare("M1", order("E1"))
    system.network.fates.append("answer lost")
    await system.tick()
    given = system.bank.documents

    async def documents(since: date) -> list[bytes]:
        return [b"<Document/>", *await given(since)]

    monkeypatch.setattr(system.bank, "documents", documents)

    assert list((await system.read_statements()).values()) == ["DOCUMENT_UNREADABLE"]
    assert await system.states() == {"E1": State.PAID}
