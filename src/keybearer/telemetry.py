"""Logs and metrics: structured log lines with credentials redacted, and Prometheus counters.

No credential may reach a log line or a label (CWE-532): every string passes ``redact`` last, whoever logged it.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from . import __version__
from .core.credential import without_secrets
from .ports import ISSUED

REDACTED: Final = "[redacted]"
_AUTHORIZATION: Final = re.compile(r"(?i)\b(bearer|basic|dpop)\s+[A-Za-z0-9._~+/=-]{8,}")
_QUERY: Final = re.compile(r"(?i)([?&](?:key|api_key|apikey|access_token|token|secret|password)=)[^&\s\"']+")
_SECRET_NAMES: Final = frozenset(
    {"authorization", "cookie", "set-cookie", "x-api-key", "x-auth-token", "password", "secret", "credential", "token"}
)


def redact(text: str) -> str:
    """Return the text with every credential cut down to its public part."""
    text = without_secrets(text, REDACTED)
    text = _AUTHORIZATION.sub(r"\1 " + REDACTED, text)
    return _QUERY.sub(r"\1" + REDACTED, text)


def _redact_value(name: str, value: Any) -> Any:
    if name.lower().replace("_", "-") in _SECRET_NAMES:
        return REDACTED
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {key: _redact_value(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redact_value("", item) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return redact(str(value))


def redact_event(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Redact every value of a log event; the last processor before rendering."""
    return {name: _redact_value(name, value) for name, value in event.items()}


def configure_logging(log_format: str, level: str) -> None:
    """Send all logging, also that of libraries, to stderr as JSON lines or readable text, redacted.

    Control characters are escaped in both, so that a log line cannot be forged (SECURITY-BAR 29).
    """
    as_json = log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())
    before: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                redact_event,
                *([] if as_json else [_escape_controls]),
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = name != "uvicorn.access"
    # A client chose this algorithm name, RFC 9864 renamed it: nothing that an operator could act on.
    warnings.filterwarnings("ignore", message="EdDSA is deprecated")


def _escape_controls(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {
        name: value.encode("unicode_escape").decode() if isinstance(value, str) and name != "exception" else value
        for name, value in event.items()
    }


class Metrics:
    """The Prometheus metrics of one process, or of all workers where ``PROMETHEUS_MULTIPROC_DIR`` is set.

    Labels are codes, route templates and statuses: never an id, an address or a credential.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.verifications = Counter(
            "keybearer_verifications", "Answers of verify, by code.", ["code"], registry=self.registry
        )
        self.requests = Counter(
            "keybearer_http_requests", "HTTP answers of the application.", ["route", "status"], registry=self.registry
        )
        self.tokens_issued = Counter(
            "keybearer_tokens_issued", "Answers of the token endpoint with a token.", registry=self.registry
        )
        self.usage_dropped = Counter(
            "keybearer_usage_dropped", "Usage counts that found no room.", registry=self.registry
        )
        self.leaks_found = Counter(
            "keybearer_leaks_found",
            "Leaked credentials that were to be acted on, by kind, state and what was done.",
            ["kind", "state", "action"],
            registry=self.registry,
        )
        self.webhook_attempts = Counter(
            "keybearer_webhook_attempts", "Attempts to tell webhooks, by outcome.", ["outcome"], registry=self.registry
        )
        build = Gauge(
            "keybearer_build_info", "Which version runs.", ["version"], registry=self.registry, multiprocess_mode="max"
        )
        build.labels(version=__version__).set(1)

    def count_verifications(self, by_code: Mapping[str, int]) -> None:
        """Add a flush of the usage recorder."""
        for code, count in by_code.items():
            if code == ISSUED:
                self.tokens_issued.inc(count)
            else:
                self.verifications.labels(code=code).inc(count)

    def count_leak(self, kind: str, state: str, action: str) -> None:
        """Count a credential that was found."""
        self.leaks_found.labels(kind=kind, state=state, action=action).inc()

    def count_webhook(self, outcome: str) -> None:
        """Count one attempt to tell a webhook."""
        self.webhook_attempts.labels(outcome=outcome).inc()

    def count_request(self, route: str, status: int) -> None:
        """Count one answer of the application."""
        self.requests.labels(route=route, status=str(status)).inc()

    def counting(self, route: str) -> Callable[[int], None]:
        """Return what counts the answers of one route by status, for routes asked too often to look labels up."""
        known: dict[int, Counter] = {}

        def count(status: int) -> None:
            counter = known.get(status)
            if counter is None:
                counter = known[status] = self.requests.labels(route=route, status=str(status))
            counter.inc()

        return count

    def observe(self, name: str, description: str, read: Callable[[], float]) -> None:
        """Show a number that is read when somebody looks (this process only)."""
        self.registry.register(_Reading(name, description, read))

    def render(self) -> bytes:
        """Return the exposition text."""
        from prometheus_client import multiprocess

        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            together = CollectorRegistry()
            multiprocess.MultiProcessCollector(together)  # type: ignore[no-untyped-call]
            return generate_latest(together)
        return generate_latest(self.registry)


class _Reading(Collector):
    def __init__(self, name: str, description: str, read: Callable[[], float]) -> None:
        self._name, self._description, self._read = name, description, read

    def collect(self) -> Any:
        """Yield the number as it is now."""
        yield GaugeMetricFamily(self._name, self._description, value=self._read())
