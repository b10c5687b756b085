"""Device authorization: a device starts, its user finds it by a short code, and agrees or does not. Spec: RFC 8628.

A user code has 34.5 bits and lives ten minutes. Guesses are budgeted per address and per signed-in user, so that
nobody can try enough of them (§5.1); only the digest of a code is stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from secrets import choice
from typing import Any, Final

import msgspec

from ..core import authorization_details, scopes
from ..core.artefacts import Artefact, ArtefactKind
from ..core.clients import Client, GrantType
from ..core.credential import mint, new_id
from ..core.device_request import (
    INTERVAL_IN,
    LIFETIME_IN,
    USER_CODE_ALPHABET,
    USER_CODE_LENGTH,
    Answer,
    DeviceRequest,
    normalised_user_code,
    shown_user_code,
)
from ..core.errors import Conflict, NotFound
from ..core.grants import Grant
from ..core.instant import MINUTE, SECOND, Instant
from ..core.lifecycle import use_up
from ..core.oauth_error import InvalidScope, InvalidTarget, TooManyRequests, UnauthorizedClient
from ..core.records import Api, RateLimit, Take, bind_limits
from ..core.secret import Secret
from ..core.sessions import Session
from ..core.sources import counted_as
from ..core.target import names_of
from ..core.tokens import IDENTITY_SCOPES
from ..core.users import User
from ..grants.device_code import PREFIX
from ..ports import Limiter, UnitOfWork
from .authority import Authority, Caller, Deed

GUESSES: Final = RateLimit("device-guesses", limit=10, period_in=MINUTE, burst=10)
"""How many user codes one address, or one user, may try."""

STARTS: Final = RateLimit("device-starts", limit=60, period_in=MINUTE, burst=60)
"""How many devices may start from one address, and of one client times ten."""

_ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True)
class FoundDevice:
    """A device that waits for its user."""

    id: str
    request: DeviceRequest
    client: Client
    expires_at: Instant


async def start(
    authority: Authority,
    limiter: Limiter,
    client: Client,
    apis: Sequence[Api],
    form: Mapping[str, Any],
    *,
    source: str | None,
    user_agent: str = "",
) -> dict[str, Any]:
    """Return the answer of the device authorization endpoint. Spec: RFC 8628 §3.2.

    ``form`` has ``scope``, ``resources`` (identifiers) and ``authorization_details`` as they were sent.
    """
    if GrantType.DEVICE_CODE not in client.grant_types:
        raise UnauthorizedClient("This client may not use the device grant.")
    await _take(limiter, STARTS, f"device-start/{counted_as(source) or client.id}")
    asked = scopes.parse(form["scope"])
    if not set(client.scopes).issuperset(set(asked) - IDENTITY_SCOPES):
        raise InvalidScope("The scope is more than this client may ask for.")
    by_identifier = {api.identifier: api for api in apis}
    if not all(resource in by_identifier for resource in form["resources"]):
        raise InvalidTarget("The resource is not the identifier of an API that this client may ask for.")
    resources = [by_identifier[resource] for resource in form["resources"]]
    known = frozenset(name for api in resources or apis for name in names_of(api)) | IDENTITY_SCOPES
    if not known.issuperset(asked):
        raise InvalidScope("No API that this client may ask for understands the scope.")
    details = authorization_details.parse(form["authorization_details"], resources or apis)
    if not asked and not details:
        # Left out, it means all of the client's, as in an authorization request (RFC 6749 §3.3).
        asked = tuple(scope for scope in client.scopes if scope in known)
    for _ in range(_ATTEMPTS):
        letters = "".join(choice(USER_CODE_ALPHABET) for _ in range(USER_CODE_LENGTH))
        request = DeviceRequest(
            client_id=client.id,
            scopes=asked,
            resources=tuple(api.id for api in resources),
            authorization_details=details,
            user_code_id=_user_code_id(authority, letters),
            source=source or "",
            user_agent=user_agent[:200],
        )
        try:
            secret = await _put_down(authority, request)
        except Conflict:  # the same letters wait already
            continue
        page = authority.settings.issuer_url.rstrip("/") + "/device"
        shown = shown_user_code(letters)
        return {
            "device_code": secret.reveal(),
            "user_code": shown,
            "verification_uri": page,
            "verification_uri_complete": f"{page}?user_code={shown}",
            "expires_in": LIFETIME_IN // SECOND,
            "interval": INTERVAL_IN // SECOND,
        }
    raise Conflict("No free user code was found.")


async def _put_down(authority: Authority, request: DeviceRequest) -> Secret:
    now = authority.clock.now()
    code_id, pepper_id = new_id(now), authority.keyring.active_pepper_id
    secret = mint(PREFIX, code_id)
    expires_at = Instant(now + LIFETIME_IN)
    device = Artefact(
        kind=ArtefactKind.DEVICE_CODE,
        id=code_id,
        created_at=now,
        expires_at=expires_at,
        digest=authority.keyring.digest(pepper_id, secret.reveal()),
        pepper_id=pepper_id,
        subject=request.client_id,
        body=msgspec.json.encode(request),
    )
    user = Artefact(
        kind=ArtefactKind.USER_CODE,
        id=request.user_code_id,
        created_at=now,
        expires_at=expires_at,
        subject=code_id,
    )

    async def work(uow: UnitOfWork) -> None:
        await uow.add_artefact(user)
        await uow.add_artefact(device)

    await authority.store.transact(work)
    return secret


async def find_by_user_code(
    authority: Authority, limiter: Limiter, typed: str, *, source: str | None, user_id: str | None = None
) -> FoundDevice | None:
    """Return the device that shows this code and still waits, or ``None``; raises ``TooManyRequests``.

    Each look-up takes from the budget of guesses, of the address and of the user who is signed in.
    """
    for who in (source and f"device-guess/{counted_as(source)}", user_id and f"device-guess/{user_id}"):
        if who:
            await _take(limiter, GUESSES, who)
    letters = normalised_user_code(typed)
    if letters is None:
        return None
    now = authority.clock.now()
    try:
        user_code = await authority.store.get_artefact(ArtefactKind.USER_CODE, _user_code_id(authority, letters))
        device = await authority.store.get_artefact(ArtefactKind.DEVICE_CODE, user_code.subject)
        client = await authority.store.get(Client, device.subject)
    except NotFound:
        return None
    request = msgspec.json.decode(device.body, type=DeviceRequest)
    if user_code.used_at is not None or now >= device.expires_at or request.answer is not Answer.PENDING:
        return None
    return FoundDevice(device.id, request, client, device.expires_at)


async def approve(
    uow: UnitOfWork,
    authority: Authority,
    caller: Caller,
    device: FoundDevice,
    *,
    user: User,
    grant: Grant | None,
    session: Session,
    granted: tuple[str, ...],
    details: tuple[Mapping[str, object], ...] | None = None,
) -> None:
    """Let the device have what its user agreed to: ``granted`` scopes, at most those it asked for.

    Raises ``Conflict`` when it was answered meanwhile, or its time is over.
    """
    now = authority.clock.now()
    asked = device.request
    changed = replace(
        asked,
        answer=Answer.APPROVED,
        scopes=tuple(scope for scope in asked.scopes if scope in granted),
        authorization_details=asked.authorization_details if details is None else details,
        user_id=user.id,
        grant_id="" if grant is None else grant.id,
        session_id=session.id,
        authenticated_at=session.authenticated_at,
        amr=session.amr,
        acr=session.acr,
    )
    await _answer(uow, device, changed, now)
    Deed(uow, caller, now).note(
        "device.approve",
        user.id,
        project_id=device.client.project_id,
        details={"client_id": device.client.id},
        event=False,
    )


async def deny(uow: UnitOfWork, authority: Authority, caller: Caller, device: FoundDevice, *, user: User) -> None:
    """Refuse the device; raises ``Conflict`` when it was answered meanwhile, or its time is over."""
    now = authority.clock.now()
    await _answer(uow, device, replace(device.request, answer=Answer.DENIED, user_id=user.id), now)
    Deed(uow, caller, now).note(
        "device.deny",
        user.id,
        project_id=device.client.project_id,
        details={"client_id": device.client.id},
        event=False,
    )


async def _answer(uow: UnitOfWork, device: FoundDevice, changed: DeviceRequest, now: Instant) -> None:
    user_code = await uow.get_artefact(ArtefactKind.USER_CODE, changed.user_code_id)
    artefact = await uow.get_artefact(ArtefactKind.DEVICE_CODE, device.id)
    current = msgspec.json.decode(artefact.body, type=DeviceRequest)
    if current.answer is not Answer.PENDING:
        raise Conflict("This device was answered already.")
    await uow.update_artefact(use_up(user_code, now))
    # How often the device asks is its own affair, and moved on since the user looked.
    kept = replace(changed, polled_at=current.polled_at, interval_in=current.interval_in)
    await uow.update_artefact(replace(artefact, body=msgspec.json.encode(kept)))


def _user_code_id(authority: Authority, letters: str) -> str:
    """Return what a user code is found by: a digest under the oldest pepper that is in use, the same on every node."""
    keyring = authority.keyring
    return keyring.digest(keyring.pepper_ids[-1], f"user-code {letters}").hex()


async def _take(limiter: Limiter, limit: RateLimit, owner: str) -> None:
    taken = await limiter.take([Take(bound, 1) for bound in bind_limits(owner, (limit,))])
    if not taken.admitted:
        raise TooManyRequests("Too many of these requests; wait a little.", taken.retry_in)
