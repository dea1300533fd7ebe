"""A platform or a bank whose authority is a contract account (ERC-1271)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import solcx
from eth_abi.abi import encode

from fenzhang.chain.codec import encode_settle
from fenzhang.chain.compile import SETTINGS, find_compiler
from fenzhang.chain.eip712 import authorization_digest
from fenzhang.chain.events import CycleClosed, OrderCaptured, OrderSplit, RuleProposed
from fenzhang.chain.keccak import keccak
from fenzhang.chain.signer import LocalKey
from fenzhang.chain.views import ATTESTOR_ROLE, CLEARING_BANK_ROLE, RULE_APPROVER_ROLE
from fenzhang.domain.clearing import OutcomeKind
from fenzhang.domain.errors import FenzhangError, InvalidSignature
from fenzhang.domain.records import Authorization
from fenzhang.domain.settlement import attestor_signer
from support.clearing import Desk
from support.parties import MALL, MERCHANT, PAIR, RuleRef, ident, party
from support.system import ADMIN, SUBMITTER
from support.world import Settled, World, reason_of

ROOT = Path(__file__).parents[2]
SOURCE = Path(__file__).parent / "solidity" / "Wallets.sol"
OWNER, HEIR = party("owner").key, party("heir").key
Deploy = Callable[..., bytes]
RULE = RuleRef(MALL, ident("rule", "of a wallet"), 1, PAIR.legs)


@pytest.fixture(scope="module")
def wallets() -> dict[str, bytes]:
    """Creation code of the test wallets by name, compiled into memory."""
    request = {
        "language": "Solidity",
        "sources": {SOURCE.name: {"content": SOURCE.read_text(encoding="utf-8")}},
        "settings": {**SETTINGS, "outputSelection": {"*": {"*": ["evm.bytecode.object"]}}},
    }
    output = solcx.compile_standard(request, solc_binary=find_compiler(ROOT).path)
    compiled: dict[str, Any] = output["contracts"][SOURCE.name]
    return {name: bytes.fromhex(contract["evm"]["bytecode"]["object"]) for name, contract in compiled.items()}


@pytest.fixture
def deploy(world: World, wallets: dict[str, bytes]) -> Deploy:
    """Deploys a wallet with one constructor argument."""

    def create(name: str, kind: str, argument: object) -> bytes:
        created = world.node.transact(ADMIN.address, None, wallets[name] + encode([kind], [argument])).created
        assert created is not None
        return created

    return create


@pytest.fixture
def wallet(world: World, deploy: Deploy) -> bytes:
    """The mall's authority from now on: a wallet that accepts what OWNER signs."""
    created = deploy("OwnerWallet", "address", OWNER.address)
    world.register("rotateAuthority", MALL.id, created)
    world.twin.wallets[created] = OWNER.address
    return created


def hand_over(world: World, wallet: bytes, key: LocalKey) -> None:
    data = keccak(b"setOwner(address)")[:4] + encode(["address"], [key.address])
    assert world.node.transact(ADMIN.address, wallet, data).error is None
    world.twin.wallets[wallet] = key.address


@pytest.mark.usefixtures("wallet")
def test_a_wallet_platform_proposes_and_retires_by_its_owners_signature(world: World) -> None:
    [proposed] = world.act(SUBMITTER, "RuleBook", "propose", *world.proposal(RULE, key=OWNER))
    assert isinstance(proposed, RuleProposed)
    assert world.act(SUBMITTER, "RuleBook", "retire", *world.retirement(RULE, OWNER))


@pytest.mark.usefixtures("wallet")
def test_what_the_wallet_does_not_accept_is_refused(world: World) -> None:
    error = world.refused(SUBMITTER, "RuleBook", "propose", *world.proposal(RULE, key=MALL.key))
    assert reason_of(error) == ("RuleBook_InvalidSignature", {"platform": MALL.id})


@pytest.mark.usefixtures("wallet")
def test_a_wallet_platform_authorises_instructions(world: World) -> None:
    order = world.captured()
    settled = world.settle(
        world.authorize(world.split(order.order_id, 100), key=OWNER),
        world.authorize(world.split(order.order_id, 100), key=MALL.key),
    )
    assert settled.only(OrderSplit).amount == 100
    assert settled.refusals == [InvalidSignature(MALL.id)]


def test_a_wallet_that_changes_its_mind_is_asked_at_the_moment_of_settling(
    world: World, wallet: bytes
) -> None:
    order = world.captured()
    signed = world.authorize(world.split(order.order_id, 100), key=OWNER)
    hand_over(world, wallet, HEIR)
    assert world.settle(signed).refusals == [InvalidSignature(MALL.id)]
    hand_over(world, wallet, OWNER)
    assert world.settle(signed).only(OrderSplit).amount == 100


def test_a_wallet_bank_attests(world: World, deploy: Deploy) -> None:
    bank = deploy("OwnerWallet", "address", OWNER.address)
    world.twin.wallets[bank] = OWNER.address
    world.act(ADMIN, "AccessManager", "grantRole", ATTESTOR_ROLE, bank, 0)
    signed = world.attest(world.capture(), key=OWNER, attestor=bank)
    forged = world.attest(world.capture(), key=HEIR, attestor=bank)
    settled = world.settle(signed, forged)
    assert settled.only(OrderCaptured).order_id == signed.captures[0].order_id
    assert settled.refusals == [InvalidSignature(attestor_signer(bank))]


def test_a_wallet_bank_closes_cycles_and_reports(world: World, deploy: Deploy) -> None:
    bank = deploy("OwnerWallet", "address", OWNER.address)
    world.twin.wallets[bank] = OWNER.address
    world.act(ADMIN, "AccessManager", "grantRole", CLEARING_BANK_ROLE, bank, 0)
    world.did(world.release(world.captured(100).order_id))
    desk = Desk(world)
    cycle, payouts = desk.cycle((MERCHANT, 100))
    refused = desk.attempt_close(desk.signed(cycle, HEIR, bank))
    assert isinstance(refused, FenzhangError)
    assert reason_of(refused) == ("ClearingHouse_InvalidSignature", {"bank": bank})
    closed = desk.attempt_close(desk.signed(cycle, OWNER, bank))
    assert isinstance(closed, Settled)
    number = closed.only(CycleClosed).cycle_id
    desk.payouts[number] = payouts
    desk.take(number)
    report = replace(desk.report_call(number, (0, OutcomeKind.PAID)), bank=bank)
    assert isinstance(desk.attempt_report(desk.signed_report(report, HEIR)), FenzhangError)
    assert isinstance(desk.attempt_report(desk.signed_report(report, OWNER)), Settled)
    assert desk.moving() == (0, 100)


def test_a_wallet_platform_with_the_role_does_not_approve_its_own_rule(world: World, wallet: bytes) -> None:
    world.act(ADMIN, "AccessManager", "grantRole", RULE_APPROVER_ROLE, wallet, 0)
    world.act(SUBMITTER, "RuleBook", "propose", *world.proposal(RULE, key=OWNER))
    world.node.impersonate(wallet)
    error = world.refused(wallet, "RuleBook", "approve", *world.approval(RULE))
    assert reason_of(error) == ("RuleBook_ApproverIsAuthority", {"approver": wallet})


HABITS = {
    "reverts": 0,
    "answers nothing": 1,
    "answers too little": 2,
    "answers with dirt behind the magic value": 3,
    "burns all its gas": 4,
}


@pytest.mark.parametrize("habit", HABITS.values(), ids=HABITS)
def test_an_authorization_is_refused_alone_when_its_wallet(world: World, deploy: Deploy, habit: int) -> None:
    order, theirs = world.captured(), world.capture()
    odd = party("odd")
    wallet = deploy("OddWallet", "uint8", habit)
    world.register("enroll", odd.id, wallet)
    world.twin.wallets[wallet] = bytes(20)
    settled = world.settle(
        world.attest(theirs),
        world.authorize(world.split(order.order_id, 50), platform=odd),
        world.authorize(world.split(order.order_id, 100)),
    )
    assert settled.refusals == [InvalidSignature(odd.id)]
    assert settled.only(OrderSplit).amount == 100
    assert settled.only(OrderCaptured).order_id == theirs.order_id


@pytest.fixture
def greedy(world: World, deploy: Deploy) -> Authorization:
    """Signed by a platform whose wallet says yes as long as it has nearly all of its allowance of gas."""
    wallet = deploy("OddWallet", "uint8", 5)
    world.register("rotateAuthority", MALL.id, wallet)
    world.twin.wallets[wallet] = OWNER.address
    return world.authorize(world.split(world.captured().order_id, 100), key=OWNER)


def test_a_wallet_has_its_allowance_of_gas_or_the_transaction_reverts(
    world: World, greedy: Authorization
) -> None:
    """No relayer makes a wallet refuse, whatever gas it gives."""
    call = world.complete([greedy])
    data = encode_settle(call.attestations, call.authorizations, call.witnesses, call.order_index)
    ledger = world.system.deployment.split_ledger
    seen = set()
    for gas_limit in range(220_000, 350_000, 3_000):
        saved = world.node.snapshot()
        mined = world.node.transact(SUBMITTER.address, ledger, data, gas_limit=gas_limit)
        seen.add((mined.error.contract_error or "out of gas") if mined.error else len(mined.logs))
        world.node.revert(saved)
    assert seen == {"SplitLedger_GasTooLow", "out of gas", 2}, "a split and its batch; a refusal is one event"
    assert world.settle(greedy).only(OrderSplit).amount == 100


def test_anybody_may_ask_as_settle_does(world: World, greedy: Authorization) -> None:
    wallet = world.twin.world.authority_of(MALL.id)
    digest = authorization_digest(world.domain, greedy)
    question = ("ParticipantRegistry", "isWalletSignature", wallet, digest, greedy.signature)
    assert world.system.call(*question) is True
    world.node.set_code(wallet, b"")
    assert world.system.call(*question) is False


def test_an_address_without_code_and_without_a_key_signs_nothing(world: World) -> None:
    world.register("rotateAuthority", MALL.id, ident("nobody's address")[12:])
    order = world.captured()
    assert world.settle(world.authorize(world.split(order.order_id, 100))).refusals == [
        InvalidSignature(MALL.id)
    ]
    assert world.position(MERCHANT) == 0
