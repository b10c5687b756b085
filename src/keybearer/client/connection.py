"""Where Keybearer is and how to speak to it: the checked URL, the key, the time limits and the retries."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

import httpx

from .. import __version__
from ..core.secret import Secret


@dataclass(frozen=True, slots=True)
class Retries:
    """How often and how long to try again. Waits double from ``base_in`` to ``longest_in``, with full jitter."""

    attempts: int = 3
    base_in: float = 0.2
    longest_in: float = 5.0
    jitter: Callable[[], float] = random.random

    def wait_before(self, attempt: int, retry_after: float | None) -> float | None:
        """Return the seconds before this attempt (2, 3…), or ``None`` when there should be none."""
        if attempt > self.attempts or (retry_after is not None and retry_after > self.longest_in):
            return None
        backoff = min(self.longest_in, self.base_in * 2.0 ** (attempt - 2)) * self.jitter()
        return max(backoff, retry_after or 0.0)


NO_RETRIES = Retries(attempts=1)


class KeyAuth(httpx.Auth):
    """Put the key into the request at the moment of sending, so that nothing else ever holds it."""

    def __init__(self, key: Secret) -> None:
        self._key = key

    def reveal(self) -> str:
        """Return the key, for telling connections with different keys apart."""
        return self._key.reveal()

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the header. Spec: RFC 6750 §2.1."""
        request.headers["Authorization"] = f"Bearer {self._key.reveal()}"
        yield request


@dataclass(frozen=True, slots=True)
class Connection:
    """A checked address and key. Made by :func:`connect`."""

    url: str
    auth: httpx.Auth | None
    timeout: httpx.Timeout
    retries: Retries
    trust_env: bool


def connect(
    url: str,
    key: str | Secret | None,
    *,
    timeout: float = 10.0,
    retries: Retries | None = None,
    allow_http: bool = False,
) -> Connection:
    """Check the address and the key; raises ``ValueError`` whose text never shows the key.

    Plain ``http`` would show the key to the network: it is refused but for loopback, unless ``allow_http``.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("the URL of Keybearer is not a URL") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("the URL of Keybearer must be like https://keys.example.com")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ValueError("the URL of Keybearer must have no user, password, query or fragment")
    local = _is_loopback(host)
    if parts.scheme == "http" and not local and not allow_http:
        raise ValueError(f"plain http to {host!r} would show the key to the network; use https (or allow_http)")
    return Connection(
        url=url.rstrip("/"),
        auth=None if key is None else KeyAuth(_checked(key)),
        timeout=httpx.Timeout(timeout, connect=min(timeout, 5.0)),
        retries=retries or Retries(),
        # A proxy from the environment must not see what goes to this very machine in the clear.
        trust_env=not local,
    )


def headers() -> dict[str, str]:
    """Return the headers of every request."""
    return {"User-Agent": f"keybearer/{__version__}", "Accept": "application/json"}


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _checked(key: str | Secret) -> Secret:
    text = key.reveal() if isinstance(key, Secret) else key
    # Checked here because an HTTP library's error about an illegal header would quote it.
    if not text or not all("!" <= character <= "~" for character in text):
        raise ValueError("the key is empty or has a character that no key has (a space, a line break?)")
    return Secret(text)
