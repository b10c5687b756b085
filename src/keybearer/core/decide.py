"""The decision: a pure function of (record, matched version, requirement, now). Tested as a table.

The order of the checks is the order of the answers: what is wrong with the credential itself is said before what is
wrong with the request. Limits come after, in ``verify``, so that a denial never spends any.
Spec: DESIGN §3.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from .errors import Code, Rejected
from .instant import Instant
from .principal import Principal
from .records import NATIVE, KeyRecord, Network, Restrictions, SecretVersion, State
from .requirement import Requirement
from .sources import application_allowed, in_networks, path_matches


class Held(Protocol):
    """What a credential holds, wherever that is known from."""

    @property
    def permissions(self) -> frozenset[str]:
        """The permissions held, wildcards unexpanded."""
        ...

    @property
    def restrictions(self) -> Restrictions:
        """From where and for what it may be used."""
        ...

    @property
    def networks(self) -> tuple[Network, ...]:
        """The networks of the restrictions, read."""
        ...


_ENABLED: Final = State.ENABLED
_STANDING: Final = {
    State.DISABLED: (Code.DISABLED, "This key is disabled."),
    State.REVOKED: (Code.REVOKED, "This key was revoked."),
    State.DELETED: (Code.NOT_FOUND, "This key was deleted."),
}


def match(versions: Sequence[SecretVersion], text: str, digest: Callable[[str, str], bytes]) -> SecretVersion | None:
    """Return the version that the presented text is the secret of, comparing in constant time, or ``None``.

    ``digest(pepper_id, text)`` is called once per pepper. Every version is compared, whichever matches. Versions that
    still have the hash of another system are not looked at (``formats/foreign.py``).
    """
    found, pepper_id, presented = None, None, b""
    for version in versions:
        if version.scheme == NATIVE:
            if version.pepper_id != pepper_id:
                pepper_id = version.pepper_id
                presented = digest(pepper_id, text)
            if hmac.compare_digest(presented, version.digest):
                found = version
    return found


def decide(record: KeyRecord, version: SecretVersion | None, requirement: Requirement, now: Instant) -> Principal:
    """Return the principal, or raise ``Rejected`` with the first check that fails.

    ``version`` is what ``match`` returned; ``None`` (no secret matched) is ``NOT_FOUND``, and names no record.
    """
    if version is None:
        raise Rejected(Code.NOT_FOUND)
    key, project, identity = record.key, record.project, record.identity

    def reject(code: Code, public: str, missing: tuple[str, ...] = ()) -> Rejected:
        return Rejected(code, public, record=record, version=version.number, missing=missing)

    # The credential itself.
    if key.state is not _ENABLED:
        raise reject(*_STANDING[key.state])
    if version.revoked_at is not None:
        raise reject(*_STANDING[State.REVOKED])
    if (version.expires_at is not None and now >= version.expires_at) or (
        key.expires_at is not None and now >= key.expires_at
    ):
        raise reject(Code.EXPIRED, "This key has expired.")
    if project.state is not _ENABLED:
        raise reject(Code.OWNER_DISABLED, "The project of this key is disabled.")
    if identity is not None and identity.state is not _ENABLED:
        raise reject(Code.OWNER_DISABLED, "The identity of this key is disabled.")

    # The door it is presented at.
    if requirement.accept is not None and key.kind not in requirement.accept:
        raise reject(Code.KIND_NOT_ACCEPTED, f"A {key.kind.value} is not accepted here.")
    api = requirement.api
    if api is not None:
        if key.kind not in api.accepts:
            raise reject(Code.KIND_NOT_ACCEPTED, f"This API does not accept a {key.kind.value}.")
        if api.state is not State.ENABLED or api.id not in project.enabled_apis:
            raise reject(Code.API_NOT_ALLOWED, "This API is not enabled for the project.")
    if record.is_restricted:
        check_restrictions(record, requirement, reject)
    if requirement.acr_values or requirement.max_age is not None:
        raise reject(Code.INSUFFICIENT_AUTHENTICATION, "An API key cannot tell how a user signed in.")
    check_demand(record, requirement, reject)
    return Principal(record, version.number)


def check_demand(record: Held, requirement: Requirement, reject: Callable[..., Rejected]) -> None:
    """Raise when a permission is lacking that the guard demands."""
    if requirement.demand is not None:
        missing = requirement.demand.missing(record.permissions)
        if missing:
            raise reject(Code.INSUFFICIENT_PERMISSIONS, "This credential lacks a permission.", missing)


def check_restrictions(record: Held, requirement: Requirement, reject: Callable[..., Rejected]) -> None:
    """Raise when the restrictions are not met. What is restricted but not stated is refused."""
    restrictions = record.restrictions
    api = requirement.api
    if restrictions.apis and (api is None or api.id not in restrictions.apis):
        raise reject(Code.API_NOT_ALLOWED, _said(api, "This key is restricted to other APIs.", "APIs", "api"))
    if record.networks and (requirement.client_ip is None or not in_networks(requirement.client_ip, record.networks)):
        text = _said(requirement.client_ip, "This key may not be used from this address.", "addresses", "client_ip")
        raise reject(Code.IP_NOT_ALLOWED, text)
    if restrictions.names_an_application and not application_allowed(
        restrictions,
        origin=requirement.origin,
        referrer=requirement.referrer,
        android_app=requirement.android_app,
        ios_bundle_id=requirement.ios_bundle_id,
    ):
        stated = requirement.origin or requirement.referrer or requirement.android_app or requirement.ios_bundle_id
        fields = _named(
            ("origin", restrictions.origins),
            ("referrer", restrictions.referrers),
            ("android_app", restrictions.android_apps),
            ("ios_bundle_id", restrictions.ios_bundle_ids),
        )
        text = _said(stated, "This key may not be used from this site or app.", "sites or apps", fields)
        raise reject(Code.ORIGIN_NOT_ALLOWED, text)
    if restrictions.methods and requirement.method not in restrictions.methods:
        text = _said(requirement.method, "This key may not be used with this method.", "methods", "method")
        raise reject(Code.REQUEST_NOT_ALLOWED, text)
    if restrictions.paths and (
        requirement.path is None or not any(path_matches(pattern, requirement.path) for pattern in restrictions.paths)
    ):
        text = _said(requirement.path, "This key may not be used for this path.", "paths", "url")
        raise reject(Code.REQUEST_NOT_ALLOWED, text)


def _named(*fields: tuple[str, tuple[object, ...]]) -> str:
    return " or ".join(name for name, restricted in fields if restricted)


def _said(stated: object, text: str, what: str, field: str) -> str:
    """Return ``text``, or that the caller did not state what the key is restricted by: mostly a slip of the caller."""
    return text if stated is not None else f"This key is restricted to certain {what}, and no {field} was given."
