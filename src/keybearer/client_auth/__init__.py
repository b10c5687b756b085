"""Client authentication at the endpoints of OAuth. A new method is one file here and one name in ``CLIENT_AUTH``.

A request uses one method, and a client has one: what proves a client by another method than its own proves nothing.
Spec: RFC 6749 §2.3, RFC 8705 §2, RFC 7521 §4.2, OIDC Core §9.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..core.clients import Client, ClientAuthMethod, record_id
from ..core.instant import Instant
from ..core.oauth_error import InvalidClient, InvalidRequest
from ..core.records import State
from ..formats.assertion import claimed_client
from ..ports import Keyring
from . import basic, client_secret_jwt, none, post, private_key_jwt, self_signed_tls, tls
from .client_secret import match_nobody, matches
from .means import Means, Method
from .presented import FAILED, Presented

CLIENT_AUTH: Final[tuple[Method, ...]] = (
    basic.METHOD,
    post.METHOD,
    private_key_jwt.METHOD,
    client_secret_jwt.METHOD,
    tls.METHOD,
    self_signed_tls.METHOD,
    none.METHOD,
)
_BY_NAME: Final = {known.method: known for known in CLIENT_AUTH}
_MAX_ID: Final = 255


async def authenticate(presented: Presented, means: Means) -> Client:
    """Return the client that proved itself, and is enabled; raises ``InvalidClient``, ``InvalidRequest``."""
    client_id = _claimed(presented)
    client = await means.find_client(record_id(client_id)) if len(client_id) <= _MAX_ID else None
    if client is None:
        secret = presented.basic.client_secret if presented.basic else presented.form.get("client_secret")
        match_nobody(secret, means.keyring)
        raise InvalidClient(FAILED)
    method = _BY_NAME[client.token_endpoint_auth_method]
    if not method.is_used(presented) or not await method.proves(presented, client, means):
        raise InvalidClient(FAILED)
    if client.state is not State.ENABLED:
        raise InvalidClient(FAILED)
    return client


def authenticate_now(
    presented: Presented, find_client: Callable[[str], Client | None], keyring: Keyring, now: Instant
) -> Client | None:
    """Return the client that proved itself at once by its secret, and is enabled; ``find_client`` is as in ``Means``.

    ``None`` for all others: ``authenticate`` finds out what they are. Raises what that and ``find_client`` raise.
    """
    client_id = _claimed(presented)
    client = find_client(record_id(client_id)) if len(client_id) <= _MAX_ID else None
    if client is None or client.state is not State.ENABLED:
        return None
    if client.token_endpoint_auth_method is ClientAuthMethod.BASIC:
        secret = "" if presented.basic is None else presented.basic.client_secret
    elif client.token_endpoint_auth_method is ClientAuthMethod.POST:
        secret = presented.form.get("client_secret")
    else:
        return None
    return client if secret and matches(client, secret, keyring, now) else None


def _claimed(presented: Presented) -> str:
    """Return the one client that the request names, by one method that carries a proof."""
    form, assertion = presented.form, presented.assertion
    if (presented.basic is not None) + bool(form.get("client_secret")) + bool(assertion) > 1:
        raise InvalidRequest("The request authenticates the client in more than one way; use one.")
    named = form.get("client_id")
    if presented.basic is not None:
        claimed = presented.basic.client_id
    elif assertion:
        claimed = claimed_client(assertion)
        if not claimed:
            raise InvalidClient(FAILED)
    else:
        claimed = named
    if not claimed:
        raise InvalidClient("The client did not say who it is: send client_id, or an Authorization header.")
    if named and named != claimed:
        raise InvalidRequest("client_id is another client than the one that authenticates.")
    return claimed


__all__ = ["CLIENT_AUTH", "FAILED", "Means", "Method", "Presented", "authenticate", "authenticate_now"]
