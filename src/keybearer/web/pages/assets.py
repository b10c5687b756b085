"""The stylesheet, the two small scripts and the logo: public, cached for good under their hash, checked by ETag."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ...settings import Settings
from .colours import style_of

STATIC: Final = Path(__file__).parent.parent / "static"
LOGO_TYPES: Final = {".svg": "image/svg+xml", ".png": "image/png", ".webp": "image/webp"}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file as it is served."""

    body: bytes
    media_type: str
    version: str


def load(settings: Settings) -> dict[str, Asset]:
    """Return the assets by name, with the brand of the settings."""
    style = (STATIC / "pages.css").read_text()
    if settings.brand_colour:
        style += style_of(settings.brand_colour)
    found = {
        "pages.css": _asset(style.encode(), "text/css; charset=utf-8"),
        "passkey.js": _asset((STATIC / "passkey.js").read_bytes(), "text/javascript; charset=utf-8"),
        "form-post.js": _asset((STATIC / "form-post.js").read_bytes(), "text/javascript; charset=utf-8"),
    }
    icon = (STATIC / "icon.svg").read_text()
    if settings.brand_colour:
        icon = icon.replace("#1f4fd8", settings.brand_colour)
    found["icon.svg"] = _asset(icon.encode(), "image/svg+xml")
    if settings.brand_logo:
        logo = Path(settings.brand_logo)
        found["logo"] = _asset(logo.read_bytes(), LOGO_TYPES[logo.suffix.lower()])
    return found


def _asset(body: bytes, media_type: str) -> Asset:
    return Asset(body, media_type, urlsafe_b64encode(sha256(body).digest()[:12]).decode())


def route(assets: dict[str, Asset]) -> Route:
    """Return the route of the assets."""

    async def serve(request: Request) -> Response:
        asset = assets.get(request.path_params["name"])
        if asset is None:
            return Response(b"", 404, {"cache-control": "no-store"})
        is_versioned = request.query_params.get("v") == asset.version
        headers = {
            "etag": f'"{asset.version}"',
            "cache-control": "public, max-age=31536000, immutable" if is_versioned else "public, no-cache",
            "x-content-type-options": "nosniff",
            "cross-origin-resource-policy": "same-origin",
            # An SVG that is opened by itself must not run anything.
            "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'",
        }
        if request.headers.get("if-none-match") == headers["etag"]:
            return Response(b"", 304, headers)
        return Response(asset.body, 200, headers, asset.media_type)

    return Route("/static/{name}", serve, methods=["GET"])
