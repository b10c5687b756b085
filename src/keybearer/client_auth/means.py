"""What the methods of client authentication work with, and what each of them is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cryptography import x509

from ..core.clients import Client, ClientAuthMethod
from ..core.instant import Instant
from ..ports import Keyring, Store
from .presented import Presented

Keys = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Means:
    """Engines and facts.

    ``audiences`` are what a client assertion may be for, ``find_client`` finds a client by the id of its record,
    ``keys_of`` its JWKs, fetched if need be (``True``: again), ``open_secret`` the readable client secret of
    ``client_secret_jwt``.
    """

    keyring: Keyring
    store: Store
    now: Instant
    audiences: frozenset[str]
    find_client: Callable[[str], Awaitable[Client | None]]
    keys_of: Callable[[Client, bool], Awaitable[Keys]]
    open_secret: Callable[[Client, bytes], str]
    authorities: Sequence[x509.Certificate] = ()


class Method(Protocol):
    """One way in which a client proves who it is."""

    @property
    def method(self) -> ClientAuthMethod:
        """Its name in a client's ``token_endpoint_auth_method``."""
        ...

    def is_used(self, presented: Presented) -> bool:
        """Tell whether the request carries a proof of this kind, and no other."""
        ...

    async def proves(self, presented: Presented, client: Client, means: Means) -> bool:
        """Tell whether the request is the client's."""
        ...
