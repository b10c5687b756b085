"""Signing in at Keybearer and coming back, and signing out of both."""

from __future__ import annotations

import hmac
import secrets
import time

from starlette.responses import Response

from keybearer.core.secret import Secret

from ..forum import people
from .authority import SignInFailed
from .sessions import SigningIn
from .visit import ForeignForm, Visit


async def sign_in(visit: Visit) -> Response:
    """Send the browser to Keybearer, and remember what the answer must fit to."""
    query = visit.request.query_params
    back_to = query.get("next", "/")
    if not back_to.startswith("/") or back_to.startswith(("//", "/\\")) or len(back_to) > 500:
        back_to = "/"
    session = visit.session or visit.front.sessions.begin_to_sign_in()
    session.signing_in = SigningIn(secrets.token_urlsafe(24), Secret(secrets.token_urlsafe(48)), back_to)
    answer = visit.to(await visit.front.authority.sign_in_url(session.signing_in, again="again" in query))
    visit.front.sessions.give(answer, session)
    return answer


async def signed_in(visit: Visit) -> Response:
    """Take the answer. It must fit to a sign-in of this very browser, and come from our Keybearer (RFC 9207)."""
    query, before = visit.request.query_params, visit.session
    signing_in = None if before is None else before.signing_in
    state = query.get("state", "").encode()
    if before is None or signing_in is None or not hmac.compare_digest(state, signing_in.state.encode()):
        raise SignInFailed("This sign-in was not begun in this browser, or too long ago. Please try again.")
    before.signing_in = None  # an answer counts once
    if query.get("iss") != visit.front.config.issuer:
        raise SignInFailed("This answer does not come from Keybearer.")
    if "code" not in query:
        raise SignInFailed("You did not agree, so you are not signed in here. Reading needs no sign-in.")
    tokens = await visit.front.authority.tokens_for(query["code"], signing_in.code_verifier)
    who = await visit.front.authority.userinfo(tokens)
    visit.front.sessions.end(before)
    session = visit.front.sessions.begin(tokens, str(who["sub"]), str(who.get("name") or ""))
    await visit.front.change(people.remember, session.person_id, session.name, int(time.time()))
    answer = visit.to(signing_in.back_to)
    visit.front.sessions.give(answer, session)
    return answer


async def sign_out(visit: Visit) -> Response:
    """Forget the session, give the tokens back, and sign out of Keybearer as well."""
    await visit.form()
    session = visit.session
    if session is None or session.tokens is None:
        raise ForeignForm
    visit.front.sessions.end(session)
    await visit.front.authority.revoke(session.tokens)
    answer = visit.to(await visit.front.authority.sign_out_url(session.tokens))
    visit.front.sessions.take(answer)
    return answer
