"""The pages that people see: plain HTML forms which work without scripts."""

from __future__ import annotations

from starlette.routing import Route

from .. import authorize
from . import account, assets, consent, device, logout, mailbox, security, sessions, sign_in, upstream_sign_in
from .site import Site


def routes(site: Site) -> list[Route]:
    """Return the routes of the authorization endpoint and of all pages."""
    return [
        site.route(authorize.PATH, get=authorize.serve, post=authorize.serve),
        site.route(authorize.CONTINUE, get=authorize.carry_on),
        *sign_in.routes(site),
        *upstream_sign_in.routes(site),
        *consent.routes(site),
        *logout.routes(site),
        *mailbox.routes(site),
        *account.routes(site),
        *sessions.routes(site),
        *security.routes(site),
        *device.routes(site),
        assets.route(site.renderer.assets),
    ]
