"""Why the forum does not do what somebody asked for."""

from __future__ import annotations


class ForumError(Exception):
    """The base; its text is for whoever asked."""


class NotThere(ForumError):
    """Nothing with this number, or nothing that this person may see."""


class AgainstTheRules(ForumError):
    """The forum's own rules forbid it: one's own post, a closed question, too little reputation."""


class Unreadable(ForumError):
    """What was written is too short, too long, or not what belongs there; ``field`` says where."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field
