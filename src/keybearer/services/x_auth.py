"""Signing in at the X-Auth-Token service: a long-lived credential of a project becomes a short token for one API.

The credential is a secret API key, or the secret of an OAuth client that may use client credentials; the secret says
which, and who is named must be its owner. People's passwords are no credential here (ADR 15). What comes out is an
ordinary access token: that of a key inherits its limits and restrictions and dies with it, as in a token exchange.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from typing import Final, NamedTuple

from ..client_auth.client_secret import match_nobody, matches
from ..core import credential, own_api
from ..core.clients import CLIENT_ID, SECRET_PREFIX, ClientAuthMethod, GrantType
from ..core.errors import Code, NotPermitted, Rejected
from ..core.form import Form
from ..core.instant import Instant
from ..core.oauth_error import TooManyRequests
from ..core.permissions import holds
from ..core.records import Api, KeyRecord, Project, State
from ..core.secret import Secret
from ..core.tokens import IDENTITY_SCOPES, TokenRecord
from ..grants import Entitlement, TokenRequest
from ..grants.client_credentials import GRANT
from ..grants.desk import OwnKey
from ..verify import Verifier
from . import issue
from .authority import Authority, Caller
from .known_clients import KnownClient, KnownClients
from .own_keys import find_own_key
from .token_endpoint import TOO_OFTEN, takes_of
from .x_auth_catalog import entries_of
from .x_auth_clients import service_client

Address = IPv4Address | IPv6Address

DEFAULT_DOMAIN: Final = "default"
"""The domain that every client of Keystone names where nobody told it another: here, the API that has a catalogue."""
_BY_SECRET: Final = frozenset({ClientAuthMethod.BASIC, ClientAuthMethod.POST})


@dataclass(frozen=True, slots=True)
class Claim:
    """Who somebody says to be, and for what the token is wanted; what is empty was not said.

    ``user`` is a key or client, by id or name, alone or behind its project and a colon; ``project`` an id or name,
    ``domain`` an API by id, identifier or name; ``service`` is a type that the API's catalogue must offer.
    """

    secret: Secret
    user: str = ""
    project: str = ""
    domain: str = ""
    service: str = ""


class Described(NamedTuple):
    """What an access token is, in the terms of this service. ``user_id`` and ``user_name`` are of whom it acts for."""

    token_id: str
    user_id: str
    user_name: str
    is_person: bool
    project: Project
    permissions: tuple[str, ...]
    api: Api | None
    issued_at: Instant
    expires_at: Instant


class SignedIn(NamedTuple):
    """A new token, and what it is."""

    token: Secret
    described: Described


class XAuth:
    """Signs in; one object serves a process."""

    def __init__(self, authority: Authority, verifier: Verifier) -> None:
        self._authority = authority
        self._verifier = verifier
        self._throttle = verifier.engines.throttle
        self._known = KnownClients(authority)
        self._tag_key = authority.keyring.derived(issue.TAG_PURPOSE)

    async def sign_in(self, claim: Claim, source: Address | None, request_id: str) -> SignedIn:
        """Issue a token for what the secret entitles to.

        Raises ``Rejected`` for anything that is wrong with the secret or who is named, ``NotPermitted`` where no API
        can be chosen, ``OAuthError`` where nothing may be issued, and ``Unavailable`` when nothing was.
        """
        self.slow_down(source)
        parts = credential.split(claim.secret.reveal())
        if parts is not None and parts[0] == SECRET_PREFIX:
            entitlement, name = await self._of_client(CLIENT_ID + parts[1], claim, source)
        else:
            entitlement, name = await self._of_key(claim, source)
        return await self._issue(entitlement, name, source, request_id)

    def slow_down(self, source: Address | None) -> None:
        """Raise ``Rejected`` (``RATE_LIMITED``) for an address that failed too often."""
        retry_in = 0 if source is None else self._throttle.retry_in(source)
        if retry_in:
            raise Rejected(Code.RATE_LIMITED, "Too many bad credentials from this address.", retry_after=retry_in)

    def failed(self, source: Address | None) -> Rejected:
        """Count a bad credential of an address; returns what it is told."""
        if source is not None:
            self._throttle.failed(source)
        return Rejected(Code.NOT_FOUND)

    # Who signs in.

    async def _of_key(self, claim: Claim, source: Address | None) -> tuple[Entitlement, str]:
        found = await find_own_key(self._verifier, claim.secret.reveal(), source, self._authority.clock.now())
        record, key = found.record, found.record.key
        if not _is_named(claim, record.project, (key.id, key.credential_id, key.name)):
            raise self.failed(source)
        known = await service_client(self._authority, self._known, record.project)
        if known is None or known.client.state is not State.ENABLED:
            raise Rejected(Code.OWNER_DISABLED)
        reachable = record.restrictions.apis
        api = _choose((api for api in known.apis if not reachable or api.id in reachable), claim)
        return self._key_entitlement(found, record, known, api), key.name

    def _key_entitlement(self, found: OwnKey, record: KeyRecord, known: KnownClient, api: Api) -> Entitlement:
        scopes = (permission.name for permission in api.permissions if holds(record.permissions, permission.name))
        if api.id == self._authority.own_api_id:
            # A service asks about tokens with it; for more power there are better doors.
            scopes = (scope for scope in scopes if scope == own_api.VERIFY)
        return Entitlement(
            client=known.client,
            project=known.project,
            subject=record.key.id,
            scopes=tuple(scopes),
            api=api,
            key=record,
            key_version=found.version.number,
            ends_at=found.version.expires_at,
        )

    async def _of_client(self, client_id: str, claim: Claim, source: Address | None) -> tuple[Entitlement, str]:
        keyring, now = self._authority.keyring, self._authority.clock.now()
        secret = claim.secret.reveal()
        known = await self._known.find(client_id)
        if known is None:
            match_nobody(secret, keyring)
            raise self.failed(source)
        client = known.client
        if (
            not matches(client, secret, keyring, now)
            or client.state is not State.ENABLED
            or client.token_endpoint_auth_method not in _BY_SECRET
            or GrantType.CLIENT_CREDENTIALS not in client.grant_types
            # Whose tokens are bound to a key or certificate could not prove that here.
            or client.dpop_bound_access_tokens
            or client.tls_client_certificate_bound_access_tokens
            or not _is_named(claim, known.project, (client.id, client.id.removeprefix(CLIENT_ID), client.name))
        ):
            raise self.failed(source)
        api = _choose(known.apis, claim)
        form = Form({}, {"resource": (api.identifier,)})
        request = TokenRequest(client=client, project=known.project, apis=(api,), form=form, now=now, source=source)
        return GRANT.entitled(request), client.name

    # Issuing.

    async def _issue(self, entitlement: Entitlement, name: str, source: Address | None, request_id: str) -> SignedIn:
        authority, client, key = self._authority, entitlement.client, entitlement.key
        takes = takes_of(authority.settings, client, source)
        if takes:
            taken = await self._verifier.engines.limiter.take(takes)
            if not taken.admitted:
                raise TooManyRequests(TOO_OFTEN, taken.retry_in)
        issued = issue.draft(authority, entitlement, authority.clock.now(), self._tag_key)
        token, project = issued.token, entitlement.project
        caller = Caller(
            actor=client.id if key is None else key.id,
            permissions=frozenset(),
            project_id=project.id,
            source=None if source is None else str(source),
            request_id=request_id,
        )
        # In the audit log like the same token from the token endpoint: an exchanged key is, a client for itself is not.
        grant_type = None if key is None else GrantType.TOKEN_EXCHANGE.value
        if issued.opaque is not None or grant_type is not None:
            await authority.store.transact(partial(issue.keep, issued=issued, caller=caller, grant_type=grant_type))
        said = await issue.answer(authority, issued, authority.clock.now())
        self._verifier.engines.observer.issued(project.id, client.id, token.api_id or "", token.issued_at)
        described = Described(
            token_id=token.id,
            user_id=token.subject,
            user_name=name,
            is_person=False,
            project=project,
            permissions=tuple(scope for scope in token.scopes if scope not in IDENTITY_SCOPES),
            api=entitlement.api,
            issued_at=token.issued_at,
            expires_at=token.expires_at,
        )
        return SignedIn(Secret(said["access_token"]), described)


def describe(record: TokenRecord) -> Described:
    """Return what a token is that was issued before, by this service or another way."""
    token = record.token
    name = record.client.name if record.key is None else record.key.key.name
    return Described(
        token_id=token.id,
        user_id=token.subject,
        # Nothing is said of a person but the ``sub`` that the client may know.
        user_name=name if record.user is None else token.subject,
        is_person=record.user is not None,
        project=record.project,
        permissions=tuple(scope for scope in token.scopes if scope in record.permissions),
        api=record.api,
        issued_at=token.issued_at,
        expires_at=record.ends_at,
    )


def is_scoped_to(record: TokenRecord, claim: Claim) -> bool:
    """Tell whether a token already is what the claim wants: of this project, and for this API."""
    of_project = claim.project in ("", record.project.id, record.project.name)
    return of_project and (
        _is_default(claim.domain) or (record.api is not None and _is_meant(record.api, claim.domain))
    )


def _is_named(claim: Claim, project: Project, own: Iterable[str]) -> bool:
    """Tell whether the claim names the owner of the secret; a name that is empty names nobody."""
    places = [text for text in (project.id, project.name) if text]
    owners = [text for text in own if text]
    names = {*places, *owners, *(f"{place}:{owner}" for place in places for owner in owners)}
    return claim.user in names and claim.project in ("", *places)


def _choose(apis: Iterable[Api], claim: Claim) -> Api:
    """Return the one API that the token is for: that of the domain, else the one with a catalogue, else the only one.

    Raises ``NotPermitted``.
    """
    usable = tuple(apis)
    if not _is_default(claim.domain):
        usable = tuple(api for api in usable if _is_meant(api, claim.domain))
    offering = tuple(
        api for api in usable if any(not claim.service or entry.type == claim.service for entry in entries_of(api))
    )
    found = offering if offering or claim.service else usable
    if len(found) == 1:
        return found[0]
    offered = f"offers {claim.service}" if claim.service else "has a catalogue"
    if found:
        raise NotPermitted(f"More than one API of this project {offered}: name one as the project's domain (Keystone).")
    raise NotPermitted(f"No API that this credential may have tokens for {offered}.")


def _is_default(domain: str) -> bool:
    return domain.lower() in ("", DEFAULT_DOMAIN)


def _is_meant(api: Api, domain: str) -> bool:
    return domain in (api.id, api.identifier, api.name)
