"""Whether a form came from one of our own pages: a sealed token in it, and what browsers say of where they were.

The token is bound to the browser (a random cookie), to the session and to the form's address, so that it is good
nowhere else and not after a sign-in. Spec: SECURITY-BAR 24, ASVS 3.5, Fetch Metadata.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from typing import Final

from starlette.datastructures import Headers

from ..core.errors import KeybearerError
from ..core.instant import HOUR
from ..ports import Clock, Keyring
from ..services.sealing import CannotOpen, open_sealed, seal

LIFETIME_IN: Final = 12 * HOUR
FIELD: Final = "form_token"
PURPOSE: Final = "form"
_BROWSER: Final = re.compile(r"[A-Za-z0-9_-]{22}", re.ASCII)
_OWN_SITES: Final = frozenset({"same-origin", "none"})


class ForeignForm(KeybearerError):
    """The form did not come from a page of ours that this browser was shown, or its time is over."""


def new_browser() -> str:
    """Return a random name for a browser: 128 bits."""
    return secrets.token_urlsafe(16)


def is_browser(text: str) -> bool:
    """Tell whether this is such a name."""
    return _BROWSER.fullmatch(text) is not None


def require_own_site(headers: Headers, origin: str) -> None:
    """Raise ``ForeignForm`` when the browser says that another site sent this. Browsers that say nothing pass."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        if site not in _OWN_SITES:
            raise ForeignForm("This form was sent by another site.", detail=f"Sec-Fetch-Site: {site[:40]}")
        return
    sent = headers.get("origin")
    if sent is not None and sent not in ("null", origin):
        raise ForeignForm("This form was sent by another site.", detail=f"Origin: {sent[:200]}")


class FormTokens:
    """Issues and checks the tokens."""

    def __init__(self, keyring: Keyring, clock: Clock) -> None:
        self._keyring = keyring
        self._clock = clock

    def issue(self, browser: str, session_id: str, action: str) -> str:
        """Return the token of a form."""
        expires_at = self._clock.now() + LIFETIME_IN
        sealed = seal(self._keyring, PURPOSE, str(expires_at).encode(), _context(browser, session_id, action))
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def check(self, token: str, browser: str, session_id: str, action: str) -> None:
        """Raise ``ForeignForm`` unless this is a living token of this form, browser and session."""
        if not browser:
            raise ForeignForm("Your browser did not send its cookies. Allow cookies for this site, then try again.")
        try:
            sealed = base64.b64decode(token[:500] + "=" * (-len(token[:500]) % 4), b"-_", validate=True)
            expires_at = int(open_sealed(self._keyring, PURPOSE, sealed, _context(browser, session_id, action)))
        except (CannotOpen, binascii.Error, ValueError):
            raise ForeignForm("This page is out of date. Go back, reload it, and try again.") from None
        if self._clock.now() >= expires_at:
            raise ForeignForm("This page is out of date. Go back, reload it, and try again.")


def _context(browser: str, session_id: str, action: str) -> bytes:
    return f"{browser}\n{session_id}\n{action}".encode()
