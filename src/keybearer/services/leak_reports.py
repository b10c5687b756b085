"""Reports of leaks from outside: GitHub's messages, GitLab's revocations, and whoever found something.

Whoever reports has the whole secret, and could use it: acting on that gives nobody a new power. A publishable key is in
a page for all to read, so a report of one only alerts. Imported keys whose hash is slow on purpose are not tried: what
strangers may have computed is bounded.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ..core.errors import ConfigurationError, KeybearerError
from ..core.incidents import Sighting, SourceKind
from ..core.instant import Instant
from ..core.leaks import LeakKind
from ..core.secret import Secret
from ..core.sources import counted_as
from ..wire.leaks import MAX_PLACE, GithubFinding, GithubLabel, GitlabToken, ReportLeaks
from .authority import Authority, Caller
from .leak_finder import find_all
from .leaks import place_of, respond
from .outbox import Postage

log = logging.getLogger(__name__)

POSSESSION: Final = "possession"
GITHUB: Final = "github"
GITLAB: Final = "gitlab"
BURST: Final = 10
EVERY_IN: Final = 30.0
"""Reports from one network: so many at once, then one every so many seconds."""
MIN_TOKEN: Final = 32
TYPES: Final = tuple(f"keybearer_{kind.value}" for kind in LeakKind)
"""What GitLab is told that can be revoked here; the digest alone decides what a token is."""


class Possession:
    """Takes reports from anybody: answered alike and at once, whatever they hold, and looked into afterwards."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._postage = Postage(BURST, EVERY_IN)

    def may_report(self, source: str | None) -> bool:
        """Tell whether one more report is taken from this address, and count it."""
        return self._postage.take(counted_as(source))

    def take(self, caller: Caller, body: ReportLeaks) -> bool:
        """Have a report looked into in the background; false when too much waits already."""
        found = [(Secret(one.credential), one.where) for one in body.findings]

        async def look_into() -> None:
            try:
                await _report(self._authority, caller, found)
            except KeybearerError as error:
                log.warning("a report could not be looked into", extra={"error": error.detail or error.public})

        return self._authority.outbox.later(look_into)


async def from_github(authority: Authority, caller: Caller, found: Sequence[GithubFinding]) -> list[GithubLabel]:
    """Act on a message that GitHub signed, and label each of its tokens: whether it is one of ours."""
    known = await _report(authority, caller, [(Secret(one.token), one.url or "") for one in found])
    return [
        GithubLabel(
            token_hash=base64.b64encode(hashlib.sha256(one.token.encode()).digest()).decode(),
            token_type=one.type,
            label="true_positive" if is_ours else "false_positive",
        )
        for one, is_ours in zip(found, known, strict=True)
    ]


async def from_gitlab(authority: Authority, caller: Caller, found: Sequence[GitlabToken]) -> None:
    """Act on tokens that GitLab wants revoked."""
    await _report(authority, caller, [(Secret(one.token), one.location or "") for one in found])


async def _report(authority: Authority, caller: Caller, found: Sequence[tuple[Secret, str]]) -> list[bool]:
    """Act on credentials that somebody outside has, and return which of them are ours."""
    now = authority.clock.now()
    known = await find_all(authority, [secret for secret, _ in found], with_slow_hashes=False)
    places = [_sighting(caller, where, now) for _, where in found]
    await respond(authority, caller, list(zip(known, places, strict=True)), act=True, by_public=True)
    return [leaked is not None for leaked in known]


def _sighting(caller: Caller, where: str, now: Instant) -> Sighting:
    plain = "".join(character if character.isprintable() else " " for character in where[:MAX_PLACE])
    return Sighting(SourceKind.REPORT, place_of(plain) or caller.actor, now, client_ip=caller.source)


def reporter(kind: str, source: str | None, request_id: str) -> Caller:
    """Return who reports, as the logs name them; they may do nothing but that."""
    return Caller(actor=f"report:{kind}", permissions=frozenset(), source=source, request_id=request_id)


def load_token(path: str) -> Secret | None:
    """Return the secret that is shared with GitLab, ``None`` without a file; raises ``ConfigurationError``."""
    if not path:
        return None
    try:
        text = Path(path).read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"leak_report_token_file: {path} cannot be read: {type(error).__name__}.") from None
    if len(text) < MIN_TOKEN or not text.isprintable() or " " in text:
        raise ConfigurationError(f"leak_report_token_file: {path} must hold {MIN_TOKEN} characters or more, no spaces.")
    return Secret(text)


def holds(authorization: str, token: Secret) -> bool:
    """Tell whether an ``Authorization`` field has the shared secret, bare as GitLab sends it or as a bearer token."""
    scheme, _, rest = authorization.partition(" ")
    presented = rest if scheme.lower() == "bearer" else authorization
    return hmac.compare_digest(presented.strip().encode(), token.reveal().encode())
