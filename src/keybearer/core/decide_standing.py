"""The decision about a remembered credential: the same as ``decide`` and ``decide_token`` make about its record.

What can be wrong with the credential itself is not looked at again but for its end: an event would have come.
"""

from __future__ import annotations

from .decide import check_demand, check_restrictions
from .decide_token import check_authentication
from .errors import Code, Rejected
from .instant import Instant
from .records import CredentialKind, State
from .remembered import Remembered
from .requirement import Requirement


def decide_standing(remembered: Remembered, requirement: Requirement, now: Instant) -> None:
    """Return where the credential opens the door, else raise ``Rejected`` with the first check that fails."""

    def reject(code: Code, public: str, missing: tuple[str, ...] = ()) -> Rejected:
        return Rejected(code, public, missing=missing)

    kind = remembered.kind
    if remembered.until is not None and now >= remembered.until:
        raise reject(Code.EXPIRED, "This credential has expired.")
    if requirement.accept is not None and kind not in requirement.accept:
        raise reject(Code.KIND_NOT_ACCEPTED, f"A {kind.value} is not accepted here.")
    api = requirement.api
    if api is not None:
        if kind not in api.accepts:
            raise reject(Code.KIND_NOT_ACCEPTED, f"This API does not accept a {kind.value}.")
        if api.state is not State.ENABLED or api.id not in remembered.api_ids:
            raise reject(Code.API_NOT_ALLOWED, "This credential is not for this API.")
    if remembered.is_restricted:
        check_restrictions(remembered, requirement, reject)
    is_token = kind is CredentialKind.ACCESS_TOKEN
    if is_token and requirement.key_thumbprint:
        raise reject(Code.PROOF_INVALID, "A DPoP proof came with a token that is not bound to a key.")
    if requirement.acr_values or requirement.max_age is not None:
        if not is_token:
            raise reject(Code.INSUFFICIENT_AUTHENTICATION, "An API key cannot tell how a user signed in.")
        check_authentication(remembered, requirement, now, reject)
    check_demand(remembered, requirement, reject)
