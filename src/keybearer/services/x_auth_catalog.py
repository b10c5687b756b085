"""The catalogue of the X-Auth-Token service: which services an API offers, and where, as its metadata says.

``metadata.catalog`` of an API is a list of services, each with ``type``, ``name``, ``url`` and ``region``. The URL may
hold ``{project_id}``, which stands for the calling project's id: Swift has the account in the path.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from ..core.errors import InvalidInput
from ..core.records import Api
from ..wire.plain_words import explained
from ..wire.x_auth import CatalogEntry
from .problems import Problems
from .text import check_text

FIELD: Final = "catalog"
OBJECT_STORE: Final = "object-store"
MAX_ENTRIES: Final = 20
_PLACEHOLDER: Final = "{project_id}"


def check_catalog(problems: Problems, metadata: Mapping[str, Any]) -> None:
    """Note everything that is wrong with the catalogue of an API, where it has one."""
    if FIELD not in metadata:
        return
    path = f"metadata.{FIELD}"
    try:
        entries = _read(metadata[FIELD])
    except InvalidInput as error:
        for problem in error.problems:
            problems.add(f"{path}{problem.field.removeprefix(FIELD)}", problem.message)
        return
    if len(entries) > MAX_ENTRIES:
        problems.add(path, f"may have {MAX_ENTRIES} entries at most")
    seen: set[tuple[str, str]] = set()
    for index, entry in enumerate(entries):
        at = f"{path}[{index}]"
        check_text(problems, entry.name, f"{at}.name")
        check_text(problems, entry.region, f"{at}.region")
        if not _is_good_url(entry.url):
            problems.add(
                f"{at}.url",
                f"write an http(s) URL without query, such as 'https://storage.example.com/v1/AUTH_{_PLACEHOLDER}'",
            )
        if (entry.type, entry.region) in seen:
            problems.add(at, "this type stands here twice for the same region")
        seen.add((entry.type, entry.region))


def entries_of(api: Api) -> tuple[CatalogEntry, ...]:
    """Return the catalogue of an API, empty where it has none."""
    if FIELD not in api.metadata:
        return ()
    try:
        return _read(api.metadata[FIELD])
    except InvalidInput:
        return ()  # from before catalogues were checked


def url_for(entry: CatalogEntry, project_id: str) -> str:
    """Return where a project finds a service."""
    return entry.url.replace(_PLACEHOLDER, project_id)


def _read(value: Any) -> tuple[CatalogEntry, ...]:
    try:
        return msgspec.convert(value, tuple[CatalogEntry, ...])
    except msgspec.ValidationError as error:
        raise explained(error, FIELD) from None


def _is_good_url(url: str) -> bool:
    plain = url.replace(_PLACEHOLDER, "x")
    try:
        parts = urlsplit(plain)
        _ = parts.port
    except ValueError:
        return False
    return (
        plain.isascii()
        and all("!" <= character <= "~" and character not in '{}"<>\\^`|' for character in plain)
        and parts.scheme in ("http", "https")
        and bool(parts.hostname)
        and "@" not in parts.netloc
        and _PLACEHOLDER not in urlsplit(url).netloc
        and not ("?" in plain or "#" in plain)
    )
