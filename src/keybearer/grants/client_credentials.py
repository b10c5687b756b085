"""``client_credentials``: a client acts for itself. Spec: RFC 6749 §4.4."""

from __future__ import annotations

from functools import partial
from typing import Final

from ..core import authorization_details, scopes
from ..core.clients import GrantType
from ..core.oauth_error import InvalidScope, InvalidTarget, UnauthorizedClient
from ..core.target import choose_api, scopes_at
from ..core.tokens import IDENTITY_SCOPES
from .desk import Desk, Entitlement, Issued, TokenRequest


class ClientCredentials:
    """The grant."""

    grant_type: Final = GrantType.CLIENT_CREDENTIALS

    async def redeem(self, request: TokenRequest, desk: Desk) -> Issued:
        """Issue a token to the client itself, never a refresh token (RFC 6749 §4.4.3)."""
        issued = desk.draft(self.entitled(request), request)
        if issued.opaque is not None:
            # No entry in the audit log: there are too many of these. They are counted under the client instead.
            await desk.store.transact(partial(desk.keep, issued=issued, request=request, audited=False))
        return issued

    def entitled(self, request: TokenRequest) -> Entitlement:
        """Return what the client may have; raises ``OAuthError``."""
        client, form = request.client, request.form
        if client.is_public:
            raise UnauthorizedClient("A public client cannot act for itself: it proves nothing.")
        asked = scopes.parse(form.get("scope"))
        if not IDENTITY_SCOPES.isdisjoint(asked):
            raise InvalidScope("A client that acts for itself has no user: leave openid and its like out of the scope.")
        if not set(client.scopes).issuperset(asked):
            raise InvalidScope("The scope is more than this client may ask for.")
        wanted = asked or tuple(scope for scope in client.scopes if scope not in IDENTITY_SCOPES)
        api = choose_api(request.apis, form.all("resource"), wanted)
        granted = scopes_at(api, wanted)
        if asked and len(granted) != len(asked):
            raise InvalidScope("The API does not understand the whole scope.")
        details = authorization_details.parse(
            form.get("authorization_details"), request.apis if api is None else (api,)
        )
        if details and api is None:
            raise InvalidTarget("Say which API the token is for, with the resource parameter.")
        return Entitlement(
            client=client,
            project=request.project,
            subject=client.client_id,
            scopes=granted,
            api=api,
            selected_details=details,
            key_thumbprint=request.key_thumbprint,
            certificate_thumbprint=request.certificate_thumbprint,
        )


GRANT: Final = ClientCredentials()
