"""What moderators do through applications that they allowed to."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Literal

from fastapi import APIRouter

from ..forum import moderation, people
from ..forum.database import Database
from . import shapes
from .doors import Doors


class Moderation(shapes.Body):
    """What shall be done to a post. Closing and deleting need a reason."""

    what: Literal["close", "reopen", "delete", "restore", "leave"]
    reason: shapes.Text = ""


def routes(database: Database, doors: Doors) -> APIRouter:
    """Return the routes, all behind the door for moderators."""
    router = APIRouter(tags=["moderating"])

    @router.get("/flags")
    def list_flags(_person: str = doors.moderate) -> list[shapes.Flagged]:
        """List what waits to be looked at."""
        with database.reading() as db:
            return [shapes.Flagged(**asdict(one)) for one in moderation.flagged(db)]

    @router.post("/posts/{post_id}/moderation", status_code=204)
    def moderate(post_id: int, body: Moderation, person: str = doors.moderate) -> None:
        """Close, reopen, delete or restore a post, or leave it as it is."""
        now = int(time.time())
        with database.changing() as db:
            people.remember(db, person, "", now)
            match body.what:
                case "close":
                    moderation.close(db, person, post_id, body.reason, now)
                case "reopen":
                    moderation.reopen(db, person, post_id, now)
                case "delete":
                    moderation.delete(db, person, post_id, body.reason, now)
                case "restore":
                    moderation.restore(db, person, post_id, now)
                case "leave":
                    moderation.settle(db, person, post_id, now)

    return router
