"""What the closer goes by: which cycle is ready, and how much a transaction carries."""

from __future__ import annotations

from datetime import date, datetime, time
from math import ceil, log2
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fenzhang.chain.clearing import report_call, take_call
from fenzhang.clearing.cycles.choosing import newest_ready
from fenzhang.clearing.cycles.config import ClosingConfig
from fenzhang.clearing.holidays import days_of
from fenzhang.domain.calendar import FIRST_MOMENT, BusinessDays, SettlementCalendar, Terms, first_moment
from fenzhang.domain.clearing import Outcome, OutcomeKind, Payout

NEW_YORK = ZoneInfo("America/New_York")
DAYS = BusinessDays(days_of("US"), {}, {date(2027, 3, 14): "clocks are put forward"})
MARCH = 1_804_500_000


@given(
    st.sampled_from([(9_000,), (39_600, 86_400), ()]),
    st.integers(0, 3),
    st.integers(MARCH, MARCH + 20 * 86_400),
)
def test_the_newest_ready_cycle_is_the_last_that_closed_and_is_due(
    cut_offs: tuple[int, ...], lag: int, now: int
) -> None:
    calendar = SettlementCalendar(DAYS, Terms(NEW_YORK, cut_offs, None if cut_offs else 3_600, lag))

    def is_ready(closes: int, due: date) -> bool:
        begun = first_moment(datetime.combine(due, time.min), NEW_YORK) <= now
        return closes <= now and (lag == 0 or begun)

    cycles = list(calendar.cycles(now - 30 * 86_400, now + 1))
    expected = [each for each in cycles if is_ready(each.closes, each.due)]
    assert newest_ready(calendar, now) == expected[-1]


def test_before_the_first_day_of_calendars_nothing_is_ready() -> None:
    calendar = SettlementCalendar(BusinessDays(), Terms(NEW_YORK))
    assert newest_ready(calendar, FIRST_MOMENT - 1) is None
    assert newest_ready(calendar, FIRST_MOMENT + 100) is None


@pytest.mark.parametrize("payouts", [1, 2, 3, 200, 201, 5_000, 1_000_000])
@pytest.mark.parametrize("most", [10_000, 120_000])
def test_a_transaction_is_as_large_as_it_may_be(payouts: int, most: int) -> None:
    config = ClosingConfig(max_calldata_bytes=most)
    count = config.chunk(payouts)
    path = (b"p" * 32,) * ceil(log2(payouts))
    taken = [Payout(index, b"o" * 32, 2**95) for index in range(count)]
    outcomes = [Outcome(b"i" * 32, OutcomeKind.RETURNED, "AC04")] * count
    take = take_call(b"c" * 32, taken, [path] * count)
    report = report_call(b"c" * 32, outcomes, taken, [path] * count, b"b" * 20, b"s" * 65)
    assert len(take) < len(report) <= most
    assert count == 200 or len(report) > most - 2_500
