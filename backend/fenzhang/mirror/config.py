"""How a mirror behaves."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorConfig:
    """How a mirror behaves. The defaults are for a consortium chain whose blocks are final."""

    poll_interval_s: float = 0.2
    """Between two looks at the head of the chain when there is nothing new."""
    confirmations: int = 0
    """How many blocks to stay behind the head."""
    max_blocks: int = 500
    """Longest range read at once."""
    target_logs: int = 8_000
    """A range with more logs than this makes the next one shorter."""
    kept_blocks: int = 256
    """How many of the newest headers are remembered: the deepest reorganisation that is followed."""
    shrink_patience_s: float = 2.0
    """How long a head below the mirrored one, on the same chain, counts as a node that lags behind."""
    second_looks: int = 5
    """So often in a row events that contradict themselves are read again before the mirror stops."""
    lease_s: float = 4.0
    """How long a killed mirror keeps another one waiting, but for the time between two looks."""
