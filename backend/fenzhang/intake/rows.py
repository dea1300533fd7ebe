"""Instructions that are being accepted: their rows before they are inserted, in bulk and past the ORM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fenzhang.store.tables import Instruction


@dataclass(slots=True, kw_only=True)
class NewInstruction:
    """A row of `instructions` as it is accepted. The fields are the columns of that name."""

    id: bytes
    type: str
    platform_id: bytes
    app_id: str
    reference: str
    order_id: bytes
    content: dict[str, Any]
    content_hash: bytes
    payload: dict[str, Any]
    state: str
    accepted_at: int
    request_id: str | None = None
    authorization_id: int | None = None
    position: int | None = None

    # What a row has later, for those who read both kinds.
    @property
    def reason(self) -> None:
        """Not rejected."""
        return

    @property
    def block_number(self) -> None:
        """Not settled."""
        return

    @property
    def tx_hash(self) -> None:
        """Not settled."""
        return


COLUMNS = (
    "id",
    "type",
    "platform_id",
    "app_id",
    "reference",
    "order_id",
    "content",
    "content_hash",
    "payload",
    "state",
    "accepted_at",
    "request_id",
    "authorization_id",
    "position",
)
"""What is inserted."""
InstructionRow = Instruction | NewInstruction
"""An instruction from the database, or one on its way into it."""
