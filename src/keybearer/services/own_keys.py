"""Finding the API key that somebody trades for a token: its secret is checked, and all that can be checked there."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from ..core.decide import decide
from ..core.instant import Instant
from ..core.records import CredentialKind
from ..core.requirement import Requirement
from ..grants.desk import OwnKey
from ..verify import Verifier

_ACCEPT: Final = frozenset({CredentialKind.SECRET_KEY})


async def find_own_key(verifier: Verifier, text: str, source: IPv4Address | IPv6Address | None, now: Instant) -> OwnKey:
    """Return a secret key that is good here and now; raises ``Rejected``.

    Its address must be right already; for which API, path and method it may be used, the new token inherits.
    """
    requirement = Requirement(accept=_ACCEPT, client_ip=source)
    record, version = await verifier.identify(text, requirement)
    here = replace(record.restrictions, apis=(), methods=(), paths=())
    decide(replace(record, restrictions=here), version, requirement, now)
    return OwnKey(record, version)
