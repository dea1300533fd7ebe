"""How a submitter behaves."""

from __future__ import annotations

from dataclasses import dataclass

TRANSACTION_GAS_CAP = 2**24
"""More than this no transaction may use (EIP-7825)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionConfig:
    """How a submitter behaves. Gas in units of gas, fees in wei per gas."""

    poll_interval_s: float = 0.1
    """Between two looks at what is pending and what was mined."""
    linger_s: float = 0.15
    """How long a capture that came alone waits for its split: a client's way there and back, a sixth of a block."""
    max_in_flight: int = 48
    """Settlement transactions that are broadcast and not yet mirrored: three seconds of full load at 1 s blocks."""
    max_at_once: int = 8
    """Settlement transactions that are prepared together, so that the first are mined while the next are prepared."""
    max_governance_in_flight: int = 64
    """The same for enrolments, rules and the like, which are small and have a transaction each."""
    max_orders: int = 200
    """Orders that one transaction touches."""
    max_calldata_bytes: int = 120_000
    """As in Settings."""
    target_gas: int = 16_000_000
    """What the instructions of one transaction may use by the gas model."""
    gas_cap: int = TRANSACTION_GAS_CAP
    """Gas limit of a transaction that tries one authorization alone."""
    governance_gas: int = 6_000_000
    """Gas limit of the others. A rule of 32 legs, stored as code, uses about a third."""
    payout_gas: int = 50_000
    """More for each payout that it takes or reports, which use about half: 27,300 and up to 21,700."""
    max_fee: int = 0
    priority_fee: int = 0
    max_candidates: int = 5_000
    """Pending instructions looked at in one go."""
    rebroadcast_s: float = 5.0
    """After this long without a receipt a transaction is broadcast again, the same bytes."""
    lost_after_s: float = 15.0
    """A nonce that is mined, but not with our transaction, was used by somebody else after this long."""
    first_backoff_s: float = 1.0
    """Before an authorization that failed alone, or was passed over thrice, is tried again; doubles each time."""
    longest_backoff_s: float = 300.0
    authorization_life_s: int = 86_400
    """Deadline of what the keystore signs, from the time of the newest block."""
    final_depth: int = 256
    """A block this far below the mirror's checkpoint cannot be reorganised away (MirrorConfig.kept_blocks)."""
    lease_s: float = 4.0
    """How long a killed submitter keeps another one waiting, but for the time between two looks."""
