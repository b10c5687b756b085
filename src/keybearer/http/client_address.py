"""Who is calling: the peer's address or, behind trusted proxies, the rightmost address that no trusted proxy added.

Never the leftmost entry, which the client writes itself (a defect that Unkey shipped). Nobody is trusted when no proxy
is configured (oauth2-proxy #3506).
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

Address = IPv4Address | IPv6Address
Networks = Sequence[IPv4Network | IPv6Network]

FORWARDED_FOR: Final = b"x-forwarded-for"
MAX_HOPS: Final = 32
MAX_PEERS: Final = 4096
MAX_TEXT: Final = 64
_UNKNOWN: Final = (None, False)


class TrustedProxies:
    """The proxies whose word about the client is believed."""

    def __init__(self, networks: Networks) -> None:
        self._networks = tuple(networks)
        self._peers: dict[str, tuple[Address | None, bool]] = {}

    def trusts(self, peer: str | None) -> bool:
        """Tell whether the peer is a trusted proxy."""
        return self._known(peer)[1]

    def client_address(self, peer: str | None, headers: Sequence[tuple[bytes, bytes]]) -> Address | None:
        """Return the client's address, or ``None`` when it cannot be known.

        A trusted proxy that names no client leaves it unknown; so does an entry that is no address.
        """
        forwarded = [value for name, value in headers if name == FORWARDED_FOR]
        return self.client_behind(peer, b",".join(forwarded) if forwarded else None)

    def client_behind(self, peer: str | None, forwarded: bytes | None) -> Address | None:
        """Like ``client_address``, for the value of ``X-Forwarded-For``, ``None`` where that was not sent."""
        address, trusted = self._known(peer)
        if not trusted:
            return address
        if forwarded is None:
            return None
        hops = forwarded.decode("latin-1").split(",")[-MAX_HOPS:]
        hop: Address | None = None
        for entry in reversed(hops):
            hop, trusted = self._known(_without_port(entry.strip()))
            if hop is None or not trusted:
                return hop
        # Every hop is a trusted proxy: the first one is the client, such as a job on the same machine.
        return hop

    def _known(self, text: str | None) -> tuple[Address | None, bool]:
        if not text or len(text) > MAX_TEXT:
            return _UNKNOWN
        known = self._peers.get(text)
        if known is None:
            if len(self._peers) >= MAX_PEERS:
                self._peers.clear()
            known = self._peers[text] = self._judge(text)
        return known

    def _judge(self, text: str) -> tuple[Address | None, bool]:
        try:
            # A zone (fe80::1%eth0) names an interface of one machine; it may hold any text, and never leaves here.
            address: Address = ip_address(text.partition("%")[0])
        except ValueError:
            return _UNKNOWN
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return address, any(address.version == net.version and address in net for net in self._networks)


def _without_port(text: str) -> str:
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text
