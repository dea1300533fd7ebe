"""Who may call what, as the AccessManager's events tell it."""

from __future__ import annotations

from dataclasses import dataclass, field

from fenzhang.chain.eventtypes import AdministrationChanged, RoleGranted, RoleRevoked
from fenzhang.chain.views import ATTESTOR_ROLE, CLEARING_BANK_ROLE

ADMIN_ROLE = 0
"""Role of every restricted function that was given to no other."""
PUBLIC_ROLE = 2**64 - 1
"""Everybody has it."""

AccessEvent = RoleGranted | RoleRevoked | AdministrationChanged


@dataclass(slots=True)
class Access:
    """Roles of accounts (20 bytes) since when (Unix seconds), and the role that each restricted function needs."""

    members: dict[tuple[int, bytes], int] = field(default_factory=dict)
    """By role and account. One whose role was revoked stays, with 0."""
    function_roles: dict[tuple[bytes, bytes], int] = field(default_factory=dict)
    """By contract and selector."""
    closed: set[bytes] = field(default_factory=set)
    """Contracts whose restricted functions nobody may call."""

    def apply(self, event: AccessEvent) -> None:
        """Take up what an event tells. Labels, delays, guardians and schedules change nobody's membership."""
        match event:
            case RoleGranted():
                # A second grant changes the execution delay only, and `since` then tells of that.
                if event.new_member:
                    self.members[event.role_id, event.account] = event.since
            case RoleRevoked():
                self.members[event.role_id, event.account] = 0
            case AdministrationChanged(name="TargetFunctionRoleUpdated"):
                target, role, selector = event.values
                self.function_roles[_address(target), _as_bytes(selector)] = _as_int(role)
            case AdministrationChanged(name="TargetClosed"):
                target, closed = event.values
                (self.closed.add if closed else self.closed.discard)(_address(target))
            case _:
                pass

    def has_role(self, role: int, account: bytes, now: int) -> bool:
        """Whether an account is a member of a role at `now` (Unix seconds)."""
        return role == PUBLIC_ROLE or 0 < self.members.get((role, account), 0) <= now

    def may_call(self, account: bytes, target: bytes, selector: bytes, now: int) -> bool:
        """Whether an account may call a restricted function at `now`, at once or after its delay."""
        role = self.function_roles.get((target, selector), ADMIN_ROLE)
        return target not in self.closed and self.has_role(role, account, now)

    def attestors(self, now: int) -> set[bytes]:
        """Accounts that may attest captures at `now`."""
        return self._members_of(ATTESTOR_ROLE, now)

    def clearing_banks(self, now: int) -> set[bytes]:
        """Accounts that may close cycles and report outcomes at `now`."""
        return self._members_of(CLEARING_BANK_ROLE, now)

    def _members_of(self, wanted: int, now: int) -> set[bytes]:
        return {
            account for (role, account), since in self.members.items() if role == wanted and 0 < since <= now
        }


def new_access_manager(event: AdministrationChanged) -> bytes | None:
    """The AccessManager that a contract obeys from this event on, None when the event is another one."""
    return _address(event.values[0]) if event.name == "AuthorityUpdated" else None


def _address(value: object) -> bytes:
    if not isinstance(value, str):
        raise TypeError("eth-abi gives addresses as text")
    return bytes.fromhex(value.removeprefix("0x"))


def _as_bytes(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError("eth-abi gives selectors as bytes")
    return value


def _as_int(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError("eth-abi gives integers as int")
    return value
