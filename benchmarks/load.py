"""Load by wrk: keep-alive connections that ask the same question, or one about a random line of a file."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

from .authority import Running
from .machine import pinned

CONNECTIONS = 32
SERIAL = "<serial>"


@dataclass(frozen=True, slots=True)
class Question:
    """One request. With ``lines`` (a file, how many lines, their width) ``%s`` in the body stands for a random line.

    ``SERIAL`` in the path or in a header stands for a number that no two requests of one run share.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    lines: tuple[Path, int, int] | None = None

    def script(self) -> str:
        """Return the Lua program that makes wrk ask this."""
        head = [f"wrk.method = {_lua(self.method)}", f"wrk.path = {_lua(self.path)}"]
        head += [f"wrk.headers[{_lua(name)}] = {_lua(value)}" for name, value in self.headers.items()]
        if self.body:
            head.append(f"wrk.body = {_lua(self.body)}")
        if self.lines is None and SERIAL in "".join([self.path, *self.headers.values()]):
            return "\n".join(
                [
                    *head,
                    "local number, before, after = 0",
                    "function init(args)",
                    "  local whole = wrk.format()",
                    f"  local from, to = whole:find({_lua(SERIAL)}, 1, true)",
                    "  before, after = whole:sub(1, from - 1), whole:sub(to + 1)",
                    "end",
                    "function request()",
                    "  number = number + 1",
                    f"  return before .. string.format('%0{len(SERIAL)}d', number) .. after",
                    "end",
                ]
            )
        if self.lines is None:
            return "\n".join(head)
        path, count, width = self.lines
        return "\n".join(
            [
                *head,
                f"local file, body = io.open({_lua(str(path))}, 'rb'), {_lua(self.body)}",
                "local whole",
                "function init(args)",
                "  math.randomseed(os.time())",
                "  whole = wrk.format(nil, nil, nil, body:gsub('%%s', ('x'):rep(" + str(width) + ")))",
                "  local from, to = whole:find(('x'):rep(" + str(width) + "), 1, true)",
                "  before, after = whole:sub(1, from - 1), whole:sub(to + 1)",
                "end",
                "function request()",
                f"  file:seek('set', math.random(0, {count - 1}) * {width + 1})",
                f"  return before .. file:read({width}) .. after",
                "end",
            ]
        )


def per_second(url: str, question: Question, seconds: float, scratch: Path, *, connections: int = CONNECTIONS) -> float:
    """Return the answers a second; raises ``RuntimeError`` when one of them was not 2xx."""
    script = scratch / "question.lua"
    script.write_text(question.script())
    said = subprocess.run(
        [*pinned(1), "wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "-s", str(script), url],
        capture_output=True,
        text=True,
        timeout=seconds + 30,
        check=True,
    ).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        raise RuntimeError(f"{question.method} {question.path}: {said}")
    found = re.search(r"Requests/sec:\s+([\d.]+)", said)
    if found is None:
        raise RuntimeError(f"wrk said nothing about its rate: {said}")
    return float(found[1])


def per_core_second(server: Running, question: Question, seconds: float, scratch: Path) -> float:
    """Return the answers per second of the server's processor time: its rate on a core that it need not share."""
    before, started = server.processor_seconds(), perf_counter()
    rate = per_second(server.url, question, seconds, scratch)
    answers = rate * min(seconds, perf_counter() - started)
    return answers / (server.processor_seconds() - before)


def _lua(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return f"'{escaped}'"
