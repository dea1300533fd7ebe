"""Where a node is: its URL, checked, and what of it may be shown."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

import httpx

from fenzhang.chain.errors import NodeUnavailable

_LAST_PORT = 65_535


@dataclass(frozen=True, slots=True)
class NodeUrl:
    """A node's URL without user and password, which `auth` has."""

    url: httpx.URL
    auth: tuple[str, str] | None
    name: str
    """The address as it may be shown: no user, password, path or query."""

    @classmethod
    def parse(cls, text: str) -> NodeUrl:
        """Raises NodeUnavailable for what is no URL of a node."""
        try:
            url = httpx.URL(text)
        except httpx.InvalidURL:
            raise NodeUnavailable("the URL of the node is malformed") from None
        if url.scheme not in {"http", "https"} or not url.host:
            raise NodeUnavailable("the URL of a node begins with http:// or https:// and names a host")
        if url.port is not None and not 0 < url.port <= _LAST_PORT:
            raise NodeUnavailable(f"the URL of a node has a port within 1 to {_LAST_PORT}, not {url.port}")
        auth = (url.username, url.password) if url.username or url.password else None
        name = f"{url.scheme}://{url.netloc.decode('ascii').rpartition('@')[2]}"
        return cls(url.copy_with(username=None, password=None), auth, name)

    @property
    def is_local(self) -> bool:
        """Whether the node is on this very machine."""
        try:
            return ip_address(self.url.host).is_loopback
        except ValueError:
            return self.url.host == "localhost"
