"""What the contracts hold at one block, read through their views, many questions in one go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from fenzhang.audit.differences import Code, Findings
from fenzhang.chain.codec import decode_result, encode_call
from fenzhang.chain.deployments import Deployment
from fenzhang.chain.errors import RpcError, Undecodable
from fenzhang.chain.node import BlockTag, NodeClient, block_reference
from fenzhang.chain.views import chunks

QUESTIONS = 2_000
"""Calls whose answers are held in memory at once."""
_REVERTED = 3
"""JSON-RPC error code of a call that reverted."""
Arguments = TypeVar("Arguments", bound=Sequence[Any])


def _is_revert(error: RpcError) -> bool:
    """Whether a call failed in the contract, and not for want of the block's state."""
    return error.rpc_code == _REVERTED or error.revert_data is not None or "revert" in error.message


@dataclass(frozen=True, slots=True)
class StateReader:
    """The contracts of `deployment` at `block`. Every method raises NodeUnavailable and RpcError.

    A view that reverts or answers nonsense is no failure to read but a difference: it is reported, and left out.
    """

    node: NodeClient
    deployment: Deployment
    block: BlockTag
    findings: Findings

    async def ask(
        self, contract: str, function: str, arguments: Sequence[Arguments]
    ) -> list[tuple[Arguments, tuple[Any, ...]]]:
        """Each list of arguments with what the view answers to it."""
        to = "0x" + self.deployment.addresses[contract].hex()
        at = block_reference(self.block)
        answers: list[tuple[Arguments, tuple[Any, ...]]] = []
        for start in range(0, len(arguments), QUESTIONS):
            part = arguments[start : start + QUESTIONS]
            calls = [{"to": to, "data": "0x" + encode_call(contract, function, *args).hex()} for args in part]
            found = await self.node.batch([("eth_call", (call, at)) for call in calls])
            for args, answer in zip(part, found, strict=True):
                try:
                    answers.append((args, _decode(contract, function, answer)))
                except Undecodable as error:
                    self.findings.report(
                        Code.UNREADABLE,
                        f"{contract}.{function} does not answer: {error.message}",
                        expected=args,
                    )
        return answers

    async def one(self, contract: str, function: str) -> tuple[Any, ...] | None:
        """What a view without arguments answers; None when it does not, which is reported."""
        answers = await self.ask(contract, function, [()])
        return answers[0][1] if answers else None

    async def of_ids(
        self, function: str, first: tuple[Any, ...], ids: Sequence[bytes]
    ) -> list[tuple[bytes, int]]:
        """Each id with its number, from a view of LedgerView that takes a list of ids after `first`."""
        answers = await self.ask("LedgerView", function, [(*first, chunk) for chunk in chunks(ids)])
        return [pair for (*_, chunk), (values,) in answers for pair in zip(chunk, values, strict=True)]


def _decode(contract: str, function: str, answer: object) -> tuple[Any, ...]:
    """Raises Undecodable for a revert and for what does not decode, RpcError when the node could not answer."""
    if isinstance(answer, RpcError):
        if _is_revert(answer):
            raise Undecodable(answer.message) from None
        raise answer
    try:
        data = bytes.fromhex(str(answer).removeprefix("0x"))
    except ValueError:
        raise Undecodable("no hexadecimal data") from None
    return decode_result(contract, function, data)
