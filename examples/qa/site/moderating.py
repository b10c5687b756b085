"""What moderators do. Who is one, an administrator says in Keybearer: there is no list of moderators here."""

from __future__ import annotations

import time

from starlette.responses import Response

from .. import permissions
from ..forum import moderation, posts
from ..forum.errors import Unreadable
from .visit import Visit


async def flags(visit: Visit) -> Response:
    """Show what waits to be looked at."""
    await visit.person_allowed(permissions.MODERATE)
    return visit.page("flags.html", flagged=await visit.front.read(moderation.flagged))


async def moderate(visit: Visit) -> Response:
    """Close, reopen, delete, restore a post, or leave it as it is."""
    form, post_id = await visit.form(), visit.request.path_params["id"]
    moderator_id = await visit.person_allowed(permissions.MODERATE)
    reason, now, change = form.get("reason", ""), int(time.time()), visit.front.change
    match form.get("what"):
        case "close":
            await change(moderation.close, moderator_id, post_id, reason, now)
        case "reopen":
            await change(moderation.reopen, moderator_id, post_id, now)
        case "delete":
            await change(moderation.delete, moderator_id, post_id, reason, now)
        case "restore":
            await change(moderation.restore, moderator_id, post_id, now)
        case "leave":
            await change(moderation.settle, moderator_id, post_id, now)
            return visit.to("/flags")
        case _:
            raise Unreadable("what", "Say what shall be done.")
    row = await visit.front.read(posts.found, post_id, deleted=True)
    return visit.to(f"/questions/{row['top_id']}#post-{post_id}")
