"""``device_code``: a device without a browser asks again and again until its user has answered elsewhere.

Spec: RFC 8628 §3.4 and §3.5.
"""

from __future__ import annotations

import hmac
from dataclasses import replace
from typing import Final

import msgspec

from ..core import authorization_details, credential
from ..core.artefacts import Artefact, ArtefactKind
from ..core.clients import GrantType
from ..core.device_request import INTERVAL_IN, MAX_INTERVAL_IN, Answer, DeviceRequest
from ..core.errors import NotFound
from ..core.instant import SECOND
from ..core.lifecycle import use_up
from ..core.oauth_error import (
    AccessDenied,
    AuthorizationPending,
    ExpiredToken,
    InvalidGrant,
    OAuthError,
    SlowDown,
)
from ..core.target import choose_api
from ..ports import UnitOfWork
from .desk import Desk, Entitlement, Issued, TokenRequest
from .standing import require_standing

PREFIX: Final = "kb_dc"
_BAD: Final = "The device code is not good: unknown, used before, or another client's."
_TOLERANCE_IN: Final = SECOND // 2
"""How much too early a poll may come: networks are not even."""


class DeviceCodeGrant:
    """The grant."""

    grant_type: Final = GrantType.DEVICE_CODE

    async def redeem(self, request: TokenRequest, desk: Desk) -> Issued:
        """Issue once the user has agreed; until then say what the device should do."""
        text = request.form.need("device_code")
        parts = credential.split(text)
        if parts is None or parts[0] != PREFIX:
            raise InvalidGrant(_BAD)
        code_id = parts[1]

        async def work(uow: UnitOfWork) -> Issued | OAuthError:
            artefact, asked = await _request_of(uow, code_id, text, request, desk)
            if request.now >= artefact.expires_at:
                return ExpiredToken("The device code is over: start again.")
            if asked.polled_at is not None and request.now < asked.polled_at + asked.interval_in - _TOLERANCE_IN:
                longer = min(asked.interval_in + INTERVAL_IN, MAX_INTERVAL_IN)
                await _note(uow, artefact, replace(asked, interval_in=longer, polled_at=request.now))
                return SlowDown(f"Ask every {longer // SECOND} seconds from now on.")
            if asked.answer is Answer.PENDING:
                await _note(uow, artefact, replace(asked, polled_at=request.now))
                return AuthorizationPending("The user has not answered yet.")
            await uow.update_artefact(use_up(artefact, request.now))
            if asked.answer is Answer.DENIED:
                return AccessDenied("The user did not agree.")
            issued = desk.draft(await _entitlement(uow, asked, request, desk), request)
            await desk.keep(uow, issued, request)
            return issued

        outcome = await desk.store.transact(work)
        if isinstance(outcome, OAuthError):
            raise outcome
        return outcome


async def _request_of(
    uow: UnitOfWork, code_id: str, text: str, request: TokenRequest, desk: Desk
) -> tuple[Artefact, DeviceRequest]:
    try:
        artefact = await uow.get_artefact(ArtefactKind.DEVICE_CODE, code_id)
    except NotFound:
        raise InvalidGrant(_BAD) from None
    presented = desk.keyring.digest(artefact.pepper_id, text)
    if (
        not hmac.compare_digest(presented, artefact.digest)
        or artefact.subject != request.client.id
        or artefact.used_at is not None
    ):
        raise InvalidGrant(_BAD)
    return artefact, msgspec.json.decode(artefact.body, type=DeviceRequest)


async def _note(uow: UnitOfWork, artefact: Artefact, asked: DeviceRequest) -> None:
    await uow.update_artefact(replace(artefact, body=msgspec.json.encode(asked)))


async def _entitlement(uow: UnitOfWork, asked: DeviceRequest, request: TokenRequest, desk: Desk) -> Entitlement:
    client = request.client
    standing = await require_standing(uow, client.id, request.now, user_id=asked.user_id, grant_id=asked.grant_id)
    if standing.user is None:
        raise InvalidGrant(_BAD)
    apis = tuple(api for api in request.apis if not asked.resources or api.id in asked.resources)
    api = choose_api(apis, request.form.all("resource"), asked.scopes, consented=bool(asked.resources))
    details = authorization_details.parse(request.form.get("authorization_details"), request.apis)
    return Entitlement(
        client=client,
        project=request.project,
        subject=desk.subject_for(standing.user, client),
        scopes=asked.scopes,
        api=api,
        resources=asked.resources,
        user=standing.user,
        grant=standing.grant,
        authorization_details=asked.authorization_details,
        selected_details=authorization_details.selected(asked.authorization_details, details),
        authenticated_at=asked.authenticated_at,
        amr=asked.amr,
        acr=asked.acr,
        key_thumbprint=request.key_thumbprint,
        certificate_thumbprint=request.certificate_thumbprint,
        renewable=GrantType.REFRESH_TOKEN in client.grant_types,
        # The device outlives the browser's session in which the user agreed.
        offline=True,
    )


GRANT: Final = DeviceCodeGrant()
