"""What is wrong with a body is said in plain words, and never in those of the decoder."""

import json

import msgspec
import pytest

from keybearer.core.errors import FieldProblem
from keybearer.wire.keys import CreateKey, ImportKey
from keybearer.wire.plain_words import explained
from keybearer.wire.verify import VerifyRequest

KEY = {"project_id": "p", "name": "n"}


@pytest.mark.parametrize(
    ("kind", "body", "field", "message"),
    [
        (VerifyRequest, "{}", "credential", "this field is needed"),
        (VerifyRequest, '{"credential":"x","a":1}', "a", "this field is unknown"),
        (VerifyRequest, "[]", "body", "must be an object, not a list"),
        (VerifyRequest, '{"credential":5}', "credential", "must be a text, not a whole number"),
        (VerifyRequest, '{"credential":""}', "credential", "must not be empty"),
        (VerifyRequest, '{"credential":"x","cost":-1}', "cost", "must be 0 or more"),
        (VerifyRequest, '{"credential":"x","cost":1.5}', "cost", "must be a whole number, not a fraction"),
        (VerifyRequest, '{"credential":"x","cost":2000000000}', "cost", "may be 1,000,000,000 at most"),
        (
            VerifyRequest,
            '{"credential":"x","accept":["a"]}',
            "accept[0]",
            "'a' is not one of secret_key, publishable_key",
        ),
        (VerifyRequest, '{"credential":"x","tags":["a b"]}', "tags[0]", "write 1 to 64 printable ASCII"),
        (VerifyRequest, json.dumps({"credential": "x", "tags": ["a"] * 11}), "tags", "may have 10 items at most"),
        (VerifyRequest, '{"credential":"x","credits":5}', "credits", "must be an object or null, not a whole number"),
        (CreateKey, json.dumps(KEY | {"name": "x" * 201}), "name", "may have 200 characters at most"),
        (CreateKey, json.dumps(KEY | {"expires_at": "soon"}), "expires_at", "write an instant with its time zone"),
        (
            CreateKey,
            json.dumps(KEY | {"expires_at": "2030-01-01T00:00:00"}),
            "expires_at",
            "write an instant with its time zone",
        ),
        (CreateKey, json.dumps(KEY | {"metadata": {"": 1}}), "metadata", "a name in it must not be empty"),
        (
            ImportKey,
            json.dumps(KEY | {"secret": {"scheme": "md5", "value": "x"}}),
            "secret.scheme",
            "'md5' is not one of raw,",
        ),
        (ImportKey, "{", "body", "this is not valid JSON"),
    ],
)
def test_each_kind_of_mistake(kind: type[msgspec.Struct], body: str, field: str, message: str) -> None:
    with pytest.raises(msgspec.MsgspecError) as caught:
        msgspec.json.decode(body, type=kind)
    (problem,) = explained(caught.value, "body").problems
    assert problem.field == field
    assert problem.message.startswith(message)
    assert "`" not in problem.message


def test_what_has_no_plain_words_keeps_the_decoders() -> None:
    (problem,) = explained(msgspec.ValidationError("Odd things - at `$.a[0].b`"), "body").problems
    assert problem == FieldProblem("a[0].b", "odd things")
    (problem,) = explained(msgspec.ValidationError("Invalid enum value 7 - at `$.colour`"), "body").problems
    assert problem == FieldProblem("colour", "invalid enum value 7")
