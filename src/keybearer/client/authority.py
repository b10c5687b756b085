"""What is asked of the authority as a whole: verify, refund, whoami, usage, the audit log and the event log."""

# ruff: noqa: A002 (parameters have the names of the wire: id, credits)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

from ..core.records import CredentialKind
from ..core.secret import Secret
from ..wire.keys import AndroidAppSpec
from ..wire.listing import AuditVerification, AuditView, EventFeed, Listing, UsageReport
from ..wire.verify import (
    CreditCost,
    LimitCost,
    RefundRequest,
    RefundResponse,
    RevokedMine,
    RevokeMine,
    VerifyRequest,
    VerifyResponse,
    Whoami,
)
from .call import Call, Pages, listed, query, revealed
from .clients import Clients, Grants, SigningKeys
from .keys import Keys
from .leaks import Incidents, Leaks
from .operation import D, Resource, operation, series
from .records import Apis, Identities, Plans, Projects
from .routes import Routes
from .upstream_secrets import UpstreamSecrets
from .upstreams import Upstreams
from .users import Sessions, Users
from .webhooks import Webhooks

UsageGroup = Literal["minute", "hour", "day", "project_id", "key_id", "api_id", "code", "source", "tag"]


class Audit(Resource[D]):
    """Who did what: append-only and chained by digests."""

    @series
    def list(
        self,
        *,
        actor: str | None = None,
        action: str | None = None,
        target: str | None = None,
        project_id: str | None = None,
        oldest_first: bool = False,
        page_size: int | None = None,
        cursor: str | None = None,
    ) -> Pages[AuditView]:
        """Iterate over the entries, the newest first unless told otherwise, through all pages."""
        parameters = query(
            actor=actor,
            action=action,
            target=target,
            project_id=project_id,
            order="oldest_first" if oldest_first else None,
            limit=page_size,
            cursor=cursor,
        )
        return Pages(Call("GET", "/v1/audit", Listing[AuditView], query=parameters, idempotent=True))

    @operation
    def verify(self, *, expected: str | None = None) -> Call[AuditVerification]:
        """Check the whole chain. ``expected`` (``seq:digest`` of an earlier answer) also notices a cut-off end."""
        return Call("GET", "/v1/audit/verification", AuditVerification, query=query(expected=expected), idempotent=True)


class Authority(Resource[D]):
    """Everything that Keybearer answers, grouped by what it is about."""

    def __init__(self, driver: D) -> None:
        super().__init__(driver)
        self.apis = Apis(driver)
        self.projects = Projects(driver)
        self.plans = Plans(driver)
        self.identities = Identities(driver)
        self.keys = Keys(driver)
        self.users = Users(driver)
        self.sessions = Sessions(driver)
        self.clients = Clients(driver)
        self.grants = Grants(driver)
        self.signing_keys = SigningKeys(driver)
        self.upstreams = Upstreams(driver)
        self.routes = Routes(driver)
        self.secrets = UpstreamSecrets(driver)
        self.leaks = Leaks(driver)
        self.incidents = Incidents(driver)
        self.webhooks = Webhooks(driver)
        self.audit = Audit(driver)

    @operation
    def verify(
        self,
        credential: str | Secret,
        *,
        api: str | None = None,
        permissions: Sequence[str] | str | None = None,
        accept: Sequence[CredentialKind | str] | None = None,
        limits: Mapping[str, int] | None = None,
        cost: int = 1,
        credits: int | None = None,
        client_ip: str | None = None,
        origin: str | None = None,
        referrer: str | None = None,
        android_app: AndroidAppSpec | None = None,
        ios_bundle_id: str | None = None,
        method: str | None = None,
        url: str | None = None,
        dpop: str | None = None,
        certificate_thumbprint: str | None = None,
        acr_values: Sequence[str] = (),
        max_age: int | None = None,
        request_id: str | None = None,
        tags: Sequence[str] = (),
        remember: bool = False,
    ) -> Call[VerifyResponse]:
        """Ask whether a credential opens a door; whatever else is given must hold too. Look at ``valid``.

        ``permissions`` is a list, or an expression with ``and``, ``or`` and parentheses. ``limits`` maps named limits
        to what they cost, ``credits`` is what the request costs in credits. With a ``request_id`` the request is
        charged once, however often it is asked, and this client may ask again when an answer got lost. ``dpop`` is the
        proof that came with a token, ``max_age`` how many seconds ago its user may have signed in at most.
        ``remember`` is for guards that follow the event stream (``keybearer.guards`` does).
        """
        return Call(
            "POST",
            "/v1/verify",
            VerifyResponse,
            body=VerifyRequest(
                credential=revealed(credential),
                accept=None if accept is None else [CredentialKind(kind) for kind in listed(accept)],
                api=api,
                permissions=permissions if permissions is None or isinstance(permissions, str) else listed(permissions),
                limits=[LimitCost(name, amount) for name, amount in (limits or {}).items()],
                cost=cost,
                credits=None if credits is None else CreditCost(credits),
                client_ip=client_ip,
                origin=origin,
                referrer=referrer,
                android_app=android_app,
                ios_bundle_id=ios_bundle_id,
                method=method,
                url=url,
                dpop=dpop,
                certificate_thumbprint=certificate_thumbprint,
                acr_values=listed(acr_values),
                max_age=max_age,
                request_id=request_id,
                tags=listed(tags),
                remember=remember,
            ),
            idempotent=request_id is not None,
        )

    @operation
    def refund(self, key_id: str, request_id: str) -> Call[RefundResponse]:
        """Give back what a verify with this ``request_id`` took, if that was not used; works once, within a day."""
        return Call("POST", "/v1/refund", RefundResponse, body=RefundRequest(key_id, request_id), idempotent=True)

    @operation
    def whoami(self) -> Call[Whoami]:
        """Return what the holder of this client's own key may know about it."""
        return Call("GET", "/v1/whoami", Whoami, idempotent=True)

    @operation
    def revoke_mine(self, *, reason: str = "", wait: bool = False) -> Call[RevokedMine]:
        """Burn this client's own key, for good."""
        return Call("POST", "/v1/revoke-mine", RevokedMine, body=RevokeMine(reason=reason, wait=wait))

    @operation
    def usage(
        self,
        *,
        start: datetime | str | None = None,
        end: datetime | str | None = None,
        group_by: Sequence[UsageGroup] = (),
        project_id: str | None = None,
        key_id: str | None = None,
        api_id: str | None = None,
        code: str | None = None,
        source: str | None = None,
        tag: str | None = None,
        limit: int | None = None,
    ) -> Call[UsageReport]:
        """Count requests from ``start`` to ``end``, by group and filtered.

        The bounds are instants, or ``now``, or such as ``-24h`` (the default for ``start``).
        ``source`` (address) and ``tag`` are counted by the hour and do not go with ``minute`` or ``api_id``.
        """
        parameters = query(
            start=start,
            end=end,
            group_by=listed(group_by) or None,
            project_id=project_id,
            key_id=key_id,
            api_id=api_id,
            code=code,
            source=source,
            tag=tag,
            limit=limit,
        )
        return Call("GET", "/v1/usage", UsageReport, query=parameters, idempotent=True)

    @operation
    def events(self, *, after: int = 0, limit: int | None = None) -> Call[EventFeed]:
        """Return the changes that can alter a decision, oldest first, from behind sequence ``after`` on.

        Their ``seq`` is dense: ask again from behind the last one, until it is the answer's ``head``.
        """
        return Call("GET", "/v1/events", EventFeed, query=query(after=after, limit=limit), idempotent=True)


__all__ = ["Audit", "Authority", "UsageGroup"]
