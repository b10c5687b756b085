"""Secrets are replaced in every spelling, and not a byte besides."""

import base64

import pytest

from keybearer.formats import hints
from keybearer.formats.redaction import MARK, redact, tag_of
from keybearer.formats.traces import traces
from tests.support.spelling import credential, spellings

SPELLINGS = dict(spellings(credential()))


@pytest.mark.parametrize("spelling", list(SPELLINGS))
def test_no_spelling_survives(spelling: str) -> None:
    data = SPELLINGS[spelling] + (b" \0" if spelling.startswith("utf") else b" \xff\xfe\r\n")
    redacted = redact(b"\x00\xff before " + data)
    assert not [trace for trace in traces(redacted, hints.hits(redacted)) if trace.is_whole]
    secret = credential().rpartition("_")[2]
    assert secret.encode() not in redacted
    assert redacted.startswith(b"\x00\xff before ")
    assert redact(redacted) == redacted
    if not spelling.startswith("percent-all"):
        assert len(redacted) == len(data) + 10


def test_the_pseudonym_names_the_credential_and_stays_the_same() -> None:
    text = credential()
    redacted = redact(f"{text} {text}".encode()).decode().split()
    assert redacted[0] == redacted[1]
    assert redacted[0].startswith(text.rpartition("_")[0] + "_" + MARK + tag_of(text))
    assert redact(credential(number=2).encode()) != redact(text.encode())


def test_base64_stays_base64_that_decodes_to_the_pseudonym() -> None:
    text = credential()
    blob = base64.b64encode(f"user:{text}:rest".encode())
    assert base64.b64decode(redact(blob)) == b"user:" + redact(text.encode()) + b":rest"


@pytest.mark.parametrize("length", [30, 45, 66])
def test_what_was_cut_off_is_replaced_too(length: int) -> None:
    text = credential()[:length]
    secret = text.rpartition("_")[2]
    redacted = redact(text.encode()).decode()
    assert len(redacted) == length
    assert redacted.rpartition("_")[2] == (MARK + redacted.rpartition("_")[2][8:])[: len(secret)]
    assert secret not in redacted


def test_other_text_is_the_very_same_object() -> None:
    data = b"nothing to see, task_test_x kb_at_ kb_sk_live_"
    assert redact(data) is data
