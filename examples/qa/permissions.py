"""What one may be allowed to do here, in the words that Keybearer's consent page shows."""

from __future__ import annotations

from typing import Final

READ: Final = "qa:questions.read"
ASK: Final = "qa:ask"
ANSWER: Final = "qa:answer"
VOTE: Final = "qa:vote"
COMMENT: Final = "qa:comment"
EDIT: Final = "qa:edit"
MODERATE: Final = "qa:moderate"

WORDS: Final = {
    READ: "Read questions and answers",
    ASK: "Ask questions in your name, and accept answers to them",
    ANSWER: "Answer questions in your name",
    VOTE: "Vote in your name",
    COMMENT: "Comment and flag in your name",
    EDIT: "Edit posts in your name",
    MODERATE: "Close, delete and restore posts as a moderator",
}
WRITING: Final = (ASK, ANSWER, VOTE, COMMENT, EDIT)
RESTRICTED: Final = frozenset({MODERATE})
"""Only who holds it gets it, whatever they agree to: an administrator of Keybearer says who is a moderator."""
