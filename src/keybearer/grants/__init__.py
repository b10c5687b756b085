"""The grants of the token endpoint. A new grant is one file here and one name in ``GRANTS``."""

from __future__ import annotations

from typing import Final

from . import authorization_code, client_credentials, device_code, jwt_bearer, refresh_token, token_exchange
from .desk import Desk, Entitlement, Granting, Issued, TokenRequest

GRANTS: Final[tuple[Granting, ...]] = (
    authorization_code.GRANT,
    refresh_token.GRANT,
    client_credentials.GRANT,
    device_code.GRANT,
    token_exchange.GRANT,
    jwt_bearer.GRANT,
)

__all__ = ["GRANTS", "Desk", "Entitlement", "Granting", "Issued", "TokenRequest"]
