"""A platform with a rule and participants, twice: its key in the keystore, and with the client."""

from __future__ import annotations

import secrets

import pytest

from fenzhang.chain.signer import LocalKey
from fenzhang.testing.system import LocalSystem
from support.shops import Shop, open_shop


@pytest.fixture(scope="session")
def keystore_shop(fenzhang_system: LocalSystem) -> Shop:
    return open_shop(fenzhang_system, "keystore-shop", None)


@pytest.fixture(scope="session")
def signing_shop(fenzhang_system: LocalSystem) -> Shop:
    return open_shop(fenzhang_system, "signing-shop", LocalKey(secrets.token_bytes(32)))


@pytest.fixture(params=["keystore", "client"])
def shop(request: pytest.FixtureRequest) -> Shop:
    """A platform for each of the two ways to sign."""
    name = "keystore_shop" if request.param == "keystore" else "signing_shop"
    found: Shop = request.getfixturevalue(name)
    return found
