"""``self_signed_tls_client_auth``: a certificate whose key is one of those that the client registered.

The certificate is recognised by its key, whoever signed it. Spec: RFC 8705 §2.2.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ..core.clients import Client, ClientAuthMethod
from .certificate import is_in_time
from .means import Means
from .presented import Presented


class SelfSignedTls:
    """The method."""

    method: Final = ClientAuthMethod.SELF_SIGNED_TLS

    def is_used(self, presented: Presented) -> bool:
        """Tell whether there is a certificate, and no other proof."""
        return presented.certificate is not None and not presented.has_proof

    async def proves(self, presented: Presented, client: Client, means: Means) -> bool:
        """Compare the certificate's key with the client's, which are fetched again when none fits."""
        certificate = presented.certificate
        if certificate is None or not is_in_time(certificate, means.now):
            return False
        for afresh in (False, True):
            for key in await means.keys_of(client, afresh):
                known = _public_key(key)
                if known is not None and hmac.compare_digest(known, certificate.public_key):
                    return True
            if not client.jwks_uri:
                break
        return False


def _public_key(jwk: Mapping[str, Any]) -> bytes | None:
    from joserfc.errors import JoseError
    from joserfc.jwk import import_key

    if jwk.get("kty") not in ("EC", "RSA", "OKP"):
        return None
    try:
        public = import_key({name: value for name, value in jwk.items() if name in _PUBLIC_MEMBERS})
        return public.public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[union-attr]
    except (JoseError, ValueError, TypeError, KeyError, AttributeError):
        return None


_PUBLIC_MEMBERS: Final = frozenset({"kty", "crv", "x", "y", "n", "e"})
METHOD: Final = SelfSignedTls()
