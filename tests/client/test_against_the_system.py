"""Both clients against everything real: signed by the keystore or by the client, it comes to the same."""

from __future__ import annotations

import secrets

import pytest

from fenzhang.chain.signer import LocalKey
from fenzhang.client import (
    Client,
    Conflict,
    Credentials,
    Instruction,
    InstructionType,
    InvalidRequest,
    NewInstruction,
    NewRelease,
    NewReturn,
    NewRule,
    NewSplit,
    NotFound,
    Refused,
    State,
    Unauthenticated,
    WaitTimeout,
    WrongNetwork,
)
from fenzhang.domain.rules import RuleTerms
from fenzhang.testing.system import LocalSystem
from support.shops import FEE, Shop

pytestmark = [pytest.mark.node, pytest.mark.slow]
CAPTURE, SPLIT, RELEASE, RETURN = (
    InstructionType.CAPTURE,
    InstructionType.SPLIT,
    InstructionType.RELEASE,
    InstructionType.RETURN,
)


def test_an_order_from_capture_to_release(shop: Shop) -> None:
    order = shop.order(1_000)
    no = order.out_order_no
    with shop.client() as client:
        assert client.create_order(order).state is State.ACCEPTED
        client.split(NewSplit(out_split_no=f"{no}-S", out_order_no=no, amount=700))
        client.return_(NewReturn(out_return_no=f"{no}-B", out_split_no=f"{no}-S", amount=70))
        client.release(NewRelease(out_release_no=f"{no}-R", out_order_no=no))

        assert client.wait_for(RELEASE, f"{no}-R").state is State.SETTLED
        split = client.wait_for(SPLIT, f"{no}-S")
        found = client.get_order(no)

    assert split.allocations is not None
    assert [(leaf.out_participant_no, leaf.amount, leaf.returned) for leaf in split.allocations] == [
        (shop.name, 70, 7),
        ("promoter-1", 140, 14),
        ("merchant-1", 490, 49),
    ]
    assert (found.captured, found.split, found.returned, found.released, found.held) == (
        1_000,
        700,
        70,
        370,
        0,
    )
    assert [instruction.state for instruction in found.instructions] == [State.SETTLED] * 4


async def test_the_same_for_asyncio_in_one_request(shop: Shop) -> None:
    order = shop.order(1_000)
    no = order.out_order_no
    items: list[NewInstruction] = [
        order,
        NewSplit(out_split_no=f"{no}-S", out_order_no=no, amount=700),
        NewRelease(out_release_no=f"{no}-R", out_order_no=no),
    ]
    async with shop.async_client() as client:
        before = (await client.completions(0, limit=1_000)).next
        answers = await client.submit(items)
        found = await client.wait_all([(item.type, item.reference) for item in items], after=before)
        again = await client.submit(items)

    assert [answer.state for answer in answers if isinstance(answer, Instruction)] == [State.ACCEPTED] * 3
    assert {key: completion.state for key, completion in found.items()} == {
        (CAPTURE, no): State.SETTLED,
        (SPLIT, f"{no}-S"): State.SETTLED,
        (RELEASE, f"{no}-R"): State.SETTLED,
    }
    assert [answer.state for answer in again if isinstance(answer, Instruction)] == [State.SETTLED] * 3


def test_the_chains_reason_of_a_rejection(shop: Shop) -> None:
    order = shop.order(1_000)
    no = order.out_order_no
    with shop.client() as client:
        client.create_order(order)
        client.split(NewSplit(out_split_no=f"{no}-S", out_order_no=no, amount=1_001))

        found = client.wait_for(SPLIT, f"{no}-S")

    assert found.state is State.REJECTED
    assert found.reason is not None
    assert found.reason.code == "insufficient_held"
    assert found.reason.values["held"] == 1_000


def test_a_role_that_the_order_left_open_is_bound_by_the_split(shop: Shop) -> None:
    order = shop.order(1_000, promoter=None)
    no = order.out_order_no
    with shop.client() as client:
        client.create_order(order)
        with pytest.raises(Conflict) as unbound:
            client.split(NewSplit(out_split_no=f"{no}-S", out_order_no=no, amount=500))
        bound = {"promoter": "promoter-1"}
        client.split(NewSplit(out_split_no=f"{no}-S", out_order_no=no, amount=500, bindings=bound))

        found = client.wait_for(SPLIT, f"{no}-S")

    assert unbound.value.code == "role_not_bound"
    assert found.allocations is not None
    assert [leaf.amount for leaf in found.allocations] == [50, 100, 350]


def test_another_request_under_a_known_reference_is_a_conflict(shop: Shop) -> None:
    order = shop.order(1_000)
    no = order.out_order_no
    with shop.client() as client:
        client.create_order(order)
        first = client.split(NewSplit(out_split_no=f"{no}-S", out_order_no=no, amount=10))
        same = client.split(NewSplit(out_split_no=f"{no}-S", out_order_no=no, amount=10))

        with pytest.raises(Conflict) as conflict:
            client.split(NewSplit(out_split_no=f"{no}-S", out_order_no=no, amount=11))

    assert first.id == same.id
    assert conflict.value.code == "reference_conflict"
    assert conflict.value.values["reference"] == f"{no}-S"


def test_a_batch_of_the_keystores_platform_answers_each_item(keystore_shop: Shop) -> None:
    order = keystore_shop.order(1_000)
    no = order.out_order_no
    with keystore_shop.client() as client:
        first, second, third = client.submit(
            [
                order,
                NewSplit(out_split_no=f"{no}-S", out_order_no="unheard-of", amount=1),
                NewSplit(out_split_no=f"{no}-T", out_order_no=no, amount=1),
            ]
        )

    assert isinstance(first, Instruction)
    assert isinstance(second, Refused)
    assert (second.code, second.status) == ("unknown_order", 404)
    assert isinstance(third, Instruction)


def test_a_signed_batch_is_all_or_nothing_and_names_the_item(signing_shop: Shop) -> None:
    order = signing_shop.order(1_000)
    no = order.out_order_no
    good = NewSplit(out_split_no=f"{no}-S", out_order_no=no, amount=1)
    bad = NewSplit(out_split_no=f"{no}-T", out_order_no=no, amount=0)
    unknown = NewReturn(out_return_no=f"{no}-B", out_split_no="unheard-of", amount=1)
    with signing_shop.client() as client:
        with pytest.raises(InvalidRequest) as malformed:
            client.submit([order, good, bad])
        with pytest.raises(NotFound) as missing:
            client.submit([order, unknown])
        with pytest.raises(NotFound):
            client.get_order(no)

    assert (malformed.value.code, malformed.value.values["item"]) == ("invalid_amount", 2)
    assert (missing.value.code, missing.value.values["item"]) == ("unknown_split", 1)


def test_a_key_that_is_not_the_platforms_signs_nothing(signing_shop: Shop) -> None:
    order = signing_shop.order()
    with signing_shop.client(LocalKey(secrets.token_bytes(32))) as client:
        client.create_order(order)
        with pytest.raises(WrongNetwork, match="signing-shop signs with 0x"):
            client.release(NewRelease(out_release_no="never", out_order_no=order.out_order_no))


def test_a_signed_rule_is_retired_with_a_signature(signing_shop: Shop, fenzhang_system: LocalSystem) -> None:
    with signing_shop.client() as client:
        assert fenzhang_system.put_rule_in_force(client, signing_shop.name, "short-lived", FEE) == 1
        client.retire_rule("short-lived", "retire-short-lived")
        client.wait_for(InstructionType.RETIRE, "retire-short-lived")

        assert client.get_rule("short-lived").retired


def test_signed_terms_are_shown_with_the_version(signing_shop: Shop) -> None:
    terms = RuleTerms(2_500, may_owe=True)
    rule = NewRule(out_request_no="capped-1", out_rule_no="capped", legs=FEE, terms=terms, version=1)
    with signing_shop.client() as client:
        client.propose_rule(rule)
        client.wait_for(InstructionType.PROPOSE, "capped-1")

        [version] = client.get_rule("capped").versions
    assert (version.state, version.terms) == ("PROPOSED", terms)


def test_a_dry_run_agrees(keystore_shop: Shop) -> None:
    with keystore_shop.client() as client:
        quoted = client.quote(999, rule="fee")

    assert quoted.agree
    assert quoted.python.leaves == (99, 199, 701)


def test_positions_and_trial_balance(keystore_shop: Shop, fenzhang_system: LocalSystem) -> None:
    order = keystore_shop.order(1_000)
    no = order.out_order_no
    with keystore_shop.client() as client, fenzhang_system.operator() as operator:
        before = {(p.out_participant_no, p.currency): p.amount for p in client.list_positions()}
        client.submit([order, NewRelease(out_release_no=f"{no}-R", out_order_no=no)])
        client.wait_for(RELEASE, f"{no}-R")
        after = {(p.out_participant_no, p.currency): p.amount for p in client.list_positions()}
        balance = operator.get_trial_balance()

    merchant = ("merchant-1", "CNY")
    assert after[merchant] - before.get(merchant, 0) == 1_000
    [cny] = [total for total in balance.totals if total.currency == "CNY"]
    assert cny.debit == cny.credit > 0


def test_a_participant_is_suspended_and_resumed(keystore_shop: Shop) -> None:
    with keystore_shop.client() as client:
        client.enrol_participant("suspect")
        client.wait_for(InstructionType.ENROLL, "suspect")
        client.suspend_participant("suspect", "suspend-1")
        client.wait_for(InstructionType.SUSPEND, "suspend-1")
        suspended = client.get_participant("suspect").status
        client.resume_participant("suspect", "resume-1")
        client.wait_for(InstructionType.RESUME, "resume-1")

        assert (suspended, client.get_participant("suspect").status) == ("SUSPENDED", "ACTIVE")
        assert {"suspect", "merchant-1", keystore_shop.name} <= {
            found.out_participant_no for found in client.list_participants()
        }


def test_waiting_ends(keystore_shop: Shop) -> None:
    with keystore_shop.client() as client:
        with pytest.raises(NotFound):
            client.wait_for(SPLIT, "unheard-of", timeout_s=0.1)
        with pytest.raises(WaitTimeout, match=r"1 of 1 are undecided after 0\.2 s"):
            client.wait_all([(RETURN, "unheard-of")], timeout_s=0.2)


def test_a_wrong_secret_is_named(fenzhang_system: LocalSystem) -> None:
    nobody = Credentials("app_nobody", "wrong")
    with Client(fenzhang_system.api, nobody) as client, pytest.raises(Unauthenticated) as error:
        client.get_network()

    assert error.value.code == "invalid_client"


def test_readiness_can_be_asked_for_without_credentials(fenzhang_system: LocalSystem) -> None:
    with Client(fenzhang_system.api) as there, Client("http://127.0.0.1:9") as nowhere:
        assert there.is_ready()
        assert not nowhere.is_ready()
