"""No spelling of an identity header comes through from a client."""

import pytest

from keybearer.http.identity_headers import is_identity, without_identity


@pytest.mark.parametrize(
    "name",
    [
        b"x-keybearer-user",
        b"X-KeyBearer-User",
        b"x_keybearer_user",
        b"X-Keybearer_User",
        b"x.keybearer.user",
        b"X Keybearer User",
        b"X--Keybearer-User",
        b" X-Keybearer-User",
        b'"X-Keybearer-User"',
    ],
)
def test_identity_headers_are_taken_away_in_every_spelling(name: bytes) -> None:
    assert is_identity(name)
    assert without_identity([(b"accept", b"*/*"), (name, b"user_1")]) == [(b"accept", b"*/*")]


@pytest.mark.parametrize("name", [b"x-keybeare", b"keybearer-user", b"xkeybearer-user", b"accept", b""])
def test_others_are_left_alone(name: bytes) -> None:
    assert not is_identity(name)
