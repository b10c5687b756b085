"""Rules of gitleaks: what of them is understood, what is said not to be, and what they find."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from keybearer.core.errors import ConfigurationError, InvalidInput
from keybearer.scanner.patterns import EXPORTS, checked_brands
from keybearer.scanner.rules import RuleMatch, Rules, RuleSearch, load
from tests.support.authority import keybearer_command
from tests.support.spelling import credential

RULES = r"""
title = "test"
[[rules]]
id = "vendor-token"
description = "A vendor's token"
regex = '''(?i)vendor[_-]?key\s*[=:]\s*['"]?([a-z0-9]{20})\b'''
keywords = ["vendor"]
entropy = 3
[[rules]]
id = "grouped"
regex = '''(user|pass)=(\w{8,})'''
secretGroup = 2
keywords = ["user=", "pass="]
[[rules.allowlists]]
stopwords = ["example"]
[[rules.allowlists]]
regexTarget = "line"
regexes = ['''^#''']
[[rules]]
id = "everywhere"
regex = '''\bzz[0-9]{6}\b'''
[[rules]]
id = "by-path"
path = '''\.pem$'''
[[rules]]
id = "lookahead"
regex = '''(?=a)b'''
[[rules]]
regex = "no id"
[allowlist]
paths = ['''/vendor/''']
[extend]
useDefault = true
"""
SECRET = "a1b2c3d4e5f6g7h8i9j0"


@pytest.fixture
def rules(tmp_path: Path) -> Rules:
    path = tmp_path / "rules.toml"
    path.write_text(RULES)
    return load(str(path))


def matches(rules: Rules, data: bytes, *, step: int = 1 << 20, path: str = "x") -> list[RuleMatch]:
    search = RuleSearch(rules, path)
    found = [match for at in range(0, len(data), step) for match in search.feed(data[at : at + step])]
    return [*found, *search.settle()]


def facts(found: list[RuleMatch]) -> list[tuple[str, int, int]]:
    return sorted((one.rule, one.line, one.column) for one in found)


def test_what_is_not_understood_is_said(rules: Rules) -> None:
    assert [rule.id for rule in rules.rules] == ["vendor-token", "grouped", "everywhere"]
    assert len(rules.refused) == 4
    text = "\n".join(rules.refused)
    for part in ("'extend'", "by-path: path", "lookahead: RE2", "rule 6: it needs an id"):
        assert part in text


def test_what_they_find(rules: Rules) -> None:
    data = f"x\nVENDOR_KEY = '{SECRET}'\nuser=abcdefgh1 pass=anexample1\n# pass=abcdefgh2\nzz123456\n".encode()
    found = matches(rules, data)
    assert facts(found) == [("everywhere", 5, 1), ("grouped", 3, 6), ("vendor-token", 2, 15)]
    assert found[0].secret.reveal() == SECRET
    assert SECRET not in repr(found)


@pytest.mark.parametrize(
    "line", [f"vendor_key={'a' * 20}", f"vendor_key={SECRET} # gitleaks:allow", f"other_key={SECRET}"]
)
def test_what_they_leave_out(rules: Rules, line: str) -> None:
    assert not matches(rules, line.encode())
    assert not matches(rules, f"vendor_key={SECRET}".encode(), path="a/vendor/b")


@pytest.mark.parametrize("step", [501, 4096, 10007])
def test_pieces_of_any_size_find_the_same(rules: Rules, step: int) -> None:
    line = f"{'filler ' * 50} vendor_key={SECRET} zz123456 pass=abcdefgh1\n".encode()
    assert facts(matches(rules, line * 60, step=step)) == facts(matches(rules, line * 60))
    assert len(matches(rules, line * 60)) == 180


@pytest.mark.parametrize("text", ["rules = 3\n", "not toml", "[allowlist]\nregexes = ['(']\n"])
def test_a_file_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError):
        load(str(path))


def test_one_scan_serves_both(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text(RULES)
    (tmp_path / "a.env").write_text(f"VENDOR_KEY={SECRET}\nOURS={credential()}\n")
    for jobs in ("1", "2"):
        command = [keybearer_command(), "leaks", "scan", tmp_path / "a.env", "--offline", "-f", "jsonl", "-j", jobs]
        done = subprocess.run([*command, "--rules", tmp_path / "rules.toml"], capture_output=True, text=True)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        found = {(one["finding"]["rule"], one["finding"]["state"]) for one in lines if "finding" in one}
        assert found == {("vendor-token", "foreign"), ("secret_key", "unchecked")}
        assert lines[-1]["summary"]["troubles"] == 4
        assert SECRET not in done.stdout + done.stderr


# Our own formats as rules.


@pytest.mark.parametrize("prefix", ["kb_sk_live", "acme_pk_test", "kb_rt"])
def test_our_own_rules_find_our_own(tmp_path: Path, prefix: str) -> None:
    path = tmp_path / "own.toml"
    path.write_text(EXPORTS["gitleaks"]([]))
    own = load(str(path))
    assert not own.refused
    assert [one.secret.reveal() for one in matches(own, f"a={credential(prefix)};".encode())] == [credential(prefix)]


def test_a_brand_narrows_them(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(EXPORTS["gitleaks"](checked_brands(["acme"])))
    own = load(str(path))
    assert matches(own, f" {credential('acme_sk_live')} ".encode())
    assert not matches(own, f" {credential('other_sk_live')} ".encode())
    for brand in ("Acme", "a-b", "1a", "", "a" * 17):
        with pytest.raises(InvalidInput):
            checked_brands([brand])


def test_real_gitleaks_takes_them(tmp_path: Path) -> None:
    program = os.environ.get("KEYBEARER_GITLEAKS") or shutil.which("gitleaks")
    if program is None:
        pytest.skip("gitleaks is not installed")
    (tmp_path / "own.toml").write_text(EXPORTS["gitleaks"]([]))
    (tmp_path / "tree").mkdir()
    for number, prefix in enumerate(("kb_sk_live", "acme_pk_test", "kb_rt", "kb_cs")):
        (tmp_path / "tree" / f"{number}.txt").write_text(f"key = {credential(prefix, number)}\n")
    report = tmp_path / "report.json"
    subprocess.run(
        [program, "dir", tmp_path / "tree", "-c", tmp_path / "own.toml", "-r", report, "-f", "json", "--no-banner"],
        capture_output=True,
        check=False,
    )
    found = {(Path(one["File"]).name, one["Secret"]) for one in json.loads(report.read_text())}
    assert found == {
        (f"{number}.txt", credential(prefix, number))
        for number, prefix in enumerate(("kb_sk_live", "acme_pk_test", "kb_rt", "kb_cs"))
    }


def test_trufflehog_and_github() -> None:
    import yaml

    detectors = yaml.safe_load(EXPORTS["trufflehog"]([]))["detectors"]
    assert [one["name"] for one in detectors] == ["keybearer-api-key", "keybearer-token"]
    assert "kb_rt_" in detectors[1]["keywords"]
    assert "Secret format: [a-z][a-z0-9]{0,15}_[sp]k_(?:live|test)_" in EXPORTS["github"]([])
