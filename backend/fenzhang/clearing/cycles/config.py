"""How cycles are closed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosingConfig:
    """How cycles are closed. Depths are blocks, calldata bytes, the rest seconds."""

    depth: int = 255
    """Blocks that must stand above one before anything irreversible follows from it, as in Settings."""
    poll_interval_s: float = 1.0
    closing_life_s: int = 3_600
    """How long a signed closing may be relayed, from the time of the block as of which it was netted.

    Chain time, and `depth` blocks of it have passed already when it is signed.
    """
    ask_again_s: float = 30.0
    """After the bank refused a signature."""
    report_again_s: float = 60.0
    """After a report that the chain has not followed."""
    max_payouts: int = 200
    """Payouts that one transaction takes, or reports."""
    max_calldata_bytes: int = 120_000
    """As in Settings."""
    lease_s: float = 4.0
    """How long a killed closer keeps another one waiting."""

    def chunk(self, payouts: int) -> int:
        """How many payouts of a cycle of so many fit into a transaction, proofs included."""
        proof = 32 * max(payouts - 1, 0).bit_length()
        return max(1, min(self.max_payouts, (self.max_calldata_bytes - _CALL) // (_PAYOUT + proof)))


_CALL = 1_024
"""Bytes of calldata beside payouts: heads, signature."""
_PAYOUT = 3 * 32 + 2 * 32 + 3 * 32
"""Of a payout, the head and length of its proof, and in a report its outcome."""
