"""``keybearer leaks scan`` as people and pipelines run it."""

import base64
import bz2
import gzip
import json
import lzma
import os
import subprocess
from pathlib import Path

import pytest
from backports import zstd

from keybearer.scanner import git_history
from keybearer.scanner.reading import Reading
from keybearer.scanner.sightings import Trouble
from tests.support.authority import keybearer_command
from tests.support.spelling import credential, percent

LINE = '203.0.113.9 - - [26/Nov/2026:08:00:{second:02} +0000] "GET {path} HTTP/1.1" 200 5 "{referer}" "curl/8"\n'


def line(path: str = "/", referer: str = "-", second: int = 0) -> str:
    return LINE.format(path=path, referer=referer, second=second)


def scan(*arguments: str, stdin: bytes = b"", secret: str = "") -> tuple[int, str, str]:
    done = subprocess.run(
        [keybearer_command(), "leaks", "scan", *arguments], input=stdin, capture_output=True, timeout=60, check=False
    )
    out, err = done.stdout.decode(), done.stderr.decode()
    assert "Traceback" not in err
    for text in (out, err):
        assert not secret or secret not in text
    return done.returncode, out, err


def found(
    *arguments: str, stdin: bytes = b"", secret: str = ""
) -> tuple[int, list[dict[str, object]], dict[str, object]]:
    code, out, _ = scan(*arguments, "--offline", "-f", "jsonl", stdin=stdin, secret=secret)
    lines = [json.loads(text) for text in out.splitlines()]
    return code, [one["finding"] for one in lines if "finding" in one], lines[-1]["summary"]


def test_a_tree_of_logs_with_every_compression(tmp_path: Path) -> None:
    text = credential()
    log = (line() * 200 + line(f"/x?key={percent(text, 2)}", second=7)).encode()
    for name, data in {
        "access.log": log,
        "access.log.1.gz": gzip.compress(log) + gzip.compress(log),
        "access.log.2.xz": lzma.compress(log),
        "old/access.log.3.bz2": bz2.compress(log),
        "access.log.4.zst": zstd.compress(log),
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    code, findings, summary = found(str(tmp_path), secret=text.rpartition("_")[2])
    assert code == 1
    assert [(Path(str(one["name"])).name, one["line"]) for one in findings] == [
        ("access.log", 201),
        ("access.log.1.gz", 201),
        ("access.log.1.gz", 402),
        ("access.log.2.xz", 201),
        ("access.log.4.zst", 201),
        ("access.log.3.bz2", 201),
    ]
    assert {(one["at"], one["client_ip"], one["spelling"]) for one in findings} == {
        ("2026-11-26T08:00:07Z", "203.0.113.9", "escaped")
    }
    assert (summary["sources"], summary["troubles"]) == (5, 0)
    again = found(str(tmp_path), "--jobs", "2", secret=text.rpartition("_")[2])
    assert sorted(map(str, again[1])) == sorted(map(str, findings))


def test_bad_input_is_said_and_skipped(tmp_path: Path) -> None:
    text = credential()
    log = line(f"/?k={text}").encode()
    (tmp_path / "cut.gz").write_bytes(gzip.compress(log * 500 + os.urandom(4096))[:-2000])
    (tmp_path / "garbled.xz").write_bytes(lzma.compress(log)[:40] + b"\0" * 40)
    (tmp_path / "junk.gz").write_bytes(b"\x1f\x8b" + os.urandom(100))
    (tmp_path / "followed.gz").write_bytes(gzip.compress(log) + b"something else")
    (tmp_path / "bomb.zst").write_bytes(zstd.compress(b"\0" * (200 << 20)))
    (tmp_path / "binary").write_bytes(bytes(range(256)) * 1000 + log)
    (tmp_path / "long").write_bytes(b"x" * (8 << 20) + b" " + log)
    (tmp_path / "broken-utf8.log").write_bytes(b"\xff\xfe\xc3\x28" + log)
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    code, findings, summary = found(str(tmp_path), secret=text.rpartition("_")[2])
    assert code == 1
    assert summary["troubles"] == 5
    assert summary["notes"] == ["2 links were not followed.", "1 devices, sockets and pipes were not opened."]
    names = {Path(str(one["name"])).name for one in findings}
    assert names == {"cut.gz", "followed.gz", "binary", "long", "broken-utf8.log"}
    _, out, err = scan(str(tmp_path), "--offline")
    assert "NOT ALL WAS SEARCHED" in err
    assert "expands too far" in err
    assert out.count("unchecked") == 5


def test_links_are_followed_when_asked_and_loops_end(tmp_path: Path) -> None:
    inner, other = tmp_path / "tree", tmp_path / "elsewhere"
    inner.mkdir()
    other.mkdir()
    (other / "a.log").write_text(line(f"/?k={credential()}"))
    (inner / "there").symlink_to(other)
    (other / "back").symlink_to(inner)
    assert found(str(inner))[0] == 0
    code, findings, _ = found(str(inner), "--follow")
    assert code == 1
    assert len(findings) == 1


def test_what_cannot_be_read_is_said() -> None:
    code, _, err = scan("/proc/self/mem", "--offline")
    assert code == 2
    assert "/proc/self/mem: Input/output error" in err


def test_a_missing_path_is_trouble_and_nothing_is_clean(tmp_path: Path) -> None:
    assert scan(str(tmp_path / "none"), "--offline")[0] == 2
    assert scan(str(tmp_path), "--offline")[0] == 0


def test_standard_input_and_a_declared_format() -> None:
    text = f"[2026-11-26T08:00:00+01:00] 198.51.100.7 | GET /?k={credential()}\n"
    code, [finding], _ = found("-", "--log-format", "[$time_iso8601] $remote_addr | $request", stdin=text.encode())
    assert code == 1
    assert (finding["source"], finding["name"], finding["at"]) == ("stdin", "-", "2026-11-26T08:00:00+01:00")
    assert finding["client_ip"] == "198.51.100.7"
    assert scan("-", "--log-format", "nothing of use")[0] == 2


def test_a_name_that_holds_a_credential_is_shown_without_it(tmp_path: Path) -> None:
    text = credential()
    (tmp_path / f"dump-{text}.log").write_text(line(f"/?k={text}"))
    for how in ("table", "jsonl", "sarif"):
        code, out, _ = scan(str(tmp_path), "--offline", "-f", how, secret=text.rpartition("_")[2])
        assert code == 1
        assert "REDACTED" in out


def test_a_table_goes_into_no_file(tmp_path: Path) -> None:
    code, _, err = scan(str(tmp_path), "--offline", "-o", str(tmp_path / "found.txt"))
    assert code == 2
    assert "--format" in err
    assert not (tmp_path / "found.txt").exists()


def test_sarif(tmp_path: Path) -> None:
    (tmp_path / "a b.log").write_text("one\n" + line(f"/?k={credential()}"))
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"x" * 10000)[:-4])
    target = tmp_path / "out.sarif"
    assert scan(str(tmp_path), "--offline", "-f", "sarif", "-o", str(target))[0] == 1
    run = json.loads(target.read_text())["runs"][0]
    [result] = run["results"]
    assert result["ruleId"] == run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == "secret_key"
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"].endswith("/a%20b.log")
    assert place["region"] == {"startLine": 2, "startColumn": line().index("GET /") + 9}
    assert run["invocations"][0]["executionSuccessful"] is False


def test_an_interrupted_scan_goes_on(tmp_path: Path) -> None:
    logs, state = tmp_path / "logs", tmp_path / "state.json"
    logs.mkdir()
    for number in range(3):
        (logs / f"{number}.log").write_text(line(f"/?k={credential(number=number)}"))
    code, findings, _ = found(str(logs), "--resume", str(state))
    assert (code, len(findings)) == (1, 3)
    (logs / "3.log").write_text(line(f"/?k={credential(number=3)}"))
    (logs / "1.log").write_text(line(f"/?k={credential(number=1)}") * 2)
    code, findings, _ = found(str(logs), "--resume", str(state))
    assert sorted(Path(str(one["name"])).name for one in findings) == ["1.log", "1.log", "3.log"]
    assert credential().rpartition("_")[2] not in state.read_text()
    state.write_text("{}")
    assert scan(str(logs), "--offline", "--resume", str(state))[0] == 2


def test_git_history(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = {
            "GIT_AUTHOR_NAME": "a",
            "GIT_AUTHOR_EMAIL": "a@example.com",
            "GIT_AUTHOR_DATE": "2026-01-02T03:04:05Z",
        }
        identity |= {"GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.com"}
        return subprocess.run(
            ["git", "-C", tmp_path, *arguments], check=True, capture_output=True, text=True, env=os.environ | identity
        ).stdout

    git("init", "-q")
    (tmp_path / "conf.py").write_text(f"a = 1\nKEY = '{credential()}'\n")
    git("add", ".")
    git("commit", "-qm", "one")
    first = git("rev-parse", "HEAD").strip()
    (tmp_path / "conf.py").write_text("a = 2\n")
    git("commit", "-qam", f"take out {credential('kb_at', 2)}")
    second = git("rev-parse", "HEAD").strip()
    (tmp_path / "copy.py").write_text(f"a = 1\nKEY = '{credential()}'\n")
    git("add", ".")
    git("commit", "-qm", "again")
    assert found(str(tmp_path))[0] == 1
    state = tmp_path.parent / f"{tmp_path.name}.state"
    code, findings, summary = found("--git", str(tmp_path), "--resume", str(state))
    assert code == 1
    assert {(str(one["name"]).rpartition(":")[2], one["line"], one["commit"]) for one in findings} >= {
        ("(commit message)", 6, second)
    }
    [blob] = [one for one in findings if one["rule"] == "secret_key"]
    assert (blob["commit"], blob["at"], blob["line"]) == (first, "2026-01-02T03:04:05Z", 2)
    assert summary["troubles"] == 0
    for more in ((), ("--resume", str(state))):
        assert found("--git", str(tmp_path.parent / "none"), *more)[0] == 2


def test_basic_credentials_in_a_header_dump() -> None:
    basic = base64.b64encode(f"client:{credential('kb_cs')}".encode()).decode()
    code, [finding], _ = found("-", stdin=f"> Authorization: Basic {basic}\n".encode())
    assert (code, finding["rule"], finding["spelling"]) == (1, "client_secret", "base64")


def test_the_pre_commit_hook_refuses_a_commit(tmp_path: Path) -> None:
    """As pre-commit would run it: the entry of ``.pre-commit-hooks.yaml`` with the names of the staged files."""
    import yaml

    root = Path(__file__).parents[2]
    [hook] = yaml.safe_load((root / ".pre-commit-hooks.yaml").read_text())
    assert (hook["id"], hook["language"]) == ("keybearer-leaks", "python")
    program, rest = hook["entry"].split(" ", 1)
    assert program == "keybearer"

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
        return subprocess.run(["git", "-C", tmp_path, *identity, *arguments], capture_output=True, text=True)

    git("init", "-q")
    script = tmp_path / ".git/hooks/pre-commit"
    script.write_text(f"#!/bin/sh\ngit diff --cached --name-only -z | xargs -0 {keybearer_command()} {rest}\n")
    script.chmod(0o755)
    (tmp_path / "fine.py").write_text("KEY = os.environ['KEY']\n")
    git("add", "fine.py")
    assert git("commit", "-qm", "fine").returncode == 0
    (tmp_path / "bad.py").write_text(f"KEY = '{credential()}'\n")
    git("add", "bad.py")
    refused = git("commit", "-qm", "bad")
    assert refused.returncode != 0
    assert "bad.py:1:8" in refused.stdout + refused.stderr
    assert credential().rpartition("_")[2] not in refused.stdout + refused.stderr
    assert git("log", "--oneline").stdout.count("\n") == 1


def repository_with(tmp_path: Path, text: str) -> Path:
    """A repository whose first commit has the text, and whose second has not."""
    path = tmp_path / "repository"
    for number, content in enumerate((text, "clean")):
        if not number:
            git("init", "-q", str(path))
        (path / "settings.ini").write_text(content)
        git("-C", str(path), "add", ".")
        git("-C", str(path), "-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-qm", f"{number}")
    return path


def git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, check=True, text=True)
    return done.stdout.strip()


@pytest.mark.parametrize("hides", ["replaced", "grafted", "graft-file", "elsewhere"])
def test_a_repository_cannot_hide_what_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hides: str) -> None:
    path = repository_with(tmp_path, credential())
    at = ("-C", str(path))
    head = git(*at, "rev-parse", "HEAD")
    if hides == "replaced":
        git(*at, "replace", git(*at, "rev-parse", "HEAD~1:settings.ini"), git(*at, "rev-parse", "HEAD:settings.ini"))
    elif hides == "grafted":
        git(*at, "replace", "--graft", head)
    elif hides == "graft-file":
        (path / ".git/info/grafts").write_text(head + "\n")
    else:
        # As in a hook of another repository.
        other = tmp_path / "other"
        git("init", "-q", str(other))
        monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    code, findings, summary = found("--git", str(path))
    assert code == 1
    assert [(one["credential_id"], summary["troubles"]) for one in findings] == [(credential().split("_")[3], 0)]


def test_a_shallow_clone_is_no_whole_history(tmp_path: Path) -> None:
    path = repository_with(tmp_path, credential())
    git("clone", "-q", "--depth", "1", f"file://{path}", str(tmp_path / "clone"))
    code, findings, summary = found("--git", str(tmp_path / "clone"))
    assert (code, findings, summary["troubles"]) == (2, [], 1)


def test_nothing_that_a_repository_configures_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A partial clone lacks an object, and names a program to fetch it. Older versions of git have no other bar."""
    path, ran = repository_with(tmp_path, credential()), tmp_path / "ran"
    blob = git("-C", str(path), "rev-parse", "HEAD~1:settings.ini")
    for name, value in {
        "core.repositoryFormatVersion": "1",
        "extensions.partialClone": "origin",
        "remote.origin.promisor": "true",
        "remote.origin.url": str(path),
        "remote.origin.uploadpack": f"touch {ran}; git-upload-pack",
        "protocol.allow": "always",
        "protocol.file.allow": "always",
        "core.fsmonitor": f"touch {ran}",
        "core.pager": f"touch {ran}",
        "diff.external": f"touch {ran}",
    }.items():
        git("-C", str(path), "config", name, value)
    (path / ".git/objects" / blob[:2] / blob[2:]).unlink()
    monkeypatch.delitem(git_history._QUIET, "GIT_NO_LAZY_FETCH")
    events = [event for _, event in git_history.search_history(str(path), Reading())]
    assert any(isinstance(event, Trouble) for event in events)
    assert not ran.exists()


def test_what_a_line_says_about_itself_is_no_way_out(tmp_path: Path) -> None:
    text = credential()
    (tmp_path / "app.log").write_text(
        json.dumps({"client_ip": f"fe80::1%{text}", "time": int("9" * 400), "url": f"/?key={text}"}) + "\n"
        f'fe80::1%{text} - - [26/Nov/2026:08:00:00 +0000] "GET /?key={text} HTTP/1.1" 200 5\n'
    )
    code, findings, _ = found(str(tmp_path), secret=text.rpartition("_")[2])
    assert code == 1
    assert [(one["line"], one.get("client_ip"), one.get("at")) for one in findings] == [
        (1, None, None),
        (1, None, None),
        (2, None, "2026-11-26T08:00:00Z"),
        (2, None, "2026-11-26T08:00:00Z"),
    ]
