"""Bounds that intake keeps, each with its reason."""

from __future__ import annotations

MAX_BATCH = 1_000
"""Items of one batch request: a few hundred kilobytes, and a transaction that does not hold others up."""

MAX_INSTRUCTIONS_PER_ORDER = 64
"""Splits, releases, returns and refunds of one order, rejected ones included. Returns and refunds open the order's
whole past on chain; with more of it, the call might not fit a transaction."""

MAX_PAST_LEAVES = 1_280
"""Leaves that such a past may have: those of so many splits by the largest rule. A refund takes from all leaves of the
order, so orders of many leaves can have fewer refunds."""

MIN_DEADLINE_AHEAD_S = 60
"""A client's authorization must live at least this long, or it may expire on its way to the chain."""

MAX_BINDINGS = 32
"""Roles that one request may bind: no rule has more legs."""

MAX_SIGNED_ORDERS = 200
"""Orders under one client signature, which is settled in one transaction."""

MAX_SIGNED_GAS = 15_500_000
"""Gas that the instructions under one client signature may need: a transaction may use 2**24 (EIP-7825)."""

MAX_SIGNED_BYTES = 118_000
"""Calldata that they may need: nodes of the geth family refuse transactions above 128 KiB."""
