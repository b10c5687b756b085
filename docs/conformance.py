"""Draws conformance.md: which requirement of which specification is proved by which test.

``python docs/conformance.py`` writes it, from the ``pytest.mark.spec`` markers of all tests.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
TESTS = HERE.parent / "tests"


class Proof(NamedTuple):
    """One requirement, and the test that proves it."""

    document: str
    section: str
    level: str
    test: str
    file: str


def conformance() -> str:
    """The whole document: a table for each specification, its sections in order."""
    proofs = sorted(set(_proofs()), key=lambda proof: (_order(proof.document), _order(proof.section), proof))
    documents = dict.fromkeys(proof.document for proof in proofs)
    tables = "\n\n".join(
        _table(document, [one for one in proofs if one.document == document]) for document in documents
    )
    return f"""\
# Conformance

*Drawn by `docs/conformance.py` from the tests, each of which names the requirement that it proves.*

{len(proofs)} proofs, of requirements in {len(documents)} documents. A level (MUST, SHOULD, …) is the specification's; a
test of MUST NOT tries what is forbidden.

{tables}
"""


def _table(document: str, proofs: list[Proof]) -> str:
    rows = "\n".join(f"| {proof.section} | {proof.level} | [{proof.test}](../tests/{proof.file}) |" for proof in proofs)
    return f"## {document}\n\n| § | level | proved by |\n|---|---|---|\n{rows}"


def _proofs() -> Iterator[Proof]:
    for path in sorted(TESTS.rglob("test_*.py")):
        text = path.read_text()
        if "mark.spec(" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for decorator in node.decorator_list:
                    named = _spec(decorator)
                    if named is not None:
                        test = node.name.removeprefix("test_").replace("_", " ")
                        yield Proof(*named, test, str(path.relative_to(TESTS)))


def _spec(decorator: ast.expr) -> tuple[str, str, str] | None:
    if not isinstance(decorator, ast.Call) or not ast.unparse(decorator.func).endswith("mark.spec"):
        return None
    document, section, level = (str(ast.literal_eval(argument)) for argument in decorator.args)
    return document, section, level


def _order(text: str) -> list[tuple[int, int, str]]:
    """Numbers by their value, words after them."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"[. ]", text)]


if __name__ == "__main__":
    (HERE / "conformance.md").write_text(conformance())
