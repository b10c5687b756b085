"""The desk of one token request: what the grants need done, joined from the services that do it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec

from ..core.artefacts import ArtefactKind
from ..core.clients import Client, GrantType
from ..core.errors import Rejected
from ..core.instant import Instant
from ..core.oauth_error import InvalidGrant
from ..core.records import State
from ..core.secret import Secret
from ..core.tokens import TokenFamily, TokenRecord
from ..core.upstreams import Upstream
from ..core.users import User
from ..formats import refresh_token
from ..formats.refresh_token import UnverifiedRefreshToken
from ..grants import Entitlement, Issued, TokenRequest
from ..grants.desk import OwnKey
from ..ports import Keyring, Query, Store, UnitOfWork
from ..verify import Verifier
from . import codes, id_tokens, issue
from .authority import Authority, Caller
from .own_keys import find_own_key
from .own_tokens import find_access_token
from .providers import Providers, ProviderUnusable
from .revocation import end_family, revoke_token
from .sealing import key_from, open_under, seal_under
from .subjects import subject_for

SUCCESSOR_PURPOSE: Final = "refresh-token-successor"
_BAD_KEY: Final = (
    "The API key is not good: unknown, expired, revoked, not a secret key of this project, or not for this address."
)


class TokenDesk:
    """Fulfils ``grants.Desk``."""

    def __init__(
        self,
        authority: Authority,
        verifier: Verifier,
        providers: Providers,
        audiences: frozenset[str],
        caller: Caller,
        grant_type: GrantType,
        tag_key: bytes,
    ) -> None:
        self._authority = authority
        self._verifier = verifier
        self._providers = providers
        self._caller = caller
        self._grant_type = grant_type
        self._tag_key = tag_key
        self.audiences = audiences
        self.store: Store = authority.store
        self.keyring: Keyring = authority.keyring
        self.refresh_grace_in = int(authority.settings.refresh_grace * 1_000_000)

    def subject_for(self, user: User, client: Client) -> str:
        """Return the ``sub`` that a client sees of a user."""
        return subject_for(self.keyring, user, client)

    # Issuing.

    def draft(self, entitlement: Entitlement, request: TokenRequest) -> Issued:
        """Make what is issued."""
        return issue.draft(self._authority, entitlement, request.now, self._tag_key)

    async def keep(self, uow: UnitOfWork, issued: Issued, request: TokenRequest, *, audited: bool = True) -> None:
        """Write down what is issued."""
        await issue.keep(uow, issued, self._caller, self._grant_type.value if audited else None)

    # Authorization codes.

    async def take_code(self, uow: UnitOfWork, text: str, request: TokenRequest) -> codes.TakenCode:
        """Use up an authorization code of this client."""
        return await codes.take_code(uow, self._authority, text, request.client.id, request.now)

    async def note_given(self, uow: UnitOfWork, code_id: str, issued: Issued) -> None:
        """Remember what a code gave."""
        artefact = await uow.get_artefact(ArtefactKind.AUTHORIZATION_CODE, code_id)
        given = {
            "token_id": issued.token.id,
            "expires_at": issued.token.expires_at,
            "family_id": issued.token.family_id,
        }
        body = {**msgspec.json.decode(artefact.body), "given": given}
        await uow.update_artefact(replace(artefact, body=msgspec.json.encode(body)))

    async def revoke_given(self, uow: UnitOfWork, code_id: str, request: TokenRequest) -> None:
        """Revoke what a code gave. Spec: RFC 6749 §4.1.2."""
        artefact = await uow.get_artefact(ArtefactKind.AUTHORIZATION_CODE, code_id)
        given = msgspec.json.decode(artefact.body).get("given")
        if given is None:
            return
        expires_at, project_id = Instant(given["expires_at"]), request.project.id
        await revoke_token(uow, self._caller, given["token_id"], expires_at, project_id, request.now)
        if given["family_id"] is not None:
            family = await uow.get_family(given["family_id"])
            await self.revoke_family(uow, family, request, "the authorization code came again")

    # Refresh tokens.

    async def revoke_family(self, uow: UnitOfWork, family: TokenFamily, request: TokenRequest, reason: str) -> None:
        """Revoke a family of refresh tokens."""
        await end_family(uow, self._caller, family, request.now, {"reason": reason})

    def rotated(self, family: TokenFamily, presented: str, now: Instant) -> tuple[TokenFamily, Secret]:
        """Return the family with its next refresh token."""
        fresh = refresh_token.mint(family.id, self._tag_key)
        pepper_id = self.keyring.active_pepper_id
        sealed = seal_under(key_from(presented, SUCCESSOR_PURPOSE), fresh.reveal().encode(), family.id.encode())
        changed = replace(
            family,
            rotated_at=now,
            generation=family.generation + 1,
            digest=self.keyring.digest(pepper_id, fresh.reveal()),
            # Digested anew: both lie under the same pepper.
            previous_digest=self.keyring.digest(pepper_id, presented),
            pepper_id=pepper_id,
            sealed_successor=sealed,
        )
        return changed, fresh

    def successor(self, family: TokenFamily, presented: str) -> Secret:
        """Return what the presented refresh token was answered with."""
        key = key_from(presented, SUCCESSOR_PURPOSE)
        return Secret(open_under(key, family.sealed_successor, family.id.encode()).decode())

    def is_genuine(self, unverified: UnverifiedRefreshToken) -> bool:
        """Tell whether this authority made a refresh token."""
        return refresh_token.is_genuine(unverified, self._tag_key)

    # What others bring.

    async def own_token(self, text: str) -> TokenRecord | None:
        """Return an access token of this authority."""
        return await find_access_token(self._authority, text)

    async def own_id_token(self, text: str) -> Mapping[str, Any] | None:
        """Return the claims of an ID token of this authority."""
        return await id_tokens.read_hint(self._authority, text)

    async def own_key(self, text: str, request: TokenRequest) -> OwnKey:
        """Return an API key that is good here and now.

        Its address must be right already; for which API, path and method it may be used, the new token inherits.
        """
        try:
            return await find_own_key(self._verifier, text, request.source, request.now)
        except Rejected as rejection:
            raise InvalidGrant(_BAD_KEY, detail=rejection.code) from None

    async def keys_of_issuer(self, issuer: str, afresh: bool) -> Sequence[Mapping[str, Any]] | None:
        """Return the keys of an upstream provider, which it publishes in its metadata. Spec: OIDC Discovery §4."""
        where = {"issuer": issuer, "state": State.ENABLED.value}
        if len(issuer) > 512 or not await self.store.page(Upstream, Query(where, limit=1)):
            return None
        try:
            return await self._providers.keys(await self._providers.of(issuer), afresh=afresh)
        except ProviderUnusable:
            return ()
