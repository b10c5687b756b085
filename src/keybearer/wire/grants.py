"""Grants as they travel: what users allowed clients, listed, narrowed and revoked."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from .base import Metadata, Moment, PermissionText, Request
from .limits import QuotaSpec, RateLimitSpec
from .records import RecordView


class GrantView(RecordView, kw_only=True):
    """What a user allowed a client."""

    user_id: str
    client_id: str
    project_id: str
    scopes: list[str]
    resources: list[str]
    authorization_details: list[Metadata]
    expires_at: datetime | None
    revoked_at: datetime | None
    limits: list[RateLimitSpec]
    quotas: list[QuotaSpec]


class UpdateGrant(Request, kw_only=True):
    """Narrow a grant, or limit what its tokens may spend. Scopes can only be taken away; only the user gives more."""

    scopes: Annotated[list[PermissionText], Meta(max_length=100)] | UnsetType = UNSET
    expires_at: Moment | UnsetType = UNSET
    limits: Annotated[list[RateLimitSpec], Meta(max_length=20)] | UnsetType = UNSET
    quotas: Annotated[list[QuotaSpec], Meta(max_length=20)] | UnsetType = UNSET


class RevokeGrant(Request):
    """Revoke a grant, with every token that it gave; with ``wait``, return once every node refuses them."""

    wait: bool = False
