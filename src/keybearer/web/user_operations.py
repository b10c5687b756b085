"""The endpoints that only users have, and those of sessions."""

from __future__ import annotations

from typing import Any

from ..services import sessions, user_links, users
from ..wire.listing import Listing
from ..wire.users import (
    EndedSessions,
    FactorsView,
    LinkSpec,
    LinkView,
    SendLink,
    SentLink,
    SessionView,
    SetPassword,
)
from .operation import CURSOR, LIMIT, Call, Operation, Parameter

READ, WRITE = "keybearer:users.read", "keybearer:users.write"


async def _factors(call: Call) -> Any:
    return await users.factors(call.authority, call.caller, call.path["id"])


async def _set_password(call: Call) -> Any:
    return await users.set_password(call.authority, call.caller, call.path["id"], call.body)


async def _reset_second_factor(call: Call) -> Any:
    return await users.reset_second_factor(call.authority, call.caller, call.path["id"])


async def _send_link(call: Call) -> Any:
    return await users.send_link(call.authority, call.caller, call.path["id"], call.body)


async def _links(call: Call) -> Any:
    return await user_links.page(call.authority, call.caller, call.path["id"], call.page("issuer"))


async def _add_link(call: Call) -> Any:
    return await user_links.add(call.authority, call.caller, call.path["id"], call.body)


async def _remove_link(call: Call) -> Any:
    return await user_links.remove(call.authority, call.caller, call.path["id"], call.path["link"])


async def _sessions(call: Call) -> Any:
    return await sessions.page(call.authority, call.caller, call.page("user_id", "state"))


async def _session(call: Call) -> Any:
    return await sessions.get(call.authority, call.caller, call.path["id"])


async def _end_session(call: Call) -> Any:
    return await sessions.end_one(call.authority, call.caller, call.path["id"])


async def _end_sessions(call: Call) -> Any:
    return await sessions.end_all_of(call.authority, call.caller, call.path["id"])


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="GET", path="/v1/users/{id}/factors", operation_id="users.factors", tag="Users", permission=READ,
        summary="See what a user can sign in with", handler=_factors, response=FactorsView,
    ),
    Operation(
        method="PUT", path="/v1/users/{id}/password", operation_id="users.set_password", tag="Users", permission=WRITE,
        summary="Set a user's password and end their sessions",
        handler=_set_password, body=SetPassword, response=FactorsView,
    ),
    Operation(
        method="POST", path="/v1/users/{id}/reset-second-factor", operation_id="users.reset_second_factor", tag="Users",
        permission=WRITE, summary="Take away a user's second factors and passkeys",
        handler=_reset_second_factor, response=FactorsView,
    ),
    Operation(
        method="POST", path="/v1/users/{id}/send-link", operation_id="users.send_link", tag="Users", permission=WRITE,
        summary="Send a user an invitation or another link by mail",
        handler=_send_link, body=SendLink, optional_body=True, response=SentLink,
    ),
    Operation(
        method="GET", path="/v1/users/{id}/links", operation_id="users.links", tag="Users", permission=READ,
        summary="List who a user is elsewhere", handler=_links, response=Listing[LinkView],
        parameters=(Parameter("issuer", "Only those whose issuer is this."), LIMIT, CURSOR),
    ),
    Operation(
        method="POST", path="/v1/users/{id}/links", operation_id="users.add_link", tag="Users", permission=WRITE,
        summary="Say who a user is elsewhere", handler=_add_link, body=LinkSpec, response=LinkView, status=201,
    ),
    Operation(
        method="DELETE", path="/v1/users/{id}/links/{link}", operation_id="users.remove_link", tag="Users",
        permission=WRITE, summary="Forget who a user is elsewhere", handler=_remove_link, response=LinkView,
    ),
    Operation(
        method="GET", path="/v1/sessions", operation_id="sessions.list", tag="Sessions",
        permission="keybearer:sessions.read", summary="List sessions", handler=_sessions, response=Listing[SessionView],
        parameters=(
            *(Parameter(name, f"Only those whose {name} is this.") for name in ("user_id", "state")), LIMIT, CURSOR
        ),
    ),
    Operation(
        method="GET", path="/v1/sessions/{id}", operation_id="sessions.get", tag="Sessions",
        permission="keybearer:sessions.read", summary="Read a session", handler=_session, response=SessionView,
    ),
    Operation(
        method="POST", path="/v1/sessions/{id}/end", operation_id="sessions.end", tag="Sessions",
        permission="keybearer:sessions.write", summary="End a session for good",
        handler=_end_session, response=SessionView,
    ),
    Operation(
        method="POST", path="/v1/users/{id}/end-sessions", operation_id="sessions.end_all", tag="Sessions",
        permission="keybearer:sessions.write", summary="End every session of a user",
        handler=_end_sessions, response=EndedSessions,
    ),
)  # fmt: skip
