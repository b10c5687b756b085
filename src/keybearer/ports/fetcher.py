"""The fetcher: the only way out to other servers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Fetched:
    """What another server answered: never a redirect, and never more bytes than were allowed."""

    status: int
    media_type: str
    body: bytes
    max_age: int | None = None


class Fetcher(Protocol):
    """The only way out: one guarded client for what URLs of others point at (SECURITY-BAR 27)."""

    async def get(
        self, url: str, *, accept: str = "application/json", headers: Mapping[str, str] = ..., limit: int = 65_536
    ) -> Fetched:
        """Return what an ``https`` URL answers, within seconds and at most ``limit`` bytes; raises ``Unreachable``."""
        ...

    async def post(
        self, url: str, content: bytes, content_type: str, headers: Mapping[str, str] = ..., *, limit: int = 65_536
    ) -> Fetched:
        """Post bytes to an ``https`` URL, once, and return what it answers, under the same bounds as ``get``."""
        ...

    async def post_form(
        self, url: str, form: Mapping[str, str], headers: Mapping[str, str] = ..., *, limit: int = 65_536
    ) -> Fetched:
        """Post a form to an ``https`` URL, once, and return what it answers, under the same bounds as ``get``."""
        ...
