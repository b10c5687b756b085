"""What asking costs a proxy: requests through nginx and Envoy, guarded and plain, to the same site.

Nothing is cached in the proxy: each request is a question to Keybearer. By the clock on the wall, and, because others
share the machine, per second of processor time of all that runs on the proxy's core: the proxy, the site, and wrk.
"""

from __future__ import annotations

import resource
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import psutil

from tests.support.program import Program

from .figures import Figure, Goal, Spread, ratios
from .guards import guarded
from .load import Question, per_second

GOAL = Goal("≥ 50 % of the plain proxy", at_least=0.5, of_ratio=True)
WAYS = (
    ("nginx, plain proxy", "nginx", "keybearer.conf", False, ""),
    ("nginx, forward-auth", "nginx", "keybearer.conf", True, "nginx, plain proxy"),
    ("Envoy, plain proxy", "envoy", "keybearer-grpc.yaml", False, ""),
    ("Envoy, ext_authz over gRPC", "envoy", "keybearer-grpc.yaml", True, "Envoy, plain proxy"),
    ("Envoy, ext_authz over HTTP", "envoy", "keybearer-http.yaml", True, "Envoy, plain proxy"),
)


def measure(*, quick: bool) -> Sequence[Figure]:
    """Ask each in short alternating rounds."""
    rates: dict[str, list[float]] = {}
    costs: dict[str, list[float]] = {}
    seconds = 1 if quick else 2
    with tempfile.TemporaryDirectory(prefix="keybearer-bench-") as folder, ExitStack() as stack:
        scratch = Path(folder)
        scene = stack.enter_context(guarded(scratch))
        question = Question("GET", "/index.html", {"authorization": f"Bearer {scene.stocked.first(1)[0]}"})
        proxies: dict[str, Program] = {}
        for what, name, file, asks, _ in WAYS:
            proxy = stack.enter_context(scene.proxy(name, file, asks=asks))
            if proxy is not None:
                proxies[what] = proxy
                per_second(proxy.url, question, 1, scratch)
        for _ in range(2 if quick else 9):
            for what, proxy in proxies.items():
                pids = (proxy.pid, scene.site.pid)
                before = _processor_seconds(pids)
                rate = per_second(proxy.url, question, seconds, scratch)
                rates.setdefault(what, []).append(rate)
                costs.setdefault(what, []).append(rate * seconds / (_processor_seconds(pids) - before))
    return [
        Figure(
            what,
            unit,
            Spread.of(found[what]),
            baseline,
            ratios(found[what], found[baseline]) if baseline else None,
            GOAL if what == "nginx, forward-auth" and found is rates else None,
        )
        for unit, found in (("/s", rates), ("/s of the core's processor time", costs))
        for what, *_, baseline in WAYS
        if what in found
    ]


def _processor_seconds(pids: Sequence[int]) -> float:
    """Return what these processes and their children have used, and every wrk that has ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = ended.ru_utime + ended.ru_stime
    for pid in pids:
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            times = process.cpu_times()
            used += times.user + times.system
    return used
