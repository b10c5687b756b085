"""An authorization request on its way through the pages: sealed in a cookie, so that nobody can mint rows with it.

Each request has a cookie of its own, and so several tabs do not disturb each other. What does not fit must be pushed.
Spec: DESIGN §7.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from ..core.credential import new_id
from ..core.instant import HOUR, Instant
from ..core.oauth_error import InvalidRequest
from ..ports import Keyring
from ..services.sealing import CannotOpen, open_sealed, seal
from .browser_cookies import FLOW

LIFETIME_IN: Final = HOUR
MAX_COOKIE: Final = 3_500
"""Browsers keep 4,096 characters of a cookie, its name and attributes included."""
MAX_TOGETHER: Final = 6_000
"""All requests of a browser: common proxies refuse a header line of more than 8 KiB."""
PURPOSE: Final = "flow"
_ID: Final = re.compile(r"[0-9A-Za-z]{16}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A request, when it came in, and whether the user has said which account to go on with.

    ``kind`` is what the parameters are of: ``authorize`` or ``logout``; ``is_signed`` says that a client signed them.
    """

    id: str
    begun_at: Instant
    pairs: tuple[tuple[str, str], ...]
    kind: str = "authorize"
    chosen: bool = False
    is_signed: bool = False


def begin(pairs: list[tuple[str, str]], now: Instant, kind: str = "authorize") -> Flow:
    """Return a new flow of these parameters."""
    return Flow(id=new_id(now), begun_at=now, pairs=tuple(pairs), kind=kind)


class Flows:
    """Seals flows into cookies and opens them again."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def seal(self, flow: Flow) -> str:
        """Return the cookie's value; raises ``InvalidRequest`` when the request is too large to travel so."""
        sealed = seal(self._keyring, PURPOSE, msgspec.json.encode(flow), flow.id.encode())
        value = base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()
        if len(value) > MAX_COOKIE:
            raise InvalidRequest("This request is too large for a browser to carry; push it (RFC 9126).")
        return value

    def open(self, cookies: Mapping[str, str], flow_id: str, now: Instant) -> Flow | None:
        """Return the flow of this id that this browser holds, ``None`` when it has none or its time is over."""
        value = cookies.get(FLOW + flow_id, "") if _ID.fullmatch(flow_id) else ""
        if not value:
            return None
        try:
            sealed = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
            flow = msgspec.json.decode(open_sealed(self._keyring, PURPOSE, sealed, flow_id.encode()), type=Flow)
        except (CannotOpen, binascii.Error, ValueError):
            return None
        return flow if now < flow.begun_at + LIFETIME_IN else None


def crowded_out(cookies: Mapping[str, str], keep: str, size: int) -> list[str]:
    """Return the names of the flows that must go, the oldest first, so that a new one of this size finds room."""
    others = sorted(name for name in cookies if name.startswith(FLOW) and name != FLOW + keep)
    going: list[str] = []
    while others and size + sum(len(cookies[name]) for name in others) > MAX_TOGETHER:
        going.append(others.pop(0))
    return going
