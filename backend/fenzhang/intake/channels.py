"""Payment channels: where a buyer's money comes in. Only the sandbox is here; it has always received the money.

A channel's bank attests the capture. For the sandbox the keystore key `attestor` does, when the capture is submitted;
a bank with its own key sends its attestation along with the order instead.
"""

from __future__ import annotations

from fenzhang.domain.errors import InvalidInput

SANDBOX_CHANNELS = frozenset({"alipay", "bank-gateway", "sandbox", "unionpay", "wechat"})
"""Names that orders may give for the sandbox."""


def check_channel(field: str, name: str) -> str:
    """Return `name` if it is a channel, else raise InvalidInput naming `field`."""
    if name not in SANDBOX_CHANNELS:
        raise InvalidInput(field, f"a channel is one of {', '.join(sorted(SANDBOX_CHANNELS))}")
    return name
