"""The HTTP client of Keybearer, blocking and asynchronous.

    from keybearer.client import Keybearer

    with Keybearer("https://keys.example.com", key) as client:
        issued = client.keys.create(project_id=project.id, name="web shop", permissions=["orders:read"])
        print(issued.credential.reveal())  # shown this once

Each operation is described once, as a ``Call`` (``records.py``, ``keys.py``, ``authority.py``); one generator
(``exchange.py``) says how a call is carried out, and two thin drivers do the I/O (``drivers.py``).
"""

from ..core.clients import ClientAuthMethod, GrantType
from ..core.errors import Code, Rejected
from ..wire.clients import CreateClient, UpdateClient
from ..wire.grants import UpdateGrant
from ..wire.keys import AndroidAppSpec, ImportedSecret, ImportKey, ImportProgress, ImportReport, RestrictionsSpec
from ..wire.leaks import LeakSource
from ..wire.limits import CreditsSpec, QuotaSpec, RateLimitSpec, RefillSpec
from ..wire.records import PermissionSpec
from ..wire.verify import VerifyRequest
from .call import Call, Pages, Stream
from .clients import IssuedClient
from .connection import NO_RETRIES, Retries
from .errors import (
    ClientError,
    Conflict,
    Forbidden,
    InvalidRequest,
    NotFound,
    RateLimited,
    ServerUnavailable,
    Unauthorized,
    UnexpectedAnswer,
    Unreachable,
)
from .keybearer import AsyncKeybearer, Keybearer, calls
from .keys import IssuedKey
from .leaks import Found
from .verifier import AsyncRemoteVerifier, RemoteVerifier
from .webhooks import IssuedWebhook

__all__ = [
    "Keybearer",
    "AsyncKeybearer",
    "RemoteVerifier",
    "AsyncRemoteVerifier",
    "IssuedKey",
    "IssuedWebhook",
    "Found",
    "LeakSource",
    "Retries",
    "NO_RETRIES",
    "calls",
    "Call",
    "Pages",
    "Stream",
    "ClientError",
    "Unauthorized",
    "Forbidden",
    "InvalidRequest",
    "NotFound",
    "Conflict",
    "RateLimited",
    "ServerUnavailable",
    "UnexpectedAnswer",
    "Unreachable",
    "Code",
    "Rejected",
    "VerifyRequest",
    "CreateClient",
    "UpdateClient",
    "UpdateGrant",
    "IssuedClient",
    "ClientAuthMethod",
    "GrantType",
    "PermissionSpec",
    "RestrictionsSpec",
    "AndroidAppSpec",
    "RateLimitSpec",
    "QuotaSpec",
    "CreditsSpec",
    "RefillSpec",
    "ImportKey",
    "ImportedSecret",
    "ImportProgress",
    "ImportReport",
]
