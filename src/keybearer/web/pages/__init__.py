"""The pages that people see: plain HTML forms which work without scripts."""

from __future__ import annotations

from starlette.routing import Route

from ...ports import Limiter
from ...services.authority import Authority
from .. import authorize
from ..client_address import TrustedProxies
from . import account, assets, consent, device, logout, mailbox, security, sessions, sign_in, upstream_sign_in
from .site import Site


def routes(authority: Authority, limiter: Limiter, proxies: TrustedProxies) -> list[Route]:
    """Return the routes of the authorization endpoint and of all pages."""
    site = Site(authority, limiter, proxies)
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
