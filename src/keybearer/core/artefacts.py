"""Artefacts: what is made for one use and a short time, each kind apart from every other.

Codes, pushed requests, mail links, and the ids of assertions and proofs that must not come twice. The kind is a part of
the key, so that no artefact can pass for another (Keycloak CVE-2026-4282).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from .instant import Instant


class ArtefactKind(StrEnum):
    """What an artefact is good for."""

    AUTHORIZATION_CODE = "authorization_code"
    DEVICE_CODE = "device_code"
    USER_CODE = "user_code"
    PUSHED_REQUEST = "pushed_request"
    ASSERTION_ID = "assertion_id"
    PROOF_ID = "proof_id"
    EMAIL_VERIFICATION = "email_verification"
    PASSWORD_RESET = "password_reset"
    INVITATION = "invitation"
    SIGN_IN_LINK = "sign_in_link"
    SIGN_IN_STEP = "sign_in_step"
    KNOWN_DEVICE = "known_device"
    DECOY = "decoy"
    INITIAL_ACCESS_TOKEN = "initial_access_token"
    UPSTREAM_STATE = "upstream_state"
    LOGOUT_NOTICE = "logout_notice"
    BFF_SESSION = "bff_session"


@dataclass(frozen=True, slots=True)
class Artefact:
    """One artefact: ``digest`` is of its secret (empty when its id is all there is), ``body`` what it stands for.

    The body is JSON. ``subject`` is the user, client or session that it belongs to, and ``used_at`` when it was used
    up; it is kept until ``expires_at`` all the same, so that a second use is seen.
    """

    kind: ArtefactKind
    id: str
    created_at: Instant
    expires_at: Instant
    digest: bytes = b""
    pepper_id: str = ""
    subject: str = ""
    body: bytes = b"{}"
    attempts: int = 0
    used_at: Instant | None = None
