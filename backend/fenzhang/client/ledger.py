"""What the clearing ledger says: positions, statements and the trial balance, now and at past moments."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from fenzhang.client.flow import Flow
from fenzhang.client.levels import Levels
from fenzhang.client.reading import reader
from fenzhang.client.session import Call, Session

T = TypeVar("T")
Query = dict[str, str | int]
_PAGE = 1_000


class Side(StrEnum):
    """Of an account, on which a posting stands."""

    DEBIT = "DEBIT"
    CREDIT = "CREDIT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """What is payable to a participant. Negative is what it owes, and `debt` says so; else it is 0."""

    out_participant_no: str
    participant_id: str
    currency: str
    amount: int
    debt: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionPage:
    """A page of positions; `next` is the cursor of the next one, None on the last."""

    positions: tuple[Position, ...]
    next: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Debt:
    """What a participant owes. `out_participant_no` is the platform's own; operators and auditors see ids alone."""

    participant_id: str
    currency: str
    debt: int
    out_participant_no: str | None = None
    platform_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DebtTotal:
    """All debts of a currency."""

    currency: str
    participants: int
    debt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DebtPage:
    """A page of debts, and the totals of all pages; `next` is the cursor of the next one, None on the last."""

    debts: tuple[Debt, ...]
    totals: tuple[DebtTotal, ...]
    next: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSums:
    """An account of the clearing ledger and the sums of everything posted to it."""

    kind: str
    currency: str
    debit: int
    credit: int
    participant_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrencySums:
    """Both columns of a currency; they are equal."""

    currency: str
    debit: int
    credit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KindSums:
    """All accounts of a kind in a currency; `balance` is what they hold together."""

    kind: str
    currency: str
    accounts: int
    debit: int
    credit: int
    balance: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialBalance:
    """Every account of the clearing ledger, at the end of block `block_number`."""

    accounts: tuple[AccountSums, ...]
    kinds: tuple[KindSums, ...]
    totals: tuple[CurrencySums, ...]
    block_number: int
    block_time: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalAnchor:
    """The head of the journal at the end of block `at_block`, as the cycle that was closed last anchored it on chain.

    `agrees` says whether link `link` of the journal, which stands there, is the one that was anchored.
    """

    cycle_id: str
    currency: str
    scheme: str
    number: int
    at_block: int
    journal_head: str
    link: int
    agrees: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalHead:
    """The newest link of the journal's hash chain, which vouches for every posting up to `last_posting`."""

    link: int
    hash: str
    last_posting: int
    block_number: int
    anchor: JournalAnchor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementLine:
    """A posting as the account sees it, minor units; `balance` is what the account held after it.

    Orders and instructions of other platforms have neither ids nor references here. What became of a payout has its
    id, its cycle's, and the bank's `reason` if it failed or came back. `reversed_by` and `reverses` name
    the other posting where a reorganisation of the chain took one back; `time` is then None.
    """

    posting: int
    side: Side
    amount: int
    balance: int
    counter_account: str
    counter_participant_id: str | None = None
    kind: str
    record: int
    block_number: int
    time: int | None = None
    batch: int
    tx_hash: str
    order_id: str | None = None
    instruction_id: str | None = None
    reverses: int | None = None
    reversed_by: int | None = None
    cycle_id: str | None = None
    payout_id: str | None = None
    reason: str | None = None
    out_order_no: str | None = None
    out_split_no: str | None = None
    out_release_no: str | None = None
    out_return_no: str | None = None
    out_refund_no: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementView:
    """An account over the blocks `from_block` to `to_block`, both included, minor units.

    `opening` and `closing` are what it held before and after, `debit` and `credit` the sums of what was posted.
    """

    account: str
    currency: str
    participant_id: str | None = None
    out_participant_no: str | None = None
    from_block: int
    to_block: int
    opening: int
    debit: int
    credit: int
    closing: int
    lines: tuple[StatementLine, ...]
    next: str | None = None


class LedgerOperations:
    """The part of the API that is about the ledger, as flows over one session.

    `at_block` (a mirrored block) or `at` (Unix seconds) ask for what was at the end of that block, or of the last one
    by that time. Raises NotFound for a block that is not mirrored yet.
    """

    _session: Session

    def get_trial_balance(
        self, *, at_block: int | None = None, at: int | None = None, at_cycle: str | None = None
    ) -> Flow[TrialBalance]:
        """Every account of the clearing ledger; for operators and auditors.

        `at_cycle`, such as CNY/standard/1, asks for what was at the end of the last block of a closed cycle.
        """
        query = _given(at_block=at_block, at=at, at_cycle=at_cycle)
        return (yield from self._ask("/v1/trial-balance", TrialBalance, query))

    def get_journal_head(self) -> Flow[JournalHead]:
        """The newest link of the journal's hash chain; for operators and auditors."""
        return (yield from self._ask("/v1/journal/head", JournalHead, {}))

    def list_positions(self, *, at_block: int | None = None, at: int | None = None) -> Flow[list[Position]]:
        """What is payable to the platform's participants, itself included, by currency."""
        found: list[Position] = []
        after: str | None = ""
        while after is not None:
            query = {"limit": _PAGE, **_given(after=after or None, at_block=at_block, at=at)}
            page = yield from self._ask("/v1/positions", PositionPage, query)
            found += page.positions
            after = page.next
        return found

    def get_positions(
        self, participant: str, *, at_block: int | None = None, at: int | None = None
    ) -> Flow[tuple[Position, ...]]:
        """What is payable to a participant by currency, and what it owes."""
        query = _given(at_block=at_block, at=at)
        return (yield from self._ask(f"/v1/positions/{participant}", PositionPage, query)).positions

    def debt_page(
        self,
        *,
        after: str | None = None,
        limit: int = _PAGE,
        at_block: int | None = None,
        at: int | None = None,
    ) -> Flow[DebtPage]:
        """Who owes: of the platform's participants, or of all for operators and auditors."""
        query = {"limit": limit, **_given(after=after, at_block=at_block, at=at)}
        return (yield from self._ask("/v1/debts", DebtPage, query))

    def get_levels(
        self,
        *,
        below: str | None = None,
        after: str | None = None,
        at_block: int | None = None,
        at: int | None = None,
    ) -> Flow[Levels]:
        """Sums per level of the platform's tree, and a page of those directly below a participant, or at the top."""
        query = {"limit": _PAGE, **_given(below=below, after=after, at_block=at_block, at=at)}
        return (yield from self._ask("/v1/levels", Levels, query))

    def statement_page(
        self,
        participant: str,
        currency: str,
        *,
        from_block: int | None = None,
        to_block: int | None = None,
        begin: int | None = None,
        end: int | None = None,
        after: str | None = None,
        limit: int = _PAGE,
    ) -> Flow[StatementView]:
        """A page of the statement of what is payable to a participant.

        Over the blocks `from_block` to `to_block`, or those from the time `begin` to before `end` (Unix seconds).
        `after` is `next` of the page before, and knows the blocks. The totals are those of all pages on each.
        """
        given = _given(from_block=from_block, to_block=to_block, to=end, after=after)
        query = {"currency": currency, "limit": limit, **given, **({} if begin is None else {"from": begin})}
        return (yield from self._ask(f"/v1/statements/{participant}", StatementView, query))

    def _ask(self, path: str, kind: type[T], query: Query) -> Flow[T]:
        call = Call(method="GET", path=path, read=reader(kind), query=query)
        return (yield from self._session.perform(call))


def _given(**values: Any) -> Query:
    return {name: value for name, value in values.items() if value is not None}
