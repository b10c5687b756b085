"""What a verify tells of an access token: who acts, through which application, with what leave, until when."""

from __future__ import annotations

from ..core.errors import Code
from ..core.records import CredentialKind
from ..core.tokens import TokenRecord
from ..wire.base import to_moment
from ..wire.verify import CredentialView, IdentityRef, PrincipalView, VerifyResponse


def about_token(record: TokenRecord) -> VerifyResponse:
    """Return the answer for an accepted token, without its limits."""
    token, client, key = record.token, record.client, record.key
    identity = None if key is None else key.identity
    return VerifyResponse(
        valid=True,
        code=Code.VALID,
        kind=CredentialKind.ACCESS_TOKEN,
        principal=PrincipalView(
            record.project.id,
            record.project.name,
            None if key is None else key.key.owner,
            None if identity is None else IdentityRef(identity.id, identity.external_id),
            subject=token.subject,
            user_id=token.user_id,
            client_id=client.client_id,
            session_id=token.session_id,
            key_id=token.key_id,
            act=None if token.actor is None else dict(token.actor),
            auth_time=to_moment(token.authenticated_at),
            acr=token.acr or None,
            amr=list(token.amr),
        ),
        credential=CredentialView(token.id, client.name, record.environment, to_moment(token.expires_at), 0),
        permissions=sorted(record.permissions),
        scope=" ".join(sorted(record.scopes)),
        authorization_details=[dict(detail) for detail in record.authorization_details],
        metadata=dict(client.metadata) if client.metadata else None,
    )
