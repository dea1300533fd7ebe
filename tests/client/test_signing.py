"""What the client signs follows from the content alone, and is for one network only."""

from __future__ import annotations

import pytest

from fenzhang.chain.eip712 import authorization_digest, split_ledger_domain
from fenzhang.chain.signer import LocalKey, recover
from fenzhang.client.errors import WrongNetwork
from fenzhang.client.models import Network
from fenzhang.client.signing import DAY_S, PlatformKey, Signer, default_deadline, nonce_of
from fenzhang.domain.identifiers import order_id, split_id
from fenzhang.domain.records import Authorization, Instruction, InstructionKind

KEY = LocalKey(b"\x11" * 32)
PLATFORM = b"\x22" * 32
LEDGER, RULES, CONDITIONS = ("0x" + digits * 20 for digits in ("33", "44", "55"))
NETWORK = Network(
    chain_id=20261, contracts={"SplitLedger": LEDGER, "RuleBook": RULES, "Conditions": CONDITIONS}
)


def _split(reference: str, amount: int = 100) -> Instruction:
    return Instruction(
        kind=InstructionKind.SPLIT,
        id=split_id(PLATFORM, reference),
        order_id=order_id(PLATFORM, "A-1"),
        amount=amount,
    )


def test_the_signature_is_the_keys_over_the_authorization() -> None:
    instructions = (_split("A-1-S1"), _split("A-1-S2"))

    given = Signer.on(NETWORK, KEY, PLATFORM).authorize(instructions, deadline=1_800_000_000)

    signed = Authorization(PLATFORM, int(given["nonce"], 16), 1_800_000_000, instructions)
    digest = authorization_digest(split_ledger_domain(20261, bytes.fromhex(LEDGER[2:])), signed)
    assert recover(digest, bytes.fromhex(given["signature"][2:])) == KEY.address


def test_signing_the_same_again_gives_the_same() -> None:
    signer = Signer.on(NETWORK, KEY, PLATFORM)

    assert signer.authorize([_split("A")], 5) == signer.authorize([_split("A")], 5)


def test_the_nonce_depends_on_content_and_order_and_not_on_the_deadline() -> None:
    signer = Signer.on(NETWORK, KEY, PLATFORM)
    one, two = _split("A"), _split("B")

    assert signer.authorize([one], 5)["nonce"] == signer.authorize([one], 6)["nonce"]
    different = [[one], [two], [one, two], [two, one], [_split("A", 101)]]
    assert len({nonce_of(PLATFORM, instructions) for instructions in different}) == len(different)
    assert nonce_of(PLATFORM, [one]) != nonce_of(b"\x23" * 32, [one])


def test_the_default_deadline_is_one_to_two_days_ahead_and_the_same_all_day() -> None:
    midnight = 20_000 * DAY_S

    assert default_deadline(midnight) == default_deadline(midnight + DAY_S - 1) == midnight + 2 * DAY_S


@pytest.mark.parametrize(
    ("pinned", "said"),
    [
        (PlatformKey(key=KEY, platform="mall", chain_id=1), "the API is for chain 20261, not 1"),
        (
            PlatformKey(key=KEY, platform="mall", ledger="0x" + "55" * 20),
            "the API is for the SplitLedger 0x33",
        ),
    ],
)
def test_another_network_than_the_pinned_one_is_refused(pinned: PlatformKey, said: str) -> None:
    with pytest.raises(WrongNetwork, match=said):
        pinned.check(NETWORK)


def test_a_pinned_network_may_be_written_in_capitals() -> None:
    PlatformKey(key=KEY, platform="mall", chain_id=20261, ledger="0x" + "33".upper() * 20).check(NETWORK)


def test_a_key_does_not_show_its_secret() -> None:
    assert "1111" not in repr(PlatformKey(key=KEY, platform="mall"))
