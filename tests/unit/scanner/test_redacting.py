"""However a stream is cut, the same comes out of the redactor, and no secret does."""

from hypothesis import given, settings
from hypothesis import strategies as st

from keybearer.formats.redaction import redact
from keybearer.scanner.redacting import Redactor
from tests.unit.scanner.test_search import CORPUS, EXPECTED, whole

WHOLE = redact(CORPUS)


def test_all_at_once() -> None:
    assert not whole(WHOLE)
    assert whole(CORPUS)
    redactor = Redactor()
    assert redactor.feed(CORPUS) + redactor.finish() == WHOLE
    assert len(EXPECTED) > 100


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, len(CORPUS)), max_size=12), st.booleans())
def test_split_anywhere(cuts: list[int], releases: bool) -> None:
    redactor, out, last = Redactor(), b"", 0
    for cut in [*sorted(cuts), len(CORPUS)]:
        out += redactor.feed(CORPUS[last:cut])
        last = cut
    assert out + redactor.finish() == WHOLE


def test_small_pieces() -> None:
    redactor, out = Redactor(), b""
    for at in range(0, len(CORPUS), 61):
        out += redactor.feed(CORPUS[at : at + 61])
    assert out + redactor.finish() == WHOLE


def test_a_pause_at_any_line_gives_no_secret_away() -> None:
    """Whole lines are let out at every pause, except those that the next line may continue."""
    redactor, out = Redactor(), b""
    for line in CORPUS.splitlines(keepends=True):
        out += redactor.feed(line) + redactor.release()
    out += redactor.finish()
    assert not whole(out)
