"""What a run measured, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from acceptance (the 202 has arrived) until the feed of completions shows SETTLED."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One phase: `splits` orders, each captured and split, from the first request to the last SETTLED."""

    splits: int
    requests: int
    seconds: float
    accept_seconds: float
    """From the first request to the last answer."""
    latency: Latency
    offered: float | None = None
    """Splits a second that were sent by the clock; None where clients sent as fast as they were answered."""
    cpu_us: dict[str, float] = field(default_factory=dict)
    """Microseconds of processor time per split, by process: what holds also while others use the machine."""

    @property
    def rate(self) -> float:
        """Splits settled per second."""
        return self.splits / self.seconds

    @property
    def request_rate(self) -> float:
        """Requests answered per second."""
        return self.requests / self.accept_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceilings:
    """Splits per second that each part would do if the others cost nothing."""

    node: float
    database: float
    http_batches: float
    http_requests: float
    """Requests per second from 64 clients; a split takes two."""

    @property
    def lowest(self) -> float:
        """For batches."""
        return min(self.node, self.database, self.http_batches)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Memory of one process while the data grew, MB; of shared pages its part."""

    name: str
    first: float
    """Median over the second fifth: caches are warm."""
    last: float
    """Median over the last fifth."""
    peak: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """A long phase of batches, and a mirror that catches up with it from block 0 afterwards."""

    splits: int
    rate: float
    first_fifth: float
    """Splits settled per second."""
    last_fifth: float
    memory: list[Memory]
    catch_up_splits: int
    """All splits of the chain, those of earlier phases included."""
    catch_up_seconds: float

    @property
    def catch_up_rate(self) -> float:
        """Splits mirrored per second into a fresh database."""
        return self.catch_up_splits / self.catch_up_seconds


@dataclass(frozen=True, slots=True)
class Answer:
    """How long the ledger took for one question, seconds."""

    question: str
    median: float
    longest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """A ledger of so many postings, and its answers."""

    postings: int
    fill_seconds: float
    answers: list[Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Everything. Rates are splits per second unless they say otherwise."""

    batches: Load
    batches_half: Load
    singles: Load
    singles_half: Load
    baseline: Load
    ceilings: Ceilings
    growth: Growth
    books: Books
    gas_per_split: float
    block_time_s: float


@dataclass(frozen=True, slots=True)
class Target:
    """A figure, and what it is to be."""

    name: str
    value: float
    bound: float
    at_most: bool = False
    held: bool = field(init=False)

    def __post_init__(self) -> None:
        held = self.value <= self.bound if self.at_most else self.value >= self.bound
        object.__setattr__(self, "held", held)


BATCH_RATE, SINGLE_RATE, BACKEND_MB, GAS = 2_000, 800, 500, 50_000
BASELINE_RATIO, CEILING_SHARE, FIFTHS, CATCH_UP_RATIO = 10, 0.5, 0.9, 5
FLAT = 1.1
ANSWER_S = 1.0
LATENCY_SLACK_S = 0.3
BACKEND = ("api", "submission", "mirror")


def targets(figures: Figures) -> list[Target]:
    """The figures that the project has set itself, with what they are to reach."""
    batches, growth = figures.batches.rate, figures.growth
    patience_s = 2 * figures.block_time_s + LATENCY_SLACK_S
    backend = [memory for memory in growth.memory if memory.name in BACKEND]
    first, last = (sum(getattr(memory, which) for memory in backend) for which in ("first", "last"))
    return [
        Target("batches, splits/s", batches, BATCH_RATE),
        Target("batches / baseline", batches / figures.baseline.rate, BASELINE_RATIO),
        Target("batches / lowest ceiling", batches / figures.ceilings.lowest, CEILING_SHARE),
        Target("single requests/s, 64 clients", figures.singles.request_rate, SINGLE_RATE),
        Target("single requests, splits/s", figures.singles.rate, SINGLE_RATE),
        Target("p99 of batches at half load, s", figures.batches_half.latency.p99, patience_s, at_most=True),
        Target("p99 of singles at half load, s", figures.singles_half.latency.p99, patience_s, at_most=True),
        Target("last fifth / first fifth", growth.last_fifth / growth.first_fifth, FIFTHS),
        Target("backend memory, peak MB", sum(memory.peak for memory in backend), BACKEND_MB, at_most=True),
        Target("backend memory, last / second fifth", last / first if first else 0.0, FLAT, at_most=True),
        Target("catch-up / live rate", growth.catch_up_rate / growth.rate, CATCH_UP_RATIO),
        Target(
            f"slowest answer of a ledger with {figures.books.postings:,} postings, s",
            max(answer.longest for answer in figures.books.answers),
            ANSWER_S,
            at_most=True,
        ),
        Target("gas per split with its capture", figures.gas_per_split, GAS, at_most=True),
    ]


def latency_of(seconds: Sequence[float]) -> Latency:
    """Percentiles (nearest rank)."""
    ordered = sorted(seconds)

    def rank(share: float) -> float:
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    return Latency(rank(0.50), rank(0.95), rank(0.99))


def to_json(figures: Figures) -> dict[str, Any]:
    """Plain values, with the rates and the targets."""
    loads = ("batches", "batches_half", "singles", "singles_half", "baseline")
    found: dict[str, Any] = asdict(figures)
    for name in loads:
        load: Load = getattr(figures, name)
        found[name] |= {"rate": load.rate, "request_rate": load.request_rate}
    found["ceilings"]["lowest"] = figures.ceilings.lowest
    found["growth"]["catch_up_rate"] = figures.growth.catch_up_rate
    found["targets"] = [asdict(target) for target in targets(figures)]
    return found
