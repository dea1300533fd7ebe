"""Postings of payouts: money leaves the bank's account when the bank paid, and comes back when it comes back."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from fenzhang.domain.allocation import Allocation
from fenzhang.domain.records import RecordKind
from fenzhang.ledger.chart import AccountKey, custody, in_transit, order_held, payable
from fenzhang.ledger.posting import Draft, draft

CNY = "CNY"
SHOP, RIDER = bytes([1]) * 32, bytes([2]) * 32
_LIVES = (
    (),
    (RecordKind.PAYOUT,),
    (RecordKind.PAYOUT, RecordKind.PAYOUT_PAID),
    (RecordKind.PAYOUT, RecordKind.PAYOUT_FAILED),
    (RecordKind.PAYOUT, RecordKind.PAYOUT_PAID, RecordKind.PAYOUT_RETURNED),
)


def _drafts(kind: RecordKind, amount: int, *recipients: bytes) -> list[Draft]:
    allocations = [Allocation(recipient, amount) for recipient in recipients]
    return draft(kind, currency=CNY, amount=amount, allocations=allocations, record_id=1, block_number=2)


def _held(drafts: list[Draft]) -> Counter[AccountKey]:
    """What each account holds: the asset what was debited to it, liabilities what was credited."""
    found: Counter[AccountKey] = Counter()
    for debit, credit, amount, _, _ in drafts:
        found[debit] += amount if debit == custody(CNY) else -amount
        found[credit] += -amount if credit == custody(CNY) else amount
    return found


def test_each_record_of_a_payout_moves_it_one_step() -> None:
    kinds = [RecordKind.PAYOUT, RecordKind.PAYOUT_PAID, RecordKind.PAYOUT_FAILED, RecordKind.PAYOUT_RETURNED]
    position, transit, bank = payable(CNY, SHOP), in_transit(CNY), custody(CNY)
    assert [_drafts(kind, 70, SHOP) for kind in kinds] == [
        [Draft(position, transit, 70, 1, 2)],
        [Draft(transit, bank, 70, 1, 2)],
        [Draft(transit, position, 70, 1, 2)],
        [Draft(bank, position, 70, 1, 2)],
    ]


def test_a_cycle_and_a_payout_of_nothing_post_nothing() -> None:
    assert _drafts(RecordKind.CYCLE, 70) == []
    assert _drafts(RecordKind.PAYOUT, 0, SHOP) == []


@given(st.lists(st.tuples(st.sampled_from((SHOP, RIDER)), st.sampled_from(_LIVES), st.integers(0, 10**6))))
def test_captured_less_paid_is_what_is_owed(
    payouts: list[tuple[bytes, tuple[RecordKind, ...], int]],
) -> None:
    """Whatever became of payouts: captured = held + positions + in transit + paid."""
    captured = sum(amount for _, _, amount in payouts) + 5
    drafts = _drafts(RecordKind.CAPTURE, captured)
    for participant, life, amount in payouts:
        drafts += _drafts(RecordKind.SPLIT, amount, participant)
        for kind in life:
            drafts += _drafts(kind, amount, participant)
    found = _held(drafts)

    def came_to(*last: RecordKind, owner: bytes | None = None) -> int:
        return sum(
            amount
            for participant, life, amount in payouts
            if life[-1:] in {(kind,) for kind in last} and owner in {None, participant}
        )

    assert found[in_transit(CNY)] == came_to(RecordKind.PAYOUT)
    assert captured - found[custody(CNY)] == came_to(RecordKind.PAYOUT_PAID)
    for owner in (SHOP, RIDER):
        untaken = sum(amount for participant, life, amount in payouts if participant == owner and not life)
        gone_back = came_to(RecordKind.PAYOUT_FAILED, RecordKind.PAYOUT_RETURNED, owner=owner)
        assert found[payable(CNY, owner)] == untaken + gone_back
    owed = sum(
        found[key] for key in (order_held(CNY), in_transit(CNY), payable(CNY, SHOP), payable(CNY, RIDER))
    )
    assert found[custody(CNY)] == owed
