"""Cycles and payouts are verified: who signed what, what was taken, what became of it, and what the chain holds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from audit.auditing import (
    FORWARDER,
    Slots,
    codes,
    forwarded,
    install_forwarder,
    left,
    lied_to_about,
    mapped,
    only,
    peek,
    poke,
    verified,
    word,
)
from fenzhang.audit.differences import Code
from fenzhang.chain import clearing
from fenzhang.chain.abi import role_bytes
from fenzhang.chain.deployments import save
from fenzhang.chain.views import CLEARING_BANK_ROLE, CLEARING_HOUSE_ROLE
from fenzhang.commands.verify import register
from fenzhang.domain.clearing import IN_TRANSIT, PAID, OutcomeKind, Payout, end_to_end_id, parse_end_to_end_id
from fenzhang.domain.errors import FenzhangError
from support.clearing import Desk
from support.node import Mined
from support.parties import MERCHANT, PAIR, PROMOTER, ident
from support.system import ADMIN, CLEARING_BANK, OUTSIDER
from support.world import World

WALLET = ident("wallet of a bank")[12:]
YES = bytes.fromhex("631626ba7e60e01b5f5260205ff3")
"""Code of a contract account that accepts every signature."""


class House:
    """First slots of the state variables of ClearingHouse."""

    CYCLES = 3
    LAST = 4
    STATES = 5


@pytest.fixture
def desk(world: World) -> Desk:
    """A cycle of two payouts: one was paid, one is in transit. Another cycle pays nothing."""
    capture = world.captured(1_000, rule=PAIR, bindings=(PROMOTER.id, MERCHANT.id))
    world.did(world.split(capture.order_id, 600))
    desk = Desk(world)
    desk.close()
    number = desk.close((MERCHANT, 300), (PROMOTER, 300), (PROMOTER, 1))
    desk.take(number)
    desk.report(number, (0, OutcomeKind.PAID))
    return desk


def cycle_of(desk: Desk) -> bytes:
    """The cycle that pays."""
    return list(desk.payouts)[1]


def payout_of(desk: Desk, index: int) -> bytes:
    number = cycle_of(desk)
    return clearing.payout_id(number, desk.payouts[number][index])


async def test_a_history_of_payouts_holds(desk: Desk) -> None:
    world, number = desk.world, cycle_of(desk)
    report = await verified(world)
    assert report.differences == ()
    assert (report.counts["cycles"], report.counts["payouts"], report.counts["outcomes"]) == (2, 3, 1)
    assert report.counts["payout_states"] == 3
    money = report.currencies["CNY"]
    assert (money.payable, money.in_transit, money.paid, money.held) == (0, 300, 300, 400)
    assert money.is_conserved

    desk.report(number, (0, OutcomeKind.RETURNED), (1, OutcomeKind.FAILED), (1, OutcomeKind.PAID))
    assert desk.take(number).events == []
    world.freeze(PROMOTER)
    desk.take(desk.close((MERCHANT, 300), (PROMOTER, 300)))

    report = await verified(world)

    assert report.differences == ()
    assert (report.counts["cycles"], report.counts["payouts"], report.counts["outcomes"]) == (3, 5, 4)


async def test_a_bank_that_has_lost_its_role_signed_in_its_time(desk: Desk) -> None:
    desk.world.act(ADMIN, "AccessManager", "revokeRole", CLEARING_BANK_ROLE, CLEARING_BANK.address)
    assert (await verified(desk.world)).differences == ()


async def test_payouts_through_another_contract_are_followed_and_said_not_to_show(desk: Desk) -> None:
    world, house = desk.world, desk.world.system.deployment.clearing_house
    install_forwarder(world.node)
    call = desk.report_call(cycle_of(desk), (1, OutcomeKind.FAILED))
    data = clearing.report_call(
        call.cycle_id, call.outcomes, call.payouts, call.proofs, call.bank, call.signature
    )
    mined = world.node.transact(OUTSIDER.address, FORWARDER, forwarded(house, data))
    assert mined.error is None
    report = await verified(world)
    assert codes(report) == {Code.NOT_VERIFIABLE: 1}
    assert report.currencies["CNY"].in_transit == 0


async def test_what_the_contract_does_not_look_at_may_be_anything(desk: Desk) -> None:
    """Padding, bytes behind the calldata, and the amount and path of a payout that is passed over."""
    world, house = desk.world, desk.world.system.deployment.clearing_house

    def send(data: bytes) -> Mined:
        mined = world.node.transact(OUTSIDER.address, house, data)
        assert mined.error is None
        return mined

    capture = world.captured(100)
    world.did(world.release(capture.order_id))
    cycle, payouts = desk.cycle((MERCHANT, 60), (MERCHANT, 40))
    closing = desk.signed(cycle)
    data = clearing.close_cycle_call(cycle, closing.bank, closing.signature)
    assert data.endswith(bytes(31))
    send(data[:-31] + b"\xff" * 31 + b"behind")
    number = clearing.cycle_id("CNY", "standard", 3)
    desk.payouts[number] = payouts
    first, both = desk.take_call(number, 0), desk.take_call(number)
    send(clearing.take_call(number, first.payouts, first.proofs))
    data = clearing.take_call(number, both.payouts, both.proofs)
    offsets = word(2) + word(0x40)
    assert data.count(offsets) == 1
    spoiled = data.replace(word(60), b"\xff" * 32).replace(offsets, word(2) + b"\xee" * 32)
    assert len(send(spoiled).logs) == 2, "the second payout, and its batch"
    report = desk.report_call(number, (0, OutcomeKind.PAID), (1, OutcomeKind.FAILED))
    data = clearing.report_call(
        number, report.outcomes, report.payouts, report.proofs, report.bank, report.signature
    )
    send(data[:-31] + b"\xff" * 31)

    found = await verified(world)

    assert found.differences == ()
    assert (found.currencies["CNY"].paid, found.currencies["CNY"].payable) == (360, 40)


async def test_a_bank_that_is_a_contract_account_is_asked(desk: Desk) -> None:
    world = desk.world
    world.node.set_code(WALLET, YES)
    world.twin.wallets[WALLET] = OUTSIDER.address
    world.act(ADMIN, "AccessManager", "grantRole", CLEARING_BANK_ROLE, WALLET, 0)
    cycle, _ = desk.cycle()
    assert not isinstance(desk.attempt_close(desk.signed(cycle, OUTSIDER, WALLET)), FenzhangError)
    report = await verified(world)
    assert report.differences == ()
    assert report.counts["cycles"] == 3


# ------------------------------------------------------------------------------ what nobody signed


async def test_a_closing_that_no_bank_signed_is_found(desk: Desk) -> None:
    """The role was there only as far as the contract looked."""
    world = desk.world
    slot = mapped(Slots.MANAGER_ROLES, word(CLEARING_BANK_ROLE))
    member = mapped(slot, OUTSIDER.address.rjust(32, b"\0"))
    poke(world, "AccessManager", member, 1)
    world.twin.world.clearing_banks.add(OUTSIDER.address)
    cycle, _ = desk.cycle((MERCHANT, 1))
    assert not isinstance(desk.attempt_close(desk.signed(cycle, OUTSIDER)), FenzhangError)
    poke(world, "AccessManager", member, 0)

    difference = only(await verified(world), Code.SIGNATURE_INVALID)

    assert difference.found == clearing.cycle_id("CNY", "standard", 3)


@pytest.mark.parametrize("what", ["signature", "amount", "proof"])
async def test_what_a_node_says_otherwise_of_a_take_or_a_report_is_found(desk: Desk, what: str) -> None:
    number = cycle_of(desk)
    if what == "signature":
        call = desk.report_call(number, (0, OutcomeKind.PAID))
        truth = call.signature.hex()
        report = await lied_to_about(desk.world, truth, "11" * 32 + truth[64:], "eth_getTransactionByHash")
        assert Code.SIGNATURE_INVALID in codes(report)
        return
    take = desk.take_call(number)
    truth = word(300).hex() if what == "amount" else take.proofs[0][0].hex()
    claim = word(299).hex() if what == "amount" else "22" * 32
    report = await lied_to_about(desk.world, truth, claim, "eth_getTransactionByHash")
    assert {Code.PAYOUT_INVALID, Code.CYCLE_INVALID} & codes(report).keys()


@pytest.mark.parametrize(
    ("truth", "claim"),
    [
        pytest.param(MERCHANT.id.hex(), PROMOTER.id.hex(), id="participant"),
        pytest.param(word(300).hex(), word(200).hex(), id="amount"),
    ],
)
async def test_events_that_tell_otherwise_are_found(desk: Desk, truth: str, claim: str) -> None:
    report = await lied_to_about(desk.world, truth, claim, "eth_getLogs")
    assert Code.PAYOUT_INVALID in codes(report)
    assert Code.BATCH_DIFFERS in codes(report)


async def test_a_cycle_that_is_told_under_another_number_is_found(desk: Desk) -> None:
    cycle = desk.world.twin.world.cycles[cycle_of(desk)]
    truth = role_bytes("standard").hex() + word(cycle.number).hex()
    claim = role_bytes("standard").hex() + word(cycle.number + 1).hex()
    report = await lied_to_about(desk.world, truth, claim, "eth_getLogs")
    assert Code.CYCLE_INVALID in codes(report)


async def test_one_index_for_two_payouts_is_found_when_the_second_is_told_of(desk: Desk) -> None:
    payouts = (Payout(0, MERCHANT.id, 1), Payout(0, PROMOTER.id, 1))
    earned = desk.world.captured(100, rule=PAIR, bindings=(PROMOTER.id, MERCHANT.id))
    desk.world.did(desk.world.split(earned.order_id, 100))
    number = clearing.cycle_id("CNY", "standard", 3)
    root = clearing.payout_root(number, payouts)
    desk.close((MERCHANT, 1), (PROMOTER, 1), payout_root=root)
    desk.payouts[number] = payouts
    desk.take(number, 0)
    assert (await verified(desk.world)).differences == ()
    desk.report(number, (1, OutcomeKind.FAILED))

    report = await verified(desk.world)

    assert only(report, Code.PAYOUT_INVALID).participant == PROMOTER.id


# ------------------------------------------------------------------------------ what the chain holds


async def test_a_changed_cycle_is_found(desk: Desk) -> None:
    slot = mapped(House.CYCLES, cycle_of(desk))
    for offset, change in ((0, 1), (1, 1), (1, 1 << 128), (2, 1 << 24)):
        kept = poke(
            desk.world,
            "ClearingHouse",
            slot + offset,
            peek(desk.world, "ClearingHouse", slot + offset) ^ change,
        )
        assert only(await verified(desk.world), Code.CYCLE).currency == "CNY"
        poke(desk.world, "ClearingHouse", slot + offset, kept)


async def test_a_changed_number_of_the_newest_cycle_is_found(desk: Desk) -> None:
    slot = mapped(House.LAST, left(b"CNY"), role_bytes("standard"))
    poke(desk.world, "ClearingHouse", slot, peek(desk.world, "ClearingHouse", slot) + 1)
    assert only(await verified(desk.world), Code.CYCLE).currency == "CNY"


async def test_a_changed_state_of_a_payout_is_found(desk: Desk) -> None:
    slot = mapped(House.STATES, cycle_of(desk), word(0))
    poke(desk.world, "ClearingHouse", slot, peek(desk.world, "ClearingHouse", slot) ^ 0b1100)
    difference = only(await verified(desk.world), Code.PAYOUT_STATE)
    assert (difference.participant, difference.expected, difference.found) == (
        PROMOTER.id,
        "IN_TRANSIT",
        "PAID",
    )


@pytest.mark.parametrize("position", [IN_TRANSIT, PAID], ids=["in transit", "paid"])
async def test_changed_money_on_its_way_is_found(desk: Desk, position: bytes) -> None:
    slot = mapped(Slots.POSITIONS, left(b"CNY"), position)
    poke(desk.world, "SplitLedger", slot, 299)
    report = await verified(desk.world)
    assert only(report, Code.POSITION).participant == position
    assert Code.CURRENCY_NOT_CONSERVED in codes(report)


async def test_positions_booked_by_another_than_the_clearing_house_are_found(desk: Desk) -> None:
    world = desk.world
    world.act(ADMIN, "AccessManager", "grantRole", CLEARING_HOUSE_ROLE, OUTSIDER.address, 0)
    movements = [(IN_TRANSIT, MERCHANT.id, 300)]
    mined = world.system.transact(OUTSIDER, "SplitLedger", "book", b"CNY", movements, b"\x01" * 32, 1)
    assert mined.error is None
    found = codes(await verified(world))
    assert found[Code.EVENT_UNEXPECTED] == found[Code.BATCH_DIFFERS] == 1
    assert found[Code.POSITION] == 2


# ------------------------------------------------------------------------------ one payout


APP = typer.Typer()
register(APP)


@APP.command("other")
def _other() -> None:
    """A second command, so that `verify` is named on the command line."""


@pytest.fixture
def deployment(world: World, tmp_path: Path) -> Path:
    """The deployment file."""
    path = tmp_path / "deployment.json"
    save(path, world.system.deployment)
    return path


def test_the_life_of_a_payout_is_told_with_its_path_to_the_signed_root(desk: Desk, deployment: Path) -> None:
    number, payout = cycle_of(desk), payout_of(desk, 0)
    arguments = ["verify", "--rpc", desk.world.node.url, "--deployment", str(deployment)]
    text = CliRunner().invoke(APP, [*arguments, "--payout", "0x" + payout.hex()])
    result = CliRunner().invoke(APP, [*arguments, "--payout", "0x" + payout.hex(), "--json"])

    assert (text.exit_code, result.exit_code) == (0, 0), text.output
    for words in (
        "CNY standard number 2",
        "payout 0 of 3: paid",
        "its path leads to the signed root",
        "PAYOUT_PAID",
    ):
        assert words in text.output
    [told] = json.loads(result.stdout)["payouts"]
    root = desk.world.twin.world.cycles[number].payout_root
    assert told["cycle"]["cycle"]["payout_root"] == "0x" + root.hex()
    assert (told["state"], told["under_root"]) == ("PAID", True)
    assert told["payout"]["participant"] == "0x" + MERCHANT.id.hex()
    assert [entry["kind"] for entry in told["records"]] == ["PAYOUT", "PAYOUT_PAID"]
    assert all(entry["proven"] for entry in told["records"])


def test_a_refused_payout_says_why_and_an_unknown_one_exits_with_2(desk: Desk, deployment: Path) -> None:
    arguments = ["verify", "--rpc", desk.world.node.url, "--deployment", str(deployment), "--json"]
    result = CliRunner().invoke(APP, [*arguments, "--payout", "0x" + payout_of(desk, 2).hex()])
    [told] = json.loads(result.stdout)["payouts"]
    assert told["state"] == "ENDED"
    [refused] = told["records"]
    assert (refused["kind"], refused["reason"]["code"]) == ("REJECTION", "insufficient_position")
    unknown = CliRunner().invoke(APP, [*arguments, "--payout", "0x" + "77" * 32])
    assert unknown.exit_code == 2
    assert "no record on the chain names payout" in unknown.stderr
    for malformed in ("77", "0x77", "FZ", "FZ" + "1" * 32, "AB" + "A" * 32):
        assert CliRunner().invoke(APP, [*arguments, "--payout", malformed]).exit_code == 2


def test_a_payout_is_found_by_what_banks_call_it(desk: Desk, deployment: Path) -> None:
    payout = payout_of(desk, 1)
    arguments = ["verify", "--rpc", desk.world.node.url, "--deployment", str(deployment), "--json"]
    result = CliRunner().invoke(APP, [*arguments, "--payout", end_to_end_id(payout)])
    [told] = json.loads(result.stdout)["payouts"]
    assert (told["payout_id"], told["state"]) == ("0x" + payout.hex(), "IN_TRANSIT")
    assert parse_end_to_end_id(end_to_end_id(payout)) == payout[:20]


def test_what_does_not_concern_the_payout_is_counted_elsewhere(desk: Desk, deployment: Path) -> None:
    slot = mapped(House.STATES, cycle_of(desk), word(0))
    poke(desk.world, "ClearingHouse", slot, peek(desk.world, "ClearingHouse", slot) ^ 0b1100)
    arguments = ["verify", "--rpc", desk.world.node.url, "--deployment", str(deployment), "--json"]
    for index, differences in ((0, 0), (1, 1)):
        result = CliRunner().invoke(APP, [*arguments, "--payout", "0x" + payout_of(desk, index).hex()])
        found = json.loads(result.stdout)
        assert (len(found["differences"]), found["differences_elsewhere"]) == (differences, 1 - differences)


async def test_reports_relayed_again_are_no_difference(desk: Desk) -> None:
    call = desk.report_call(cycle_of(desk), (0, OutcomeKind.PAID))
    desk.attempt_report(call)
    desk.attempt_report(replace(call))
    assert (await verified(desk.world)).differences == ()
