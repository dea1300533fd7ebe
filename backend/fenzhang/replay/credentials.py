"""What a replay may do and what it must remember: apps that it is given, one app per platform that it makes.

The memory is a file beside the credentials, mode 0600. Without it a new app can be made for a platform; the signing key
of a platform that signs for itself cannot be replaced, nor the times at which the parts of a day began.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from fenzhang.chain.signer import LocalKey
from fenzhang.client import Credentials
from fenzhang.domain.errors import FenzhangError
from fenzhang.privatefile import write_private

GUARDIANS: Final = ("guardian", "second-guardian")
"""Names of the guardians' apps: the first freezes, the second lets go."""


class CredentialsUnreadable(FenzhangError):
    """The file with the apps' credentials is missing, or is something else."""

    code = "credentials_unreadable"


@dataclass(frozen=True, slots=True)
class Apps:
    """Apps that are no platform's: the operator enrols platforms, the approver approves rules, guardians intervene."""

    operator: Credentials
    approver: Credentials
    guardians: Mapping[str, Credentials] = field(default_factory=dict)
    """By name; a day without acts of guardians needs none."""

    @classmethod
    def load(cls, path: Path) -> Apps:
        """Read the file that `fenzhang up` writes. Raises CredentialsUnreadable."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            guardians = {name: _credentials(content[name]) for name in GUARDIANS if name in content}
            return cls(_credentials(content["operator"]), _credentials(content["approver"]), guardians)
        except OSError as error:
            raise CredentialsUnreadable(
                f"{path} cannot be read ({error.strerror}); `fenzhang up` writes it, --credentials names another",
                path=str(path),
            ) from None
        except (ValueError, KeyError, TypeError):
            raise CredentialsUnreadable(
                f"{path} does not hold client_id and client_secret of operator and approver", path=str(path)
            ) from None


@dataclass(slots=True)
class Memory:
    """The file in which a replay remembers its platforms' apps and keys."""

    path: Path
    _content: dict[str, dict[str, str]]

    @classmethod
    def beside(cls, credentials: Path) -> Memory:
        """The memory that belongs to a credentials file; empty when there is none yet.

        Raises CredentialsUnreadable for a file that is there and cannot be read: it may hold keys.
        """
        path = credentials.with_name("replay-platforms.json")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return cls(path, {str(name): dict(known) for name, known in content.items()})
        except FileNotFoundError:
            return cls(path, {})
        except (OSError, ValueError, TypeError, AttributeError):
            raise CredentialsUnreadable(f"{path} cannot be read", path=str(path)) from None

    def app(self, platform: str) -> Credentials | None:
        """The app that was made for a platform."""
        known = self._content.get(platform, {})
        return _credentials(known) if "client_id" in known else None

    def remember_app(self, platform: str, app: Credentials) -> None:
        """Write down a platform's app."""
        self._update(platform, client_id=app.client_id, client_secret=app.client_secret)

    def key(self, platform: str) -> LocalKey | None:
        """The signing key of a platform that signs for itself."""
        secret = self._content.get(platform, {}).get("key")
        return None if secret is None else LocalKey(bytes.fromhex(secret))

    def remember_key(self, platform: str, key: LocalKey) -> None:
        """Write down a platform's signing key."""
        self._update(platform, key=key.secret().hex())

    def begin_of(self, platform: str, part: str) -> int | None:
        """When the part of a day began whose first platform this is, Unix seconds; None if it did not."""
        found = self._content.get(platform, {}).get(f"part {part}")
        return None if found is None else int(found)

    def remember_begin(self, platform: str, part: str, begin: int) -> None:
        """Write down when a part began."""
        self._update(platform, **{f"part {part}": str(begin)})

    def _update(self, platform: str, **values: str) -> None:
        self._content.setdefault(platform, {}).update(values)
        write_private(self.path, self._content)


def _credentials(content: Any) -> Credentials:
    return Credentials(str(content["client_id"]), str(content["client_secret"]))
