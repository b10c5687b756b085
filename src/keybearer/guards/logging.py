"""A filter for Python's ``logging`` that takes the secret out of every credential before a handler writes it.

In whatever spelling, in the message, its arguments, ``extra`` and tracebacks. What stands for it is what
``keybearer leaks redact`` writes. Put it on handlers: a filter on a logger does not see what its children log.

    handler.addFilter(RedactingFilter())

Spec: CWE-532.
"""

from __future__ import annotations

import logging
import traceback
from typing import Any, Final

from ..formats.redaction import redact

MAX_DEPTH: Final = 6
_OWN: Final = frozenset(vars(logging.makeLogRecord({})))
"""What every record has; all else came as ``extra``."""


class RedactingFilter(logging.Filter):
    """Rewrites records in place and lets all of them pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact one record. What cannot be put together into a message is redacted piece by piece."""
        try:
            message = record.getMessage()
        except Exception:
            # logging itself will say that the arguments do not fit, and quotes them.
            record.msg, record.args = clean(str(record.msg)), _value(record.args)
        else:
            redacted = clean(message)
            if redacted != message:
                record.msg, record.args = redacted, None
        if record.exc_info and record.exc_info[0] is not None and not record.exc_text:
            # Formatters write this text, where there is one, instead of what they would make of the exception.
            record.exc_text = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
        if record.exc_text:
            record.exc_text = clean(record.exc_text)
        if record.stack_info:
            record.stack_info = clean(record.stack_info)
        for name, value in [*vars(record).items()]:
            if name not in _OWN:
                setattr(record, name, _value(value))
        return True


def clean(text: str) -> str:
    """Return a text without the secrets of credentials; the very same object when there are none."""
    data = text.encode("utf-8", "surrogatepass")
    redacted = redact(data)
    return text if redacted is data else redacted.decode("utf-8", "surrogatepass")


def _value(value: Any, depth: int = 0) -> Any:
    """Return a value without secrets: texts, also within plain containers, are looked at. Anything else stays as it is
    unless a secret shows when it is written out; then its text takes its place.
    """
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, bytes):
        return redact(value)
    if value is None or isinstance(value, int | float):
        return value
    if depth >= MAX_DEPTH:
        return _written(value)
    if type(value) is dict:
        return {_value(name, depth + 1): _value(one, depth + 1) for name, one in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_value(one, depth + 1) for one in value)
    return _written(value)


def _written(value: Any) -> Any:
    for write in (str, repr):
        try:
            text = write(value)
        except Exception:
            text = ""  # nor can a handler write it
        redacted = clean(text)
        if redacted is not text:
            return redacted
    return value
