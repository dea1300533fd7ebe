"""What a transaction asked the contracts to do, as far as its calldata shows it."""

from __future__ import annotations

from dataclasses import dataclass

from fenzhang.audit.reading import Transaction
from fenzhang.chain.calldata import decode_execution, decode_multicall
from fenzhang.chain.codec import selector_of
from fenzhang.chain.deployments import Deployment
from fenzhang.chain.errors import Undecodable

_MANAGER = "AccessManager"


@dataclass(frozen=True, slots=True)
class Call:
    """A call of one of the contracts. `actor` is the account that sent the transaction.

    `sender` is what the contract takes for its caller: the actor, or the AccessManager that carried the call out.
    """

    actor: bytes
    sender: bytes
    to: bytes
    data: bytes

    @property
    def selector(self) -> bytes:
        """The four bytes that name the function."""
        return self.data[:4]


def calls_of(transaction: Transaction, deployment: Deployment) -> list[Call]:
    """The calls of the contracts that a transaction makes, in order.

    AccessManager's `execute` and `multicall` are opened. A transaction to any other contract shows nothing, and has
    no calls here. Raises Undecodable.
    """
    if transaction.to not in deployment.contracts:
        return []
    found: list[Call] = []
    waiting = [Call(transaction.sender, transaction.sender, transaction.to, transaction.data)]
    while waiting:
        call = waiting.pop()
        if call.to not in deployment.contracts:
            raise Undecodable(f"the AccessManager called 0x{call.to.hex()}, whose doings do not show")
        if call.to == deployment.access_manager:
            waiting += reversed(_opened(call))
        else:
            found.append(call)
    return found


def _opened(call: Call) -> list[Call]:
    """The calls that a call of the AccessManager makes, in order."""
    if call.selector == selector_of(_MANAGER, "execute"):
        target, data = decode_execution(call.data)
        return [Call(call.actor, call.to, target, data)]
    if call.selector == selector_of(_MANAGER, "multicall"):
        return [Call(call.actor, call.sender, call.to, data) for data in decode_multicall(call.data)]
    return []
