"""Introspection: what a token is, said to those who may know. Spec: RFC 7662, RFC 9701, SECURITY-BAR 15.

Who may know: a confidential client about tokens of its own project, and a service key with ``keybearer:verify`` about
those of its project (of the authority's own: about all). Anybody else's token is answered like an unknown one.
Asking takes nothing from limits or credits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from ..core import own_api, scopes
from ..core.clients import Client
from ..core.decide_token import decide_token
from ..core.errors import Rejected
from ..core.instant import SECOND
from ..core.oauth_error import InsufficientScope, InvalidClient, InvalidToken
from ..core.principal import Principal
from ..core.records import NO_RESTRICTIONS, Api, CredentialKind, State
from ..core.requirement import Requirement
from ..core.tokens import TokenFamily, TokenRecord
from ..grants.standing import stands
from ..ports import NotReady
from ..verify import Verifier
from . import jwt_tokens
from .authority import Authority
from .client_authentication import Address, ClientAuthentication, OAuthRequest
from .own_tokens import find_access_token, find_family

JWT_TYP: Final = "token-introspection+jwt"
PATH: Final = "/oauth/introspect"
_INACTIVE: Final[dict[str, Any]] = {"active": False}
_ACCEPT: Final = frozenset({CredentialKind.SECRET_KEY})


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks: ``project_id`` is ``None`` for those who may know of all. ``algorithm`` signs the answer for them."""

    id: str
    project_id: str | None
    client: Client | None = None

    @property
    def algorithm(self) -> str:
        """What a JWT for this one is signed with. Spec: RFC 9701 §6."""
        return (self.client.introspection_signed_response_alg if self.client is not None else "") or "RS256"


class Introspection:
    """Answers introspection requests; one object serves a process."""

    def __init__(
        self, authority: Authority, verifier: Verifier, authentication: ClientAuthentication, tag_key: bytes
    ) -> None:
        self._authority = authority
        self._verifier = verifier
        self._authentication = authentication
        self._tag_key = tag_key

    async def answer(self, request: OAuthRequest) -> dict[str, Any] | str:
        """Return what is known of the token, as members or, where the request accepts it, as a signed JWT."""
        asker = await self._asker(request)
        said = await self._say(request.form.need("token"), asker)
        if not request.accepts_jwt:
            return said
        claims = {
            "iss": self._authority.settings.issuer_url,
            "aud": asker.id,
            "iat": self._authority.clock.now() // SECOND,
            "token_introspection": said,
        }
        return await self._authority.signing_keys.sign(claims, typ=JWT_TYP, algorithm=asker.algorithm)

    async def _asker(self, request: OAuthRequest) -> Asker:
        if request.bearer is None:
            client = (await self._authentication.client_of(request)).client
            if client.is_public:
                raise InvalidClient("Introspection is for clients that authenticate, and for service keys.")
            return Asker(client.client_id, client.project_id, client)
        requirement = requirement_for(await self._own_api(), request.source)
        try:
            principal = (await self._verifier.verify(request.bearer.reveal(), requirement)).principal
        except Rejected as rejection:
            raise refused(rejection) from None
        return self.asker_with(principal)

    def asker_with(self, principal: Principal) -> Asker:
        """Return who asks with a service key; raises ``InsufficientScope``."""
        if not own_api.may(principal.permissions, own_api.VERIFY):
            raise InsufficientScope(f"This needs the permission {own_api.VERIFY}.")
        is_own = principal.project_id == self._authority.own_project_id
        return Asker(principal.credential_id, None if is_own else principal.project_id)

    async def _own_api(self) -> Api | None:
        records = self._authority.records
        while True:
            try:
                return records.api(self._authority.own_api_id)
            except NotReady:
                await records.refresh()

    async def _say(self, text: str, asker: Asker) -> dict[str, Any]:
        found = await find_family(self._authority, text, self._tag_key)
        if found is not None:
            return await self._of_family(*found, asker)
        record = await find_access_token(self._authority, text)
        if record is None or asker.project_id not in (None, record.project.id):
            return dict(_INACTIVE)
        return self.of_token(record)

    def of_token(self, record: TokenRecord) -> dict[str, Any]:
        """Return what is known of an access token that was truly presented, by somebody who may know."""
        token = record.token
        # Where and with which proof the token is used, the API sees; here it is only asked about.
        requirement = Requirement(
            api=record.api,
            key_thumbprint=token.key_thumbprint,
            certificate_thumbprint=token.certificate_thumbprint,
        )
        bare = record
        if record.is_restricted:
            bare = replace(record, restrictions=NO_RESTRICTIONS, networks=(), is_restricted=False)
        try:
            decide_token(bare, requirement, self._authority.clock.now())
        except Rejected:
            return dict(_INACTIVE)
        said: dict[str, Any] = {
            "active": True,
            "scope": scopes.text_of(scope for scope in token.scopes if scope in record.scopes),
            "client_id": record.client.client_id,
            "token_type": "DPoP" if token.key_thumbprint else "Bearer",
            "exp": token.expires_at // SECOND,
            "iat": token.issued_at // SECOND,
            "sub": token.subject,
            "iss": self._authority.settings.issuer_url,
            "jti": token.id,
        }
        if record.api is not None:
            said["aud"] = record.api.identifier
        confirmation = jwt_tokens.confirmation_of(token)
        optional = {
            "cnf": confirmation,
            "act": token.actor,
            "authorization_details": list(record.authorization_details),
            "acr": token.acr,
            "amr": list(token.amr),
            "auth_time": None if token.authenticated_at is None else token.authenticated_at // SECOND,
        }
        said.update({name: value for name, value in optional.items() if value})
        return said

    async def _of_family(self, family: TokenFamily, is_newest: bool, asker: Asker) -> dict[str, Any]:
        """Return what is known of a refresh token, which is only its own client's business."""
        is_theirs = asker.client is not None and asker.client.id == family.client_id
        now = self._authority.clock.now()
        if not (is_theirs or asker.project_id is None) or not is_newest or family.revoked_at is not None:
            return dict(_INACTIVE)
        if family.is_over(now) or not await stands(self._authority.store, family, now):
            return dict(_INACTIVE)
        client = await self._authority.store.get(Client, family.client_id)
        if client.state is not State.ENABLED:
            return dict(_INACTIVE)
        return {
            "active": True,
            "scope": scopes.text_of(family.scopes),
            "client_id": client.client_id,
            "sub": family.subject,
            "exp": min(family.expires_at, family.rotated_at + family.idle_in) // SECOND,
            "iat": family.rotated_at // SECOND,
            "iss": self._authority.settings.issuer_url,
        }


def requirement_for(own: Api | None, source: Address | None) -> Requirement:
    """Return what must hold for a service key that asks; ``own`` is Keybearer's own API."""
    return Requirement(accept=_ACCEPT, api=own, client_ip=source, method="POST", path=PATH)


def refused(rejection: Rejected) -> InvalidToken:
    """Return what whoever asked with a bad key is told."""
    return InvalidToken("The service key was refused.", detail=rejection.code)
