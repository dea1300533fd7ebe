"""What the parts of a submitter share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fenzhang.chain.deployments import Deployment
from fenzhang.chain.node import NodeClient
from fenzhang.chain.signer import LocalKey
from fenzhang.store.session import Database
from fenzhang.submission.config import SubmissionConfig
from fenzhang.submission.keyring import Keyring
from fenzhang.submission.lanes import Lane


@dataclass(frozen=True, slots=True)
class Context:
    """Where a submitter works and as whom.

    `senders` are the keys that send transactions, by label; settlements go out under the key of `lane`.
    """

    database: Database
    node: NodeClient
    deployment: Deployment
    keyring: Keyring
    config: SubmissionConfig
    senders: Mapping[str, LocalKey]
    lane: Lane

    @property
    def addresses(self) -> list[bytes]:
        """Of the senders."""
        return [key.address for key in self.senders.values()]
