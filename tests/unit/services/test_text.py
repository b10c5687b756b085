"""Text of requests: whatever no text may hold is found, wherever it is."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keybearer.services.problems import Problems
from keybearer.services.text import check_text
from keybearer.wire.keys import CreateKey

TEXT = st.text(st.sampled_from('aé"\\ €\x00\n\t\x1f\x7f\x80\x9f\xa0\ud800u0'), max_size=6)


def found(value: Any) -> list[str]:
    problems = Problems()
    check_text(problems, value)
    return [problem.field for problem in problems.found]


@given(TEXT, TEXT)
def test_a_request_is_refused_exactly_for_the_characters_that_no_text_may_hold(name: str, note: str) -> None:
    wrong = ["name"] if re.search("[\x00-\x1f\x7f-\x9f\ud800-\udfff]", name) else []
    if re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]", note):
        wrong.append("metadata.note")
    assert found(CreateKey(project_id="proj_1", name=name, metadata={"note": note})) == wrong


@pytest.mark.parametrize("metadata", [{"a\x00": 1}, {"a": {"b": ["\x1b"]}}, {"a": [{"\x85": None}]}])
def test_what_is_nested_is_looked_at_too(metadata: dict[str, Any]) -> None:
    assert len(found(CreateKey(project_id="proj_1", name="n", metadata=metadata))) == 1
