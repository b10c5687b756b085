"""Passkeys: WebAuthn credentials, as a second factor after a password and as the only one.

The relying party is the host of the issuer, from the settings and never from a request. A challenge travels sealed and
is good for one answer. Spec: WebAuthn Level 3 §7.1-7.2, SECURITY-BAR 20, 23.
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from ..core import credential
from ..core.artefacts import Artefact, ArtefactKind
from ..core.assurance import MULTIPLE_FACTORS, PROOF_OF_POSSESSION, USER_PRESENCE
from ..core.errors import Conflict, InvalidInput, NotFound
from ..core.instant import MINUTE, Instant
from ..core.lifecycle import touch
from ..core.records import State
from ..core.users import USER_ID, Factors, Passkey, User, factors_id
from ..ports import UnitOfWork
from ..settings import Settings
from . import notices
from .authority import Authority, Deed
from .recency import require_recent
from .sealing import CannotOpen, open_sealed, seal
from .sessions import SignedIn, caller_of
from .sign_in import Done, SignInRefused, Visit, complete, open_ticket

CHALLENGE_IN: Final = 10 * MINUTE
CHALLENGE_LENGTH: Final = 32
MAX_PASSKEYS: Final = 20
MAX_RESPONSE: Final = 16_384
_REGISTER: Final = "passkey-registration"
_SIGN_IN: Final = "passkey-sign-in"


class Offer(NamedTuple):
    """What the browser is asked (``options``, as JSON objects), and the sealed ``challenge`` to bring back with it."""

    options: dict[str, Any]
    challenge: str


class _Challenge(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    challenge: bytes
    expires_at: int
    user_id: str = ""
    ticket: str = ""


async def registration_options(authority: Authority, user: User) -> Offer:
    """Return what a browser needs to make a passkey for this user."""
    from webauthn import generate_registration_options, options_to_json
    from webauthn.helpers.structs import (
        AuthenticatorSelectionCriteria,
        ResidentKeyRequirement,
        UserVerificationRequirement,
    )

    factors = await authority.store.get(Factors, factors_id(user.id))
    challenge = secrets.token_bytes(CHALLENGE_LENGTH)
    options = generate_registration_options(
        rp_id=relying_party(authority.settings),
        rp_name=authority.settings.brand_name,
        user_id=user.id.encode(),
        user_name=user.email,
        user_display_name=user.name or user.email,
        challenge=challenge,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.PREFERRED, user_verification=UserVerificationRequirement.PREFERRED
        ),
        exclude_credentials=_descriptors(factors),
    )
    return Offer(json.loads(options_to_json(options)), _seal(authority, _REGISTER, challenge, user_id=user.id))


async def register(
    authority: Authority, signed_in: SignedIn, challenge: str, response: str, name: str, *, source: str | None = None
) -> Passkey:
    """Add the passkey that a browser made to whoever is signed in. Raises ``InvalidInput``, ``SignInNeeded``.

    The sign-in must be recent; all else that is signed in with stays as it is.
    """
    from webauthn import verify_registration_response
    from webauthn.helpers.exceptions import WebAuthnException

    require_recent(authority, signed_in)
    asked = _open(authority, _REGISTER, challenge)
    if asked is None or asked.user_id != signed_in.user.id:
        raise InvalidInput.of("challenge", "begin again: the challenge is unknown or over")
    try:
        made = verify_registration_response(
            credential=_decoded(response),
            expected_challenge=asked.challenge,
            expected_rp_id=relying_party(authority.settings),
            expected_origin=origin(authority.settings),
        )
    except (WebAuthnException, ValueError, KeyError, TypeError) as error:
        raise InvalidInput.of("response", "the browser's answer is not that of a passkey for this site") from error
    now = authority.clock.now()
    transports = _decoded(response).get("response", {}).get("transports", [])
    passkey = Passkey(
        credential_id=made.credential_id,
        public_key=made.credential_public_key,
        sign_count=made.sign_count,
        name=_named(name),
        created_at=now,
        transports=tuple(str(one)[:20] for one in transports[:8]) if isinstance(transports, list) else (),
        backed_up=made.credential_backed_up,
    )
    caller = caller_of(signed_in, source=source)

    async def work(uow: UnitOfWork) -> None:
        factors = await uow.get(Factors, factors_id(signed_in.user.id))
        if len(factors.passkeys) >= MAX_PASSKEYS:
            raise Conflict(f"You have {MAX_PASSKEYS} passkeys already; remove one first.")
        if any(one.credential_id == passkey.credential_id for one in factors.passkeys):
            raise Conflict("You have this passkey already.")
        await _use_up(uow, asked, now)
        await uow.update(touch(factors, now, passkeys=(*factors.passkeys, passkey)))
        Deed(uow, caller, now).note("user.add_passkey", signed_in.user.id, details={"name": passkey.name}, event=False)

    await authority.store.transact(work)
    notices.tell(authority, signed_in.user, f"A passkey was added to your account: {passkey.name}.")
    return passkey


async def options(authority: Authority, ticket: str = "") -> Offer:
    """Return what a browser needs to sign in by passkey: after a password with its ticket, else as the only factor.

    Without a ticket nothing is said about any user: the browser knows which passkeys it has.
    """
    from webauthn import generate_authentication_options, options_to_json
    from webauthn.helpers.structs import UserVerificationRequirement

    allowed = None
    if ticket:
        first = open_ticket(authority, ticket)
        allowed = _descriptors(await authority.store.get(Factors, factors_id(first.user_id)))
    challenge = secrets.token_bytes(CHALLENGE_LENGTH)
    wanted = UserVerificationRequirement.PREFERRED if ticket else UserVerificationRequirement.REQUIRED
    asked = generate_authentication_options(
        rp_id=relying_party(authority.settings),
        challenge=challenge,
        allow_credentials=allowed,
        user_verification=wanted,
    )
    return Offer(json.loads(options_to_json(asked)), _seal(authority, _SIGN_IN, challenge, ticket=ticket))


async def finish(authority: Authority, challenge: str, response: str, visit: Visit) -> Done:
    """Sign in with what the browser answered. Raises ``SignInRefused``.

    As the only factor the authenticator must have verified its user (a PIN, a finger), which makes it two.
    """
    asked = _open(authority, _SIGN_IN, challenge)
    if asked is None:
        raise SignInRefused("a challenge that is unknown or over")
    ticket = open_ticket(authority, asked.ticket) if asked.ticket else None
    try:
        answer = _decoded(response)
        credential_id = _unpadded(str(answer["rawId"]))
        user_id = ticket.user_id if ticket is not None else _unpadded(str(answer["response"]["userHandle"])).decode()
        if not user_id.startswith(USER_ID):
            raise SignInRefused("a user handle that is none of ours")
        user = await authority.store.get(User, user_id)
        before = await authority.store.get(Factors, factors_id(user_id))
    except (KeyError, TypeError, ValueError, InvalidInput, NotFound) as error:
        raise SignInRefused("an answer that names no passkey of a user") from error
    known = next((one for one in before.passkeys if one.credential_id == credential_id), None)
    if known is None or user.state is not State.ENABLED:
        raise SignInRefused("an unknown passkey, or a user who may not sign in")
    used, verified = _verified(authority, asked.challenge, answer, known, verification_needed=ticket is None)

    async def check(uow: UnitOfWork, factors: Factors, now: Instant) -> Factors | None:
        current = next((one for one in factors.passkeys if one.credential_id == credential_id), None)
        if current is None or (used.sign_count and used.sign_count <= current.sign_count):
            return None  # removed meanwhile, or a copy of the key was faster
        await _use_up(uow, asked, now)
        fresh = replace(current, sign_count=used.sign_count, backed_up=used.backed_up, last_used_at=now)
        kept = tuple(fresh if one is current else one for one in factors.passkeys)
        return touch(factors, now, passkeys=kept)

    amr: tuple[str, ...] = (PROOF_OF_POSSESSION, USER_PRESENCE)
    if ticket is not None:
        amr = (*ticket.amr, *amr, MULTIPLE_FACTORS)
    elif verified:
        amr = (*amr, MULTIPLE_FACTORS)
    return await complete(authority, user_id, amr, visit, check, ticket)


def _verified(
    authority: Authority, challenge: bytes, answer: Mapping[str, Any], known: Passkey, *, verification_needed: bool
) -> tuple[Passkey, bool]:
    from webauthn import verify_authentication_response
    from webauthn.helpers.exceptions import WebAuthnException

    try:
        proven = verify_authentication_response(
            credential=dict(answer),
            expected_challenge=challenge,
            expected_rp_id=relying_party(authority.settings),
            expected_origin=origin(authority.settings),
            credential_public_key=known.public_key,
            credential_current_sign_count=known.sign_count,
            require_user_verification=verification_needed,
        )
    except (WebAuthnException, ValueError, KeyError, TypeError) as error:
        raise SignInRefused("the passkey's signature, origin, challenge or counter is wrong") from error
    used = replace(known, sign_count=proven.new_sign_count, backed_up=proven.credential_backed_up)
    return used, proven.user_verified


async def remove(authority: Authority, signed_in: SignedIn, credential_id: bytes, *, source: str | None = None) -> None:
    """Remove a passkey of whoever is signed in. Raises ``NotFound``, ``Conflict``, ``SignInNeeded``.

    The last way to sign in stays; and a password that is too short to stand alone needs a second factor beside it.
    """
    require_recent(authority, signed_in)
    caller = caller_of(signed_in, source=source)

    async def work(uow: UnitOfWork) -> None:
        factors = await uow.get(Factors, factors_id(signed_in.user.id))
        kept = tuple(one for one in factors.passkeys if one.credential_id != credential_id)
        if len(kept) == len(factors.passkeys):
            raise NotFound("passkey", id_text(credential_id))
        now = authority.clock.now()
        changed = touch(factors, now, passkeys=kept)
        require_enough(changed)
        await uow.update(changed)
        Deed(uow, caller, now).note("user.remove_passkey", signed_in.user.id, event=False)

    await authority.store.transact(work)
    notices.tell(authority, signed_in.user, "A passkey was removed from your account.")


def require_enough(factors: Factors) -> None:
    """Raise ``Conflict`` when a user could no longer sign in, or only with a password that is too short for that."""
    if not factors.password_hash and not factors.passkeys:
        raise Conflict("This is your last way to sign in; set a password or add another passkey first.")
    if factors.password_hash and not factors.has_second_factor and not factors.password_is_long:
        raise Conflict("Your password is too short to be the only factor; choose a longer one first.")


def relying_party(settings: Settings) -> str:
    """Return the RP ID: the host of the issuer. Browsers want a domain here, or localhost."""
    return urlsplit(settings.issuer_url).hostname or ""


def origin(settings: Settings) -> str:
    """Return the one web origin that passkeys are used from."""
    parts = urlsplit(settings.issuer_url)
    host = parts.hostname or ""
    default = {"https": 443, "http": 80}.get(parts.scheme)
    port = "" if parts.port in (None, default) else f":{parts.port}"
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"


def id_text(credential_id: bytes) -> str:
    """Return a passkey's id as it travels: base64url without padding."""
    return base64.urlsafe_b64encode(credential_id).decode().rstrip("=")


def id_bytes(text: str) -> bytes:
    """Return a passkey's id from how it travels; raises ``NotFound`` for what can be none."""
    try:
        return _unpadded(text)
    except ValueError:
        raise NotFound("passkey", text[:80]) from None


def _descriptors(factors: Factors) -> list[Any]:
    from webauthn.helpers.structs import AuthenticatorTransport, PublicKeyCredentialDescriptor

    names = {transport.value: transport for transport in AuthenticatorTransport}
    return [
        PublicKeyCredentialDescriptor(
            id=one.credential_id, transports=[names[name] for name in one.transports if name in names] or None
        )
        for one in factors.passkeys
    ]


async def _use_up(uow: UnitOfWork, asked: _Challenge, now: Instant) -> None:
    """Note that this challenge was answered; raises ``Conflict`` for the second time."""
    await uow.add_artefact(Artefact(ArtefactKind.SIGN_IN_STEP, asked.id, now, Instant(asked.expires_at)))


def _seal(authority: Authority, purpose: str, challenge: bytes, *, user_id: str = "", ticket: str = "") -> str:
    now = authority.clock.now()
    asked = _Challenge(credential.new_id(now), challenge, now + CHALLENGE_IN, user_id, ticket)
    return id_text(seal(authority.keyring, purpose, msgspec.json.encode(asked)))


def _open(authority: Authority, purpose: str, text: str) -> _Challenge | None:
    try:
        plain = open_sealed(authority.keyring, purpose, _unpadded(text))
        asked = msgspec.json.decode(plain, type=_Challenge)
    except (CannotOpen, ValueError, msgspec.MsgspecError):
        return None
    return asked if authority.clock.now() < asked.expires_at else None


def _unpadded(text: str) -> bytes:
    if not text.isascii() or len(text) > MAX_RESPONSE:
        raise ValueError("not base64url")
    try:
        return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("not base64url") from error


def _decoded(response: str) -> dict[str, Any]:
    if len(response) > MAX_RESPONSE:
        raise InvalidInput.of("response", "is longer than any passkey's answer")
    try:
        answer = json.loads(response)
    except (ValueError, RecursionError) as error:
        raise InvalidInput.of("response", "is not JSON") from error
    if not isinstance(answer, dict):
        raise InvalidInput.of("response", "is not a JSON object")
    return answer


def _named(name: str) -> str:
    return "".join(one for one in name.strip() if one.isprintable())[:100] or "Passkey"
