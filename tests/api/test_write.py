"""What is written: accepted durably, once per reference, and answered the same way ever after."""

from __future__ import annotations

from support.api import Api, give_back, order, release, split


async def test_order_split_return_and_release_are_accepted(api: Api) -> None:
    for path, body, kind in (
        ("/v1/orders", order(), "CAPTURE"),
        ("/v1/splits", split(), "SPLIT"),
        ("/v1/returns", give_back(), "RETURN"),
        ("/v1/releases", release(), "RELEASE"),
    ):
        answer = await api.mall.post(path, json=body)
        assert answer.status_code == 202, answer.text
        accepted = answer.json()
        assert accepted["state"] == "ACCEPTED"
        assert accepted["type"] == kind
        assert body.items() <= accepted.items()
