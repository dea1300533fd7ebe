"""What `fenzhang demo` prints."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from fenzhang.commands import replay_text, verify_text
from fenzhang.domain.money import format_amount
from fenzhang.local.businessday import ZONE

if TYPE_CHECKING:
    from fenzhang.commands.demo import DemoOutcome
    from fenzhang.ledger.balances import KindSums
    from fenzhang.ledger.reconcile import Reconciliation
    from fenzhang.local.dayend import DayPlan
    from fenzhang.local.dayreport import DayEnd
    from fenzhang.local.examination import Examination
    from fenzhang.local.supervisor import Endpoints
    from fenzhang.replay.run import ReplayReport
    from fenzhang.replay.scenario import Scenario

_SHOWN_DIFFERENCES = 20
_WIDTH = 120
"""Columns when the output is no terminal."""


def console() -> Console:
    """Where everything is printed."""
    out = Console()
    if not out.is_terminal:
        out.width = _WIDTH
    return out


def print_begin(scenario: Scenario, home: Path) -> None:
    """What is going to happen."""
    writes = sum(1 + len(order.steps) for order in scenario.orders)
    console().print(
        f"{len(scenario.orders):,} orders of {len(scenario.platforms)} platforms, {writes:,} instructions, "
        f"from {scenario.folder}\nstarting a fresh chain, contracts, database, API, submission and mirror in {home}",
        highlight=False,
        soft_wrap=True,
    )


def print_started(endpoints: Endpoints, seconds: float) -> None:
    """Where it runs."""
    console().print(
        f"running after {seconds:.1f} s: API {endpoints.api}, node {endpoints.rpc}", soft_wrap=True
    )


def print_played(played: ReplayReport) -> None:
    """What became of the orders."""
    replay_text.print_report(played, console())


def print_examined(examined: Examination) -> None:
    """Trial balance, reconciliation, verification."""
    out = console()
    out.print(_trial_balance(examined.trial_balance))
    _print_reconciliation(examined.reconciliation, out)
    verify_text.print_report(examined.audit)


def print_day(plan: DayPlan) -> None:
    """How the day goes on."""
    out = console()
    late = f"; {plan.late} is settled a day later" if plan.late else ""
    out.print(
        f"the end of {plan.day.day}: cycles at noon and in the evening (T+0){late}; "
        "a sandbox bank signs, pays and sends statements",
        highlight=False,
        soft_wrap=True,
    )


def print_day_end(ended: DayEnd) -> None:
    """Cycles, what all three sides say, breaks, and bills."""
    out = console()
    out.print(_cycles(ended))
    out.print(
        f"{ended.repaired} accounts that the bank could not pay to at noon were put right; "
        f"payouts that were paid twice: {ended.paid_twice}",
        highlight=False,
    )
    out.print(_sides(ended))
    for each in ended.breaks[:_SHOWN_DIFFERENCES]:
        amount = "" if each.amount is None else f" {format_amount(each.amount, each.currency or '')}"
        note = f": {each.note}" if each.note else ""
        what = f"break {each.number}: {each.kind} {each.currency or ''}{amount}, {each.owner}, {each.state}{note}"
        out.print(what, highlight=False, soft_wrap=True)
    if len(ended.breaks) > _SHOWN_DIFFERENCES:
        out.print(f"and {len(ended.breaks) - _SHOWN_DIFFERENCES:,} more breaks", highlight=False)
    for name, digest in ended.bills.items():
        out.print(f"{name}  SHA-256 {digest}", highlight=False, soft_wrap=True)


def _cycles(ended: DayEnd) -> Table:
    table = Table(title="Cycles, closed on the chain and paid by the bank", title_justify="left")
    for name in ("cycle", "closes"):
        table.add_column(name)
    for name in ("payouts", "total", "paid", "failed", "refused"):
        table.add_column(name, justify="right")
    table.add_column("left out")
    for each in ended.cycles:
        closes = datetime.fromtimestamp(each.closes, ZONE)
        left_out = ", ".join(f"{count} {reason}" for reason, count in sorted(each.left_out.items()))
        decided = (f"{each.states.get(state, 0):,}" for state in ("PAID", "FAILED", "REFUSED"))
        table.add_row(
            f"{each.currency} {each.scheme} {each.number}",
            f"{closes:%m-%d %H:%M}",
            f"{each.payouts:,}",
            format_amount(each.total, each.currency),
            *decided,
            left_out,
        )
    return table


def _sides(ended: DayEnd) -> Table:
    table = Table(title="Three-way reconciliation", title_justify="left")
    for name in ("currency", "orders", "ledger", "chain", "bank"):
        table.add_column(name)
    for currency, found in ended.sides.items():
        told = (found.orders, found.ledger, found.chain, found.bank)
        table.add_row(currency, *(_side(amounts, currency) for amounts in told), end_section=True)
    return table


def _side(amounts: dict[str, int], currency: str) -> str:
    return "\n".join(
        f"{name} {value:,}" if name.startswith("lines") else f"{name} {format_amount(value, currency)}"
        for name, value in amounts.items()
    )


def _trial_balance(rows: list[KindSums]) -> Table:
    table = Table(title="Trial balance of the clearing ledger", title_justify="left")
    for name in ("currency", "accounts"):
        table.add_column(name)
    for name in ("number", "debit", "credit"):
        table.add_column(name, justify="right")
    by_currency: defaultdict[str, list[KindSums]] = defaultdict(list)
    for row in rows:
        by_currency[row.currency].append(row)
    for currency, found in by_currency.items():
        for row in found:
            sums = (format_amount(amount, currency) for amount in (row.debit, row.credit))
            table.add_row(currency, row.kind.value, f"{row.accounts:,}", *sums)
        debit, credit = (sum(getattr(row, side) for row in found) for side in ("debit", "credit"))
        verdict = "equal" if debit == credit else "[red]NOT EQUAL[/]"
        totals = (format_amount(amount, currency) for amount in (debit, credit))
        table.add_row(currency, verdict, "", *totals, style="bold", end_section=True)
    return table


def _print_reconciliation(found: Reconciliation, out: Console) -> None:
    compared = f"{found.orders:,} orders, {found.accounts:,} accounts, {found.batches:,} batches"
    verdict = "no differences" if not found.differences else f"{len(found.differences):,} differences"
    out.print(
        f"reconcile: ledger against chain at block {found.block_number:,}: {compared}: {verdict}",
        highlight=False,
    )
    for difference in found.differences[:_SHOWN_DIFFERENCES]:
        out.print(f"  {difference}", highlight=False, markup=False, soft_wrap=True)


def print_end(outcome: DemoOutcome, home: Path, report: Path | None) -> None:
    """How long it took, what it came to, and where to look next."""
    out = console()
    table = Table("phase", title="Time", title_justify="left")
    table.add_column("seconds", justify="right")
    for name, seconds in outcome.phases.items():
        table.add_row(name, f"{seconds:.1f}", style="bold" if name == "total" else None)
    out.print(table)
    out.print("[green]clean[/]" if outcome.clean else "[red]NOT clean: see above[/]")
    report_line = "" if report is None else f"\n  {report}   this report as JSON"
    out.print(
        "where to look next:"
        f"{report_line}"
        f"\n  fenzhang up --home {home}   this very system again, with its API on port 8700 and its node on 8545"
        f"\n  fenzhang verify --deployment {home}/deployments/20261.json --order REF   then one order's life, proven"
        "\n  README.md   how to send an order of your own",
        highlight=False,
        soft_wrap=True,
    )
