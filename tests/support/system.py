"""The contracts on a hand-driven node, with roles as a consortium gives them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fenzhang.chain.abitypes import canonical_type
from fenzhang.chain.artifacts import artifact
from fenzhang.chain.codec import decode_result, encode_call, encode_deployment
from fenzhang.chain.deploy import CLEARING_FUNCTIONS, GUARDIAN_FUNCTIONS, LEDGER_FUNCTIONS
from fenzhang.chain.deployments import Deployment
from fenzhang.chain.events import Event, decode_logs
from fenzhang.chain.keccak import keccak
from fenzhang.chain.reverts import CONTRACTS
from fenzhang.chain.signer import LocalKey
from fenzhang.chain.views import (
    ATTESTOR_ROLE,
    CLEARING_BANK_ROLE,
    CLEARING_HOUSE_ROLE,
    GUARDIAN_ROLE,
    LEDGER_ROLE,
    REGISTRAR_ROLE,
    RULE_APPROVER_ROLE,
)
from fenzhang.devnet import dev_account
from fenzhang.domain.errors import FenzhangError
from support.node import HandNode, Mined

CURRENCIES = ("CNY", "USD", "EUR", "JPY")
"""Open for captures from the start."""
REGISTRAR_FUNCTIONS = (
    "enroll",
    "enrollRecipient",
    "suspend",
    "resume",
    "close",
    "place",
    "rotateAuthority",
    "setConsent",
)


def dev_key(purpose: str) -> LocalKey:
    """Key of a devnet account; the node sends for these."""
    return LocalKey(bytes.fromhex(dev_account(purpose).private_key[2:]))


ADMIN = dev_key("admin")
REGISTRAR = dev_key("registrar")
APPROVER = dev_key("rule-approver")
GUARDIAN = dev_key("guardian")
SECOND_GUARDIAN = dev_key("second-guardian")
BANK = dev_key("bank-attestor")
CLEARING_BANK = dev_key("clearing-bank")
SUBMITTER = dev_key("submitter")
OUTSIDER = dev_key("free")
"""Has no role at all."""


@dataclass(frozen=True, slots=True)
class System:
    """Deployed contracts; `call` and `transact` take a contract's name, a function's name and its arguments."""

    node: HandNode
    deployment: Deployment

    def call(self, contract: str, function: str, *args: Any, sender: LocalKey | None = None) -> Any:
        """What a view returns: the value itself when it is one, else a tuple. Raises the contract's error."""
        return self._value(contract, function, self._call(contract, function, args, sender))

    def _call(self, contract: str, function: str, args: Sequence[Any], sender: LocalKey | None) -> bytes:
        data = encode_call(contract, function, *args)
        return self.node.call(
            self.deployment.addresses[contract], data, None if sender is None else sender.address
        )

    @staticmethod
    def _value(contract: str, function: str, data: bytes) -> Any:
        values = decode_result(contract, function, data)
        return values[0] if len(values) == 1 else values

    def calls(self, contract: str, function: str, arguments: Sequence[Sequence[Any]]) -> list[Any]:
        """What a function answers to many argument lists: its value, or the FenzhangError it reverts with."""
        to = self.deployment.addresses[contract]
        answers = self.node.calls([(to, encode_call(contract, function, *args)) for args in arguments])
        return [
            answer if isinstance(answer, FenzhangError) else self._value(contract, function, answer)
            for answer in answers
        ]

    def transact(self, sender: LocalKey | bytes, contract: str, function: str, *args: Any) -> Mined:
        """Mine a transaction. It may have reverted: see its `error`."""
        address = sender if isinstance(sender, bytes) else sender.address
        to = self.deployment.addresses[contract]
        return self.node.transact(address, to, encode_call(contract, function, *args))

    def events(self, mined: Mined) -> list[Event]:
        """Decoded events of a transaction."""
        return decode_logs(mined.logs, self.deployment.contracts)


def selector(contract: str, function: str) -> bytes:
    """First four bytes of calldata of a function."""
    [entry] = [entry for entry in artifact(contract).functions() if entry["name"] == function]
    return keccak(f"{function}({','.join(map(canonical_type, entry['inputs']))})".encode())[:4]


def deploy_system(node: HandNode) -> System:
    """Deploy the contracts, give out roles without delays, and open CURRENCIES."""
    first_block = int(node.request("eth_blockNumber"), 16) + 1
    manager = _create(node, "AccessManager", ADMIN.address)
    registry = _create(node, "ParticipantRegistry", manager)
    rule_book = _create(node, "RuleBook", manager, registry)
    conditions = _create(node, "Conditions", manager, registry)
    ledger = _create(node, "SplitLedger", manager, registry, rule_book, conditions)
    view = _create(node, "LedgerView", ledger)
    house = _create(node, "ClearingHouse", manager, view)
    addresses = (manager, registry, rule_book, conditions, ledger, view, house)
    genesis = node.request("eth_getBlockByNumber", "0x0", False)  # noqa: FBT003 - positional by JSON-RPC
    deployment = Deployment(
        chain_id=int(node.request("eth_chainId"), 16),
        genesis_hash=bytes.fromhex(genesis["hash"][2:]),
        block_number=first_block,
        access_manager=manager,
        participant_registry=registry,
        rule_book=rule_book,
        conditions=conditions,
        split_ledger=ledger,
        ledger_view=view,
        clearing_house=house,
        code_hashes={
            name: keccak(_code(node, address)) for name, address in zip(CONTRACTS, addresses, strict=True)
        },
        compiler="",
    )
    system = System(node, deployment)
    _give_roles(system)
    opened = ([currency.encode() for currency in CURRENCIES], True)
    _must(system.transact(ADMIN, "SplitLedger", "setCurrencies", *opened))
    return system


def _create(node: HandNode, contract: str, *args: Any) -> bytes:
    created = _must(node.transact(ADMIN.address, None, encode_deployment(contract, *args))).created
    if created is None:
        raise AssertionError(f"{contract} has no address")
    return created


def _code(node: HandNode, address: bytes) -> bytes:
    return bytes.fromhex(node.request("eth_getCode", "0x" + address.hex(), "latest")[2:])


def _give_roles(system: System) -> None:
    registry, rule_book = system.deployment.participant_registry, system.deployment.rule_book
    registrar = [selector("ParticipantRegistry", name) for name in REGISTRAR_FUNCTIONS]
    approver = [selector("RuleBook", "approve")]
    joining = [selector("Conditions", name) for name in LEDGER_FUNCTIONS]
    addresses = system.deployment.addresses
    for target, selectors, role in (
        *(
            (addresses[contract], [selector(contract, name) for name in names], GUARDIAN_ROLE)
            for contract, names in GUARDIAN_FUNCTIONS.items()
        ),
        (registry, registrar, REGISTRAR_ROLE),
        (rule_book, approver, RULE_APPROVER_ROLE),
        (addresses["Conditions"], joining, LEDGER_ROLE),
        (
            addresses["SplitLedger"],
            [selector("SplitLedger", name) for name in CLEARING_FUNCTIONS],
            CLEARING_HOUSE_ROLE,
        ),
    ):
        _must(system.transact(ADMIN, "AccessManager", "setTargetFunctionRole", target, selectors, role))
    for role, account in (
        (REGISTRAR_ROLE, REGISTRAR.address),
        (RULE_APPROVER_ROLE, APPROVER.address),
        (ATTESTOR_ROLE, BANK.address),
        (GUARDIAN_ROLE, GUARDIAN.address),
        (GUARDIAN_ROLE, SECOND_GUARDIAN.address),
        (LEDGER_ROLE, addresses["SplitLedger"]),
        (CLEARING_HOUSE_ROLE, addresses["ClearingHouse"]),
        (CLEARING_BANK_ROLE, CLEARING_BANK.address),
    ):
        _must(system.transact(ADMIN, "AccessManager", "grantRole", role, account, 0))


def _must(mined: Mined) -> Mined:
    if mined.error is not None:
        raise mined.error
    return mined
