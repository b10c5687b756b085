"""Upstream secrets as they travel: set once, replaced, never read."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from .base import Request, Text
from .records import RecordView

SecretName = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$(?!\n)")]
SecretValue = Annotated[str, Meta(min_length=8, max_length=4096)]


class CreateUpstreamSecret(Request):
    """Keep a secret that upstreams of the gateway want to see. It is sealed, and never shown again."""

    name: SecretName
    value: SecretValue
    description: Text = ""


class UpdateUpstreamSecret(Request):
    """Replace a secret, or what is said of it. Its name stays: routes call it by that."""

    value: SecretValue | UnsetType = UNSET
    description: Text | UnsetType = UNSET


class UpstreamSecretView(RecordView):
    """What may be known of a secret: ``version`` grows each time it is replaced."""

    name: str
    version: int
    description: str
