"""Every metric of fenzhang. Labels take few values, fixed in the code: never an id, a reference or a path.

Whoever has something to count does so once per batch, after the commit that made it true.
"""

from __future__ import annotations

import math
from collections import Counter as Tally
from collections.abc import Iterable, Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fenzhang.chain.breaker import Breaker, BreakerState

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# When a series began says nothing that its process's start time does not.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library leaves it untyped
REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)

INSTRUCTIONS_ACCEPTED = Counter(
    "fenzhang_instructions_accepted", "Instructions stored by this process.", ["type"], registry=REGISTRY
)
INSTRUCTIONS_SETTLED = Counter(
    "fenzhang_instructions_settled",
    "Instructions that this process mirrored as settled.",
    ["type"],
    registry=REGISTRY,
)
INSTRUCTIONS_REJECTED = Counter(
    "fenzhang_instructions_rejected",
    "Instructions that the chain refused.",
    ["type"],
    registry=REGISTRY,
)
HTTP_REQUESTS = Counter(
    "fenzhang_http_requests",
    "Requests by route template and status.",
    ["method", "route", "status"],
    registry=REGISTRY,
)
HTTP_SECONDS = Histogram(
    "fenzhang_http_request_duration_seconds",
    "Time to the whole answer; waited=yes for requests that asked to wait for a change.",
    ["method", "route", "waited"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
    registry=REGISTRY,
)
HTTP_IN_FLIGHT = Gauge("fenzhang_http_requests_in_flight", "Requests under way.", registry=REGISTRY)
HTTP_REFUSED = Counter(
    "fenzhang_http_requests_refused", "Requests answered with 429, by code.", ["code"], registry=REGISTRY
)
TRANSACTIONS_SENT = Counter(
    "fenzhang_transactions_sent", "Transactions that a node took for the first time.", registry=REGISTRY
)
TRANSACTIONS_MINED = Counter(
    "fenzhang_transactions_mined", "Transactions that came to their end, successful.", registry=REGISTRY
)
TRANSACTIONS_REVERTED = Counter(
    "fenzhang_transactions_reverted", "Transactions that were mined without effect.", registry=REGISTRY
)
GAS_USED = Counter("fenzhang_gas_used", "Gas of transactions that came to their end.", registry=REGISTRY)
TRANSACTIONS_IN_FLIGHT = Gauge(
    "fenzhang_transactions_in_flight", "Stored transactions whose end is not known.", registry=REGISTRY
)
QUEUE = Gauge(
    "fenzhang_queue_instructions",
    "Instructions without an outcome, by state; ACCEPTED stops counting above the limit.",
    ["state"],
    registry=REGISTRY,
)
MIRRORED_BLOCK = Gauge("fenzhang_mirror_block", "Newest mirrored block.", registry=REGISTRY)
HEAD_BLOCK = Gauge(
    "fenzhang_chain_head_block", "Newest block of the node, when it last said.", registry=REGISTRY
)
LAG_BLOCKS = Gauge(
    "fenzhang_mirror_lag_blocks",
    "Blocks of the node that are not mirrored; NaN unless known.",
    registry=REGISTRY,
)
LAG_SECONDS = Gauge(
    "fenzhang_mirror_lag_seconds",
    "How long a block that is not mirrored has been known to this process.",
    registry=REGISTRY,
)
REORGANISATIONS = Counter(
    "fenzhang_mirror_reorganisations", "Times that the mirror went back.", registry=REGISTRY
)
CYCLES_PLANNED = Counter("fenzhang_cycles_planned", "Cycles that this process planned.", registry=REGISTRY)
PAYOUTS_PREPARED = Counter(
    "fenzhang_payouts_prepared", "Payouts that this process put into files.", registry=REGISTRY
)
OUTCOMES_REPORTED = Counter(
    "fenzhang_payout_outcomes_reported",
    "Outcomes of payouts that this process asked the chain to follow.",
    registry=REGISTRY,
)
PAYOUTS_CHANGED = Counter(
    "fenzhang_payouts_changed", "Payouts of which the bank said something new.", registry=REGISTRY
)
BREAKS_OPEN = Gauge(
    "fenzhang_breaks_open", "Breaks of the reconciliation that are not resolved.", ["kind"], registry=REGISTRY
)
BREAKS_OLDEST = Gauge(
    "fenzhang_breaks_oldest_age_seconds", "Age of the oldest of them; 0 for none.", registry=REGISTRY
)
LAG_BLOCKS.set(math.nan)


class _NodeBreaker(Collector):
    """The breaker of this process's node client, read when somebody asks."""

    def __init__(self) -> None:
        self.breaker: Breaker | None = None

    def collect(self) -> Iterator[Metric]:
        """State, failures and openings; nothing while there is no breaker."""
        if self.breaker is None:
            return
        state = GaugeMetricFamily(
            "fenzhang_node_breaker_state", "1 for the state that the breaker is in.", labels=["state"]
        )
        for each in BreakerState:
            state.add_metric([each.value], float(self.breaker.state is each))
        yield state
        yield CounterMetricFamily(
            "fenzhang_node_failures", "Requests without a usable answer.", value=self.breaker.failures
        )
        yield CounterMetricFamily(
            "fenzhang_node_breaker_openings", "Times that the breaker opened.", value=self.breaker.openings
        )


_node_breaker = _NodeBreaker()
REGISTRY.register(_node_breaker)


def watch_breaker(breaker: Breaker | None) -> None:
    """Show `breaker`, in place of the one before."""
    _node_breaker.breaker = breaker


def count_by_type(counter: Counter, types: Iterable[str]) -> None:
    """Add to a counter with the label `type`, once per type."""
    for name, count in Tally(types).items():
        counter.labels(name).inc(count)


def exposition() -> bytes:
    """All metrics in the text format of Prometheus."""
    return generate_latest(REGISTRY)
