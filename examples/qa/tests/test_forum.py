"""The rules of the forum: who may do what to which post, and what it does to scores and reputations."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path

import pytest

from examples.qa.forum import answers, comments, edits, moderation, people, posts, questions, revisions, votes
from examples.qa.forum.database import Database
from examples.qa.forum.errors import AgainstTheRules, NotThere, Unreadable

NOW = 1_795_000_000
TITLE, BODY = "How do I keep a key?", "In a drawer, or in a vault with a lid?"


def asked(db: sqlite3.Connection, by: str = "ada", title: str = TITLE, tags: str = "keys") -> int:
    return questions.ask(db, by, title, BODY, tags, NOW)


def answered(db: sqlite3.Connection, question_id: int, by: str = "ben", body: str = BODY) -> int:
    return answers.answer(db, by, question_id, body, NOW + 1)


def order(db: sqlite3.Connection, question_id: int) -> list[int]:
    return [one.id for one in questions.show(db, question_id, None).answers]


def test_the_best_answers_rise_and_the_accepted_one_stands_first(db: sqlite3.Connection) -> None:
    question = asked(db)
    first, second, third = answered(db, question), answered(db, question, "cleo"), answered(db, question)
    assert order(db, question) == [first, second, third]
    votes.vote(db, "ada", second, 1)
    votes.vote(db, "cleo", first, -1)
    assert order(db, question) == [second, third, first]
    assert answers.accept(db, "ada", first, accepted=True) == question
    assert order(db, question) == [first, second, third]
    answers.accept(db, "ada", first, accepted=False)
    assert order(db, question) == [second, third, first]


def test_only_the_asker_accepts_and_only_answers(db: sqlite3.Connection) -> None:
    question = asked(db)
    answer = answered(db, question)
    for person in ("ben", "cleo"):
        with pytest.raises(AgainstTheRules, match="Only who asked"):
            answers.accept(db, person, answer, accepted=True)
    with pytest.raises(AgainstTheRules):
        answers.accept(db, "ada", question, accepted=True)


def test_a_vote_is_one_per_person_and_may_be_changed_or_taken_back(db: sqlite3.Connection) -> None:
    question = asked(db)
    assert votes.vote(db, "ben", question, 1) == 1
    assert votes.vote(db, "ben", question, 1) == 1
    assert votes.vote(db, "ben", question, -1) == -1
    assert votes.vote(db, "cleo", question, 1) == 0
    assert questions.show(db, question, "ben").question.vote == -1
    assert votes.vote(db, "ben", question, 0) == 1
    with pytest.raises(AgainstTheRules, match="Nobody votes on what they wrote"):
        votes.vote(db, "ada", question, 1)
    with pytest.raises(Unreadable):
        votes.vote(db, "ben", question, 2)
    with pytest.raises(NotThere):
        votes.vote(db, "ben", 999, 1)


def test_reputation_is_what_others_gave(db: sqlite3.Connection) -> None:
    question = asked(db)
    answer = answered(db, question)
    votes.vote(db, "ben", question, 1)
    votes.vote(db, "cleo", answer, 1)
    answers.accept(db, "ada", answer, accepted=True)
    assert people.get(db, "ada").reputation == 1 + 5
    assert people.get(db, "ben").reputation == 1 + 10 + 15
    votes.vote(db, "cleo", answer, -1)
    assert people.get(db, "ben").reputation == 1 - 2 + 15
    moderation.delete(db, "cleo", answer, "spam and nothing else", NOW)
    assert people.get(db, "ben").reputation == 1
    own = answered(db, question, "ada")
    answers.accept(db, "ada", own, accepted=True)
    assert people.get(db, "ada").reputation == 6
    assert [one.id for one in people.best(db)] == ["ada", "ben", "cleo"]


def test_an_edit_keeps_what_was_said_before(db: sqlite3.Connection) -> None:
    question = asked(db)
    edits.edit(db, "ada", question, title=TITLE + "!", body=BODY + " Or not?", tags="vaults keys", now=NOW + 60)
    thread = questions.show(db, question, None)
    assert (thread.question.title, thread.tags, thread.question.edited_at) == (
        TITLE + "!",
        ("keys", "vaults"),
        NOW + 60,
    )
    newest, oldest = revisions.history(db, question)
    assert (newest.number, newest.body, newest.tags) == (2, BODY + " Or not?", ("vaults", "keys"))
    assert (oldest.number, oldest.title, oldest.body) == (1, TITLE, BODY)


def test_others_edit_once_they_are_trusted(db: sqlite3.Connection) -> None:
    question = asked(db)
    with pytest.raises(AgainstTheRules, match="reputation of 100"):
        edits.edit(db, "ben", question, title=TITLE, body=BODY, tags="keys", now=NOW)
    edits.edit(db, "ben", question, title=TITLE, body=BODY, tags="keys", now=NOW, moderates=True)
    for number in range(10):
        person = f"reader{number}"
        people.remember(db, person, "", NOW)
        votes.vote(db, person, answered(db, question), 1)
    assert people.get(db, "ben").reputation == 101
    edits.edit(db, "ben", question, title=TITLE, body=BODY, tags="keys", now=NOW)


def test_what_is_closed_stays_as_it_is_until_it_is_reopened(db: sqlite3.Connection) -> None:
    question = asked(db)
    answer = answered(db, question)
    moderation.close(db, "cleo", question, "asked before", NOW)
    assert questions.show(db, question, None).closed_because == "asked before"
    for attempt in (
        lambda: answered(db, question),
        lambda: comments.comment(db, "ben", answer, "But why?", NOW),
        lambda: edits.edit(db, "ada", question, title=TITLE, body=BODY, tags="keys", now=NOW),
        lambda: moderation.close(db, "cleo", question, "once more", NOW),
    ):
        with pytest.raises(AgainstTheRules, match="closed"):
            attempt()
    votes.vote(db, "ben", question, 1)  # votes go on
    moderation.reopen(db, "cleo", question, NOW)
    answered(db, question)


def test_what_is_deleted_is_out_of_sight_until_it_is_restored(db: sqlite3.Connection) -> None:
    question = asked(db)
    answer = answered(db, question, body="Only in an answer: zirconium, of all things")
    moderation.delete(db, "cleo", answer, "not an answer", NOW)
    assert order(db, question) == []
    assert questions.listed(db, words="zirconium").questions == ()
    moderation.delete(db, "cleo", question, "not a question", NOW)
    for post in (question, answer):
        with pytest.raises(NotThere):
            posts.found(db, post)
    assert questions.listed(db).questions == ()
    assert questions.tags_in_use(db) == []
    assert questions.show(db, question, "cleo", with_deleted=True).question.deleted
    moderation.restore(db, "cleo", question, NOW)
    moderation.restore(db, "cleo", answer, NOW)
    assert order(db, question) == [answer]
    assert [one.id for one in questions.listed(db, words="zirconium").questions] == [question]


def test_an_answer_that_is_deleted_is_no_longer_accepted(db: sqlite3.Connection) -> None:
    question = asked(db)
    answer = answered(db, question)
    answers.accept(db, "ada", answer, accepted=True)
    moderation.delete(db, "cleo", answer, "not an answer", NOW)
    assert questions.show(db, question, None).accepted_id is None


def test_flags_wait_until_a_moderator_has_looked(db: sqlite3.Connection) -> None:
    question = asked(db)
    answer = answered(db, question)
    moderation.flag(db, "ada", answer, "this is an advert", NOW)
    moderation.flag(db, "cleo", answer, "I think so too", NOW)
    moderation.flag(db, "cleo", question, "asked before", NOW + 1)
    flagged = moderation.flagged(db)
    assert [one.post_id for one in flagged] == [answer, question]
    assert set(flagged[0].reasons) == {"this is an advert", "I think so too"}
    moderation.settle(db, "ben", answer, NOW)
    moderation.close(db, "ben", question, "asked before", NOW)
    assert moderation.flagged(db) == []


def test_questions_are_found_by_words_and_sorted(db: sqlite3.Connection) -> None:
    body_only = questions.ask(db, "ada", "Something else entirely", "Rotating keys is dull, I find.", "dull", NOW)
    in_title = questions.ask(db, "ben", "Rotating keys without a pause", "How is it done, please?", "keys", NOW + 9)
    assert [one.id for one in questions.listed(db, words="rotate key").questions] == [in_title, body_only]
    assert [one.id for one in questions.listed(db, tag="dull").questions] == [body_only]
    assert [one.id for one in questions.listed(db, "newest").questions] == [in_title, body_only]
    votes.vote(db, "cleo", body_only, 1)
    assert [one.id for one in questions.listed(db, "votes").questions] == [body_only, in_title]
    answered(db, body_only)
    assert [one.id for one in questions.listed(db, "unanswered").questions] == [in_title]
    assert questions.tags_in_use(db) == [("dull", 1), ("keys", 1)]


@pytest.mark.parametrize(
    "typed",
    ['"', "a AND", "AND b", "NOT c d", "NEAR(", "title:x", "*", "'; DROP TABLE post", "x" * 5000, "( ^ )", "🔑"],
)
def test_whatever_is_typed_into_the_search_is_words(db: sqlite3.Connection, typed: str) -> None:
    asked(db)
    assert questions.listed(db, words=typed).questions == ()


def test_pages_follow_each_other(db: sqlite3.Connection) -> None:
    ids = [asked(db, title=f"Question with the number {number}") for number in range(questions.PER_PAGE + 2)]
    first, second = questions.listed(db, "newest"), questions.listed(db, "newest", page=2)
    assert (first.has_more, second.has_more) == (True, False)
    assert [one.id for one in (*first.questions, *second.questions)] == ids[::-1]
    assert questions.listed(db, page=-5).page == 1
    assert questions.listed(db, page=10**9).questions == ()


@pytest.mark.parametrize(
    ("field", "title", "body", "tags"),
    [
        ("title", "Short", BODY, "keys"),
        ("title", "x" * 151, BODY, "keys"),
        ("title", " \n ".join("x" * 5), BODY, "keys"),
        ("body", TITLE, "Too short", "keys"),
        ("body", TITLE, "x" * 30_001, "keys"),
        ("tags", TITLE, BODY, ""),
        ("tags", TITLE, BODY, "a b c d e f"),
        ("tags", TITLE, BODY, "<script>"),
        ("tags", TITLE, BODY, "-dash"),
    ],
    ids=lambda value: value[:12] if isinstance(value, str) else value,
)
def test_what_cannot_be_read_is_refused_by_field(
    db: sqlite3.Connection, field: str, title: str, body: str, tags: str
) -> None:
    with pytest.raises(Unreadable) as caught:
        questions.ask(db, "ada", title, body, tags, NOW)
    assert caught.value.field == field


def test_signs_that_nobody_sees_are_left_out(db: sqlite3.Connection) -> None:
    question = questions.ask(db, "ada", "A title\u202e with\x00 tricks", BODY + "\r\n\x1bline", "keys", NOW)
    shown = questions.show(db, question, None).question
    assert shown.title == "A title with tricks"
    assert shown.body == BODY + "\nline"


def test_a_comment_needs_room(db: sqlite3.Connection) -> None:
    question = asked(db)
    for number in range(comments.MOST):
        comments.comment(db, "ben", question, f"Remark {number}", NOW)
    with pytest.raises(AgainstTheRules):
        comments.comment(db, "ben", question, "One more", NOW)
    shown = questions.show(db, question, None).question.comments
    assert [one.body for one in shown[:2]] == ["Remark 0", "Remark 1"]


def test_a_change_that_fails_changes_nothing(tmp_path: Path) -> None:
    database = Database(tmp_path / "forum.db")
    with suppress(Unreadable), database.changing() as db:
        people.remember(db, "ada", "Ada", NOW)
        asked(db)
        asked(db, tags="")
    with database.reading() as db:
        assert questions.listed(db).questions == ()
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            asked(db)


def test_somebody_without_a_name_goes_by_a_part_of_their_id(db: sqlite3.Connection) -> None:
    people.remember(db, "user_0123456789ab", "", NOW)
    assert people.get(db, "user_0123456789ab").name == "reader 6789ab"
    people.remember(db, "user_0123456789ab", "Dora", NOW)
    people.remember(db, "user_0123456789ab", "", NOW)
    assert people.get(db, "user_0123456789ab").name == "Dora"
