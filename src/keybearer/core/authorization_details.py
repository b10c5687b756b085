"""Rich authorization requests: a JSON list of objects, each of a ``type`` that an API understands. Spec: RFC 9396.

An API names its types in its metadata, as ``authorization_details_types``: a list, or an object that says in words what
each is. What a token carries is always a selection of what was granted, compared member by member.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from . import strict_json
from .oauth_error import InvalidAuthorizationDetails
from .records import Api

MAX_LENGTH: Final = 8192
MAX_DETAILS: Final = 20
MAX_DEPTH: Final = 8
TYPES_MEMBER: Final = "authorization_details_types"

Details = tuple[Mapping[str, object], ...]


def types_of(api: Api) -> frozenset[str]:
    """Return the types that an API understands."""
    declared = api.metadata.get(TYPES_MEMBER, ())
    return (
        frozenset(one for one in declared if isinstance(one, str))
        if isinstance(declared, list | tuple | dict)
        else _NONE
    )


_NONE: Final[frozenset[str]] = frozenset()


def parse(text: str, apis: Iterable[Api]) -> Details:
    """Return the details that a request asks for, at these APIs; raises ``InvalidAuthorizationDetails``."""
    if not text:
        return ()
    if len(text) > MAX_LENGTH:
        raise InvalidAuthorizationDetails(f"authorization_details has more than {MAX_LENGTH} characters.")
    try:
        found = strict_json.loads(text, MAX_DEPTH + 1)
    except ValueError:
        raise InvalidAuthorizationDetails("authorization_details is not JSON.") from None
    if not isinstance(found, list) or not 1 <= len(found) <= MAX_DETAILS:
        raise InvalidAuthorizationDetails(f"authorization_details is a list of 1 to {MAX_DETAILS} plain objects.")
    by_type: dict[str, set[str]] = {}
    for api in apis:
        for name in types_of(api):
            by_type.setdefault(name, set()).add(api.identifier)
    for detail in found:
        _check(detail, by_type)
    return tuple(found)


def selected(granted: Sequence[Mapping[str, object]], asked: Details) -> Details:
    """Return what a token request picks of what was granted, all without a choice.

    Raises ``InvalidAuthorizationDetails`` for what was not granted. Spec: RFC 9396 §6.
    """
    if not asked:
        return tuple(granted)
    if any(detail not in granted for detail in asked):
        raise InvalidAuthorizationDetails("authorization_details asks for more than was granted.")
    return asked


def at(api: Api | None, details: Iterable[Mapping[str, object]]) -> Details:
    """Return those details that are for this API: of its types and, where they name locations, at it."""
    if api is None:
        return ()
    types = types_of(api)
    return tuple(one for one in details if one.get("type") in types and api.identifier in _locations(one, api))


def _check(detail: Any, by_type: Mapping[str, set[str]]) -> None:
    if not isinstance(detail, dict) or not isinstance(detail.get("type"), str):
        raise InvalidAuthorizationDetails("Each of authorization_details is an object with a type.")
    identifiers = by_type.get(detail["type"])
    if identifiers is None:
        raise InvalidAuthorizationDetails("No API of this client understands a type in authorization_details.")
    locations = detail.get("locations", [])
    if not isinstance(locations, list) or not all(isinstance(one, str) for one in locations):
        raise InvalidAuthorizationDetails("locations is a list of identifiers of APIs.")
    if locations and not identifiers.issuperset(locations):
        raise InvalidAuthorizationDetails("locations names an API that does not understand this type.")


def _locations(detail: Mapping[str, object], api: Api) -> Sequence[str]:
    locations = detail.get("locations")
    return locations if isinstance(locations, list | tuple) and locations else (api.identifier,)
