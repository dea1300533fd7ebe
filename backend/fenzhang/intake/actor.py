"""Who writes: an authenticated app and what it may do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

OPERATOR_NAMESPACE = bytes(32)
"""Stands in place of a platform for what the operator writes, such as the enrolment of platforms."""


class Scope(StrEnum):
    """What an app may do. OAuth2 scopes of these names."""

    OPERATOR = "operator"
    """Create apps, enrol and suspend platforms, read the trial balance."""
    PLATFORM = "platform"
    """Everything that belongs to the app's own platform."""
    APPROVER = "approver"
    """Read, try and approve the rules that platforms propose."""
    GUARDIAN = "guardian"
    """Read the rules of every platform and veto versions that are not in force yet; cap platforms; freeze."""
    AUDITOR = "auditor"
    """Read the trial balance and the rules of every platform."""


@dataclass(frozen=True, slots=True)
class Actor:
    """An app that presented a valid token, in one request."""

    client_id: str
    scopes: frozenset[Scope]
    platform_id: bytes | None
    request_id: str | None = None
    """Id of the request, to follow what it asks for."""

    @property
    def namespace(self) -> bytes:
        """The platform whose references this app writes and reads, or the operator's namespace."""
        return self.platform_id or OPERATOR_NAMESPACE
