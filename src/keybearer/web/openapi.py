"""The OpenAPI 3.1 document, made from the same table and types that the server runs on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from .. import __version__
from ..wire.keys import ImportKey, ImportProgress, ImportReport
from ..wire.leaks import ReportedLeaks, ReportLeaks
from ..wire.listing import Problem
from ..wire.users import ImportUser
from ..wire.verify import RevokedMine, RevokeMine, VerifyRequest, VerifyResponse, Whoami
from .operation import Operation

_TEMPLATE: Final = "#/components/schemas/{name}"
_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_ERRORS: Final = {
    400: "Something in the request is wrong; `errors` names each field.",
    401: "No valid credential was sent.",
    403: "The credential lacks a permission; `missing` names it.",
    404: "There is no such record for this caller.",
    409: "The change clashes with what is stored.",
    413: "The body is too large.",
    415: "The media type is not what this operation takes.",
    422: "The Idempotency-Key was used for another request.",
    429: "Too many bad credentials came from this address, or a limit is used up.",
    503: "The database does not answer; try again.",
}
_DESCRIPTION: Final = (
    "One authority for API keys and access tokens. Instants are RFC 3339 in UTC, durations whole seconds. Send a key "
    "of Keybearer's own API as a bearer token. An `Idempotency-Key` header makes a change safe to repeat for a day."
)


def _problem(status: int) -> dict[str, Any]:
    schema = {"$ref": _TEMPLATE.format(name="Problem")}
    return {"description": _ERRORS[status], "content": {"application/problem+json": {"schema": schema}}}


def _problems(*statuses: int) -> dict[str, Any]:
    return {str(status): _problem(status) for status in statuses}


def _ref(schema: dict[str, Any], media_type: str = "application/json") -> dict[str, Any]:
    return {media_type: {"schema": schema}}


def _described(operation: Operation, body: Any, response: Any) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _PARAMETER.findall(operation.path)
    ]
    parameters += [
        {"name": one.name, "in": "query", "description": one.description, "schema": {"type": one.kind}}
        for one in operation.parameters
    ]
    if operation.changes:
        parameters.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "Makes the request safe to repeat for a day.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[ -~]+$"},
            }
        )
    described: dict[str, Any] = {
        "operationId": operation.operation_id,
        "summary": operation.summary,
        "description": f"Needs the permission `{operation.permission}`." if operation.permission else "",
        "tags": [operation.tag],
        "parameters": parameters,
        "responses": {
            str(operation.status): {"description": "Done.", "content": _ref(response)},
            **_problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503),
        },
    }
    if body is not None:
        described["requestBody"] = {"required": not operation.optional_body, "content": _ref(body)}
    return described


def document(operations: Sequence[Operation]) -> dict[str, Any]:
    """Return the document for these operations and for the edges."""
    fixed = [VerifyRequest, VerifyResponse, Whoami, RevokeMine, RevokedMine, Problem, ImportKey, ImportProgress]
    types: list[Any] = [*fixed, ReportLeaks, ReportedLeaks, ImportReport, ImportUser]
    for operation in operations:
        types.append(operation.response)
        if operation.body is not None:
            types.append(operation.body)
    schemas, components = msgspec.json.schema_components(types, ref_template=_TEMPLATE)
    schema_of = dict(zip(map(_key, types), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        body = None if operation.body is None else schema_of[_key(operation.body)]
        described = _described(operation, body, schema_of[_key(operation.response)])
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
    paths |= _edges(schema_of)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Keybearer",
            "version": __version__,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "A key of Keybearer's API."}
            },
        },
    }


def _key(wanted: Any) -> str:
    return repr(wanted)


def _edges(schema_of: dict[str, Any]) -> dict[str, Any]:
    def edge(name: str, summary: str, tag: str, response: Any, body: Any = None, **rest: Any) -> dict[str, Any]:
        described: dict[str, Any] = {
            "operationId": name,
            "summary": summary,
            "tags": [tag],
            "responses": {
                "200": {"description": "Done.", "content": _ref(schema_of[_key(response)])},
                **_problems(400, 401, 403, 413, 415, 429, 503),
            },
            **rest,
        }
        if body is not None:
            described["requestBody"] = {"required": True, "content": _ref(schema_of[_key(body)])}
        return described

    def imports(plural: str, permission: str, line: Any) -> dict[str, Any]:
        what = f"Import {plural} that exist elsewhere, all or none"
        importing = edge(f"{plural}.import", what, plural.capitalize(), ImportReport)
        told = {"oneOf": [schema_of[_key(ImportProgress)], schema_of[_key(ImportReport)]]}
        importing["description"] = f"Needs the permission `{permission}`. One object a line, both ways."
        importing["requestBody"] = {"required": True, "content": _ref(schema_of[_key(line)], "application/x-ndjson")}
        importing["responses"]["200"]["content"] = _ref(told, "application/x-ndjson")
        importing["parameters"] = [
            {
                "name": "dry_run",
                "in": "query",
                "description": "Only check.",
                "schema": {"type": "string", "enum": ["true", "false"]},
            }
        ]
        return importing

    verify = edge("verify", "Decide about a credential", "Verify", VerifyResponse, VerifyRequest)
    verify["description"] = (
        "Needs the permission `keybearer:verify`. Answers 200 whatever the outcome; look at `valid`."
    )
    burn = edge("revoke_mine", "Burn the presented key", "Credential", RevokedMine, RevokeMine)
    burn["requestBody"]["required"] = False
    report = edge("leaks.report", "Report credentials that one should not have", "Leaks", ReportedLeaks, ReportLeaks)
    report["description"] = "Needs no key, and answers alike whatever is reported. Where it is switched off: 404."
    report["security"] = []
    report["responses"] = {"202": report["responses"]["200"], **_problems(400, 404, 413, 415, 429, 503)}
    return {
        "/v1/keys/import": {"post": imports("keys", "keybearer:keys.import", ImportKey)},
        "/v1/users/import": {"post": imports("users", "keybearer:users.write", ImportUser)},
        "/v1/verify": {"post": verify},
        "/v1/whoami": {"get": edge("whoami", "See what the presented key is", "Credential", Whoami)},
        "/v1/revoke-mine": {"post": burn},
        "/v1/leaks/report": {"post": report},
    }
