"""The one way out: an HTTP client that cannot be talked into reaching what only this machine can reach.

A name is resolved once, every address it has must be public, and the connection goes to the address that was checked
(DNS rebinding). ``https`` only, no redirects, no proxy, no credentials in the URL, bounded in time and size.
Private networks are reached only where the operator names them. Spec: OWASP API7, RFC 7591 §5, SECURITY-BAR 27.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, urlencode, urlsplit

from .core.errors import Unreachable
from .ports import Fetched

if TYPE_CHECKING:
    import httpx

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

TIMEOUT: Final = 5.0
"""Seconds for one fetch, from the look-up of the name to the last byte."""

MAX_URL: Final = 2048
MAX_AT_ONCE: Final = 16
FORM_TYPE: Final = "application/x-www-form-urlencoded"
NO_HEADERS: Final[Mapping[str, str]] = {}

_SPECIAL: Final = tuple(
    ip_network(text)
    for text in (
        "64:ff9b::/96",  # NAT64, and for local use
        "64:ff9b:1::/48",
        "::/96",  # IPv4 in the older spellings
        "::ffff:0:0:0/96",
        "fec0::/10",  # private networks until 2004
        "192.0.0.0/24",  # protocols' own, and metadata of clouds
        "192.88.99.0/24",  # relays of 6to4
        "3fff::/20",  # documentation
        "5f00::/16",  # segment routing
    )
)
"""What ``is_global`` lets pass and is not the public Internet, or leads back into a private network."""

_PRINTABLE: Final = re.compile(r"[\x21-\x7e]+", re.ASCII)
_MAX_AGE: Final = re.compile(r"(?:^|,)\s*max-age=(\d{1,9})", re.ASCII | re.IGNORECASE)


class GuardedFetcher:
    """Implements ``ports.Fetcher``. ``allowed`` are networks that may be reached although they are not public.

    ``ca`` is a PEM file of certificate authorities that are believed besides the public ones.
    """

    def __init__(self, allowed: Iterable[Network] = (), *, ca: str = "", tls: ssl.SSLContext | None = None) -> None:
        self._allowed = tuple(allowed)
        self._ca = ca
        self._tls = tls
        self._few = asyncio.Semaphore(MAX_AT_ONCE)

    async def get(
        self,
        url: str,
        *,
        accept: str = "application/json",
        headers: Mapping[str, str] = NO_HEADERS,
        limit: int = 65_536,
    ) -> Fetched:
        """Return what the URL answers; raises ``Unreachable``."""
        return await self._fetch("GET", url, {**headers, "accept": accept}, b"", limit)

    async def post_form(
        self, url: str, form: Mapping[str, str], headers: Mapping[str, str] = NO_HEADERS, *, limit: int = 65_536
    ) -> Fetched:
        """Post a form, once, and return what the URL answers; raises ``Unreachable``."""
        return await self.post(url, urlencode(form).encode("ascii"), FORM_TYPE, headers, limit=limit)

    async def post(
        self,
        url: str,
        content: bytes,
        content_type: str,
        headers: Mapping[str, str] = NO_HEADERS,
        *,
        limit: int = 65_536,
    ) -> Fetched:
        """Post bytes, once, and return what the URL answers; raises ``Unreachable``."""
        sent = {"accept": "application/json", **headers, "content-type": content_type}
        return await self._fetch("POST", url, sent, content, limit)

    async def _fetch(self, method: str, url: str, headers: Mapping[str, str], content: bytes, limit: int) -> Fetched:
        parts = checked_url(url)
        try:
            async with asyncio.timeout(TIMEOUT), self._few:
                address = await self._resolve(parts)
                return await self._send(method, parts, address, headers, content, limit)
        except TimeoutError:
            raise Unreachable("The URL did not answer in time.", detail=url) from None

    async def _resolve(self, parts: SplitResult) -> Address:
        host = parts.hostname or ""
        try:
            return self._checked([ip_address(host)])
        except ValueError:
            pass
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, parts.port or 443, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise Unreachable("The name in the URL cannot be resolved.", detail=host) from None
        return self._checked([ip_address(str(info[4][0])) for info in found])

    def _checked(self, addresses: Sequence[Address]) -> Address:
        """Return the first address; raises ``Unreachable`` when any of them may not be reached."""
        if not addresses or not all(self.may_reach(address) for address in addresses):
            raise Unreachable("The URL points into a network that may not be reached.")
        return addresses[0]

    def may_reach(self, address: Address) -> bool:
        """Tell whether an address is public, or in a network that the operator named."""
        if isinstance(address, IPv6Address):
            inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
            if inner is not None:
                return self.may_reach(inner)
        if any(address.version == network.version and address in network for network in self._allowed):
            return True
        is_special = any(address.version == network.version and address in network for network in _SPECIAL)
        return address.is_global and not address.is_multicast and not is_special

    async def _send(
        self,
        method: str,
        parts: SplitResult,
        address: Address,
        headers: Mapping[str, str],
        content: bytes,
        limit: int,
    ) -> Fetched:
        import httpx  # loaded when it is first needed: start-up is short

        host = f"[{address}]" if isinstance(address, IPv6Address) else str(address)
        port = parts.port or 443
        target = httpx.URL(scheme="https", host=host.strip("[]"), port=port, raw_path=_raw_path(parts))
        sent = {**headers, "host": parts.netloc, "accept-encoding": "identity", "user-agent": "Keybearer"}
        extensions = {"sni_hostname": parts.hostname or ""}
        try:
            async with (
                httpx.AsyncClient(verify=self._context(), trust_env=False, follow_redirects=False) as client,
                client.stream(
                    method, target, content=content or None, headers=sent, timeout=TIMEOUT, extensions=extensions
                ) as response,
            ):
                return await _bounded(response, limit)
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError) as error:
            raise Unreachable("The URL does not answer.", detail=f"{parts.netloc}: {type(error).__name__}") from None

    def _context(self) -> ssl.SSLContext:
        """Return whom this fetcher believes: made once, since reading all the public authorities takes a while."""
        if self._tls is None:
            import httpx

            self._tls = httpx.create_ssl_context(trust_env=False)
            if self._ca:
                self._tls.load_verify_locations(cafile=self._ca)
        return self._tls


def checked_url(url: str) -> SplitResult:
    """Return the parts of a URL that may be fetched; raises ``Unreachable``."""
    if len(url) > MAX_URL or _PRINTABLE.fullmatch(url) is None:
        raise Unreachable("The URL is too long, or has characters that a URL cannot have.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Unreachable("The URL cannot be read.") from None
    if parts.scheme != "https" or not parts.hostname or parts.username is not None or parts.password is not None:
        raise Unreachable("Only https URLs without credentials are fetched.")
    if port == 0 or "\\" in url:
        raise Unreachable("The URL cannot be read.")
    return parts


async def _bounded(response: httpx.Response, limit: int) -> Fetched:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise Unreachable("The answer is compressed, which was not asked for.")
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > limit:
            raise Unreachable("The answer is larger than it may be.")
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    age = _MAX_AGE.search(response.headers.get("cache-control", ""))
    return Fetched(response.status_code, media_type, bytes(body), int(age[1]) if age is not None else None)


def _raw_path(parts: SplitResult) -> bytes:
    path = parts.path or "/"
    return (f"{path}?{parts.query}" if parts.query else path).encode("ascii")
