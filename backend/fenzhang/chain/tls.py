"""The TLS settings of HTTP clients, made once: reading the certificates of the authorities takes 20 milliseconds."""

from __future__ import annotations

from functools import cache
from ssl import SSLContext

import httpx


@cache
def tls() -> SSLContext:
    """Httpx's defaults: certificates and names are verified. For `verify=` of every client."""
    return httpx.create_ssl_context()
