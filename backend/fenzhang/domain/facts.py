"""What a platform states about an order for its schedule to look at: four short codes in one word of 32 bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

from fenzhang.domain.errors import InvalidInput

CODE_SIZE = 8
"""Bytes of a code, and so its characters."""
CODE_PATTERN = r"^[A-Za-z0-9_\-]{1,8}$"
"""What a code looks like."""
_CODE = re.compile(CODE_PATTERN.removesuffix("$") + r"\Z")


@dataclass(frozen=True, slots=True)
class Facts:
    """Codes of an order, or of a pattern, the weightiest first. An empty one states nothing."""

    promotion: str = ""
    category: str = ""
    member_tier: str = ""
    channel: str = ""

    def pack(self) -> bytes:
        """The word: four codes of 8 bytes, ASCII, left aligned. Raises InvalidInput naming the code."""
        return b"".join(_packed(name, getattr(self, name)) for name in FACTS)

    @classmethod
    def unpack(cls, word: bytes) -> Facts:
        """The codes of a word. What `pack` would refuse is shown as it stands: an attestor may sign any word."""
        return cls(*(code.rstrip(b"\0").decode("latin-1") for code in codes_of(word)))

    def stated(self) -> dict[str, str]:
        """The codes that state something, by name."""
        return {name: code for name in FACTS if (code := getattr(self, name))}


NO_FACTS = Facts()
"""Nothing is stated."""
FACTS = tuple(field.name for field in fields(Facts))
"""Names of the codes in the order of their weight."""


def codes_of(word: bytes) -> list[bytes]:
    """The four codes of a word as they stand there."""
    return [word[start : start + CODE_SIZE] for start in range(0, len(word), CODE_SIZE)]


def _packed(name: str, code: str) -> bytes:
    if code and not _CODE.match(code):
        raise InvalidInput(f"facts.{name}", "a code is 1 to 8 characters of A-Z a-z 0-9 _ -")
    return code.encode("ascii").ljust(CODE_SIZE, b"\0")
