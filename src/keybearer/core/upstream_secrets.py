"""Upstream secrets: what the gateway shows to the servers behind it, and nobody else ever sees again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .records import Record

UPSTREAM_SECRET_ID: Final = "sec_"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamSecret(Record):
    """One secret, sealed; routes call it by its ``name``. ``version`` grows with each rotation."""

    name: str
    sealed: bytes
    version: int = 1
    description: str = ""
