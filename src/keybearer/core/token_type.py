"""The token types of a token exchange, by their URIs. Spec: RFC 8693 §3."""

from __future__ import annotations

from enum import StrEnum


class TokenType(StrEnum):
    """What a subject or actor token is, or what is wanted. ``API_KEY`` is our own and documented in docs/oauth.md."""

    ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
    REFRESH_TOKEN = "urn:ietf:params:oauth:token-type:refresh_token"
    ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"
    JWT = "urn:ietf:params:oauth:token-type:jwt"
    API_KEY = "urn:keybearer:params:oauth:token-type:api-key"
