"""What stops a mirror."""

from __future__ import annotations

from fenzhang.domain.errors import FenzhangError


class MirrorError(FenzhangError):
    """What the node tells cannot be what the contracts did. Going on would write it into the ledger."""

    code = "mirror_error"


class BatchRootMismatch(MirrorError):
    """The records read of a batch do not have the root under which the chain sealed them."""

    code = "batch_root_mismatch"


class ReorgTooDeep(MirrorError):
    """The chain differs from the mirrored one further back than the mirror remembers."""

    code = "reorg_too_deep"


class ChainMoved(FenzhangError):
    """The chain reorganised while a range of it was read. Reading again helps."""

    code = "chain_moved"
