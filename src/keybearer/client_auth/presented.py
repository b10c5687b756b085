"""What a request brings to say which client sends it: nothing in it is believed yet."""

from __future__ import annotations

import binascii
from base64 import b64decode
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import unquote_plus

from ..core.form import Form
from ..core.oauth_error import InvalidClient, InvalidRequest
from .certificate import Certificate

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
FAILED: Final = (
    "Client authentication failed: check client_id, its credential, and that the request uses the client's "
    "token_endpoint_auth_method."
)
"""One text, whatever was wrong: it must not tell which clients there are (CWE-203)."""


class BasicCredentials(NamedTuple):
    """What an ``Authorization: Basic`` header says."""

    client_id: str
    client_secret: str


@dataclass(frozen=True, slots=True)
class Presented:
    """The form, the credentials of the ``Authorization`` header, and the certificate of the connection, if any."""

    form: Form
    basic: BasicCredentials | None = None
    certificate: Certificate | None = None

    @property
    def has_proof(self) -> bool:
        """Whether the request itself carries a proof, besides what its connection may have."""
        return self.basic is not None or bool(self.form.get("client_secret")) or bool(self.assertion)

    @property
    def assertion(self) -> str:
        """The client assertion, empty without one; raises ``InvalidClient`` for another type. Spec: RFC 7521 §4.2."""
        assertion, kind = self.form.get("client_assertion"), self.form.get("client_assertion_type")
        if bool(assertion) != bool(kind):
            raise InvalidRequest("client_assertion and client_assertion_type come together.")
        if kind and kind != ASSERTION_TYPE:
            raise InvalidClient(f"client_assertion_type must be {ASSERTION_TYPE}.")
        return assertion


def basic_credentials(header: str) -> BasicCredentials | None:
    """Return what an ``Authorization`` header says, ``None`` for another scheme; raises ``InvalidClient``.

    Both parts are form-encoded before they are joined. Spec: RFC 6749 §2.3.1, RFC 7617 §2.
    """
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = b64decode(encoded.strip(" "), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        raise InvalidClient("The Authorization header is not Basic base64(client_id:client_secret).") from None
    client_id, colon, secret = text.partition(":")
    if not colon or not client_id:
        raise InvalidClient("The Authorization header is not Basic base64(client_id:client_secret).")
    if "%" in text or "+" in text:
        try:
            return BasicCredentials(unquote_plus(client_id, errors="strict"), unquote_plus(secret, errors="strict"))
        except UnicodeDecodeError:
            raise InvalidClient("The Authorization header is not form-encoded UTF-8.") from None
    return BasicCredentials(client_id, secret)
