"""How a page becomes an answer: templates that escape everything, and headers that let nothing foreign in.

Spec: ASVS 3.4, SECURITY-BAR 6.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from ...core.errors import InvalidInput
from ...core.instant import MINUTE, Instant
from ...settings import Settings
from . import assets

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES: Final = Path(__file__).parent.parent / "templates"
_SOURCE: Final = re.compile(r"[a-z][a-z0-9+.-]*:(?://[A-Za-z0-9._\-\[\]:]+)?", re.ASCII)


class Renderer:
    """Renders the templates of one authority; jinja2 is loaded with the first page."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.assets = assets.load(settings)
        self.base_path = urlsplit(settings.issuer_url).path.rstrip("/")
        self.is_secure = settings.issuer_url.startswith("https:")

    def path(self, path: str) -> str:
        """Return where one of our own paths is for browsers, below the issuer's path. Never of a ``Host`` header."""
        return self.base_path + path

    def asset(self, name: str) -> str:
        """Return where an asset is, with its hash."""
        return self.path(f"/static/{name}?v={self.assets[name].version}")

    @cached_property
    def _environment(self) -> Environment:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        environment = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        settings = self._settings
        environment.globals.update(
            path=self.path,
            asset=self.asset,
            brand=settings.brand_name,
            has_logo=bool(settings.brand_logo),
            links=tuple(
                (label, url)
                for label, url in (
                    ("Help", settings.brand_support_url),
                    ("Privacy", settings.brand_privacy_url),
                    ("Terms", settings.brand_terms_url),
                )
                if url
            ),
        )
        environment.filters["moment"] = moment
        return environment

    def render(self, template: str, values: Mapping[str, Any], token: Callable[[str], str]) -> bytes:
        """Return a page. ``token`` gives the hidden field with the form token for the path that a form is sent to."""
        from markupsafe import Markup

        def form_token(action: str) -> Markup:
            return Markup(token(action))  # noqa: S704 - of base64url and our own markup only

        return self._environment.get_template(template).render({**values, "form_token": form_token}).encode()

    def headers(
        self, *, form_targets: Iterable[str] = (), image_sources: Iterable[str] = (), scripts: bool = False
    ) -> dict[str, str]:
        """Return the headers of a page.

        ``form_targets`` are CSP sources that a form may lead to besides ourselves, ``image_sources`` those of pictures.
        """
        # Chromium holds every redirect after a form against form-action, also those that the client answers with: one
        # that is a broker itself sends the browser on to an application of its own, wherever that is.
        anywhere = ("https:" if source.startswith("https://") else source for source in form_targets)
        targets, images = _sources(anywhere), _sources(image_sources)
        policy = [
            "default-src 'none'",
            "style-src 'self'",
            f"img-src 'self' {images}".rstrip(),
            f"form-action 'self' {targets}".rstrip(),
            "frame-ancestors 'none'",
            "base-uri 'none'",
            *(["script-src 'self'"] if scripts else []),
        ]
        headers = {
            "content-type": "text/html; charset=utf-8",
            "cache-control": "no-store",
            "content-security-policy": "; ".join(policy),
            "x-frame-options": "DENY",
            "x-content-type-options": "nosniff",
            # Not "no-referrer": with that, browsers send our own forms with "Origin: null".
            "referrer-policy": "same-origin",
            "cross-origin-resource-policy": "same-origin",
            "x-robots-tag": "noindex",
        }
        if self.is_secure:
            headers["strict-transport-security"] = "max-age=31536000"
        return headers


def _sources(found: Iterable[str]) -> str:
    return " ".join(source for source in found if _SOURCE.fullmatch(source))


def moment(instant: Instant) -> str:
    """Return an instant to the minute, as people read it, in UTC."""
    from datetime import UTC, datetime

    try:
        at = datetime.fromtimestamp(instant // MINUTE * 60, UTC)
    except (OverflowError, ValueError, OSError) as error:
        raise InvalidInput.of("time", "lies too far away") from error
    return at.strftime("%-d %B %Y, %H:%M UTC")
