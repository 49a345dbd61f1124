"""Structured logs: one line per fact, on the standard library's logging.

    I1122 16:05:18.123456 kube-scheduler scheduler.binding] pod bound object=default/web node=n1

The message is a fixed sentence, what varies follows as key=value; an object is written ns/name. Values whose key says
that they are secret are never written, so that a careless call leaks nothing.
"""

import logging
import sys
from typing import Any, TextIO

from pynetes.machinery.meta import key_of

_LETTERS = {logging.DEBUG: "D", logging.INFO: "I", logging.WARNING: "W", logging.ERROR: "E", logging.CRITICAL: "F"}
_SECRET = ("token", "password", "secret", "authorization", "key_pem", "private")
#: Logger of details that upstream shows from -v=4 on.
VERBOSE = 4


def setup(component: str, *, verbosity: int = 0, stream: TextIO | None = None) -> None:
    """Send the process's logs to stderr (or stream); debug lines show from -v=4 on."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Formatter(component))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    set_verbosity(verbosity)
    for noisy in ("asyncio", "aiohttp", "aiohttp.access", "grpc"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def set_verbosity(verbosity: int) -> None:
    """Show details from -v=4 on."""
    logging.getLogger().setLevel(logging.DEBUG if verbosity >= VERBOSE else logging.INFO)


def fact(sentence: str, **values: Any) -> str:
    """The line's text: fact("pod bound", object=pod, node="n1")."""
    return " ".join([sentence, *(f"{name}={_text(name, value)}" for name, value in values.items())])


def printable(text: str) -> str:
    """The text for a terminal or a log: what could move the cursor, colour or hide something is written as \\x1b."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _text(name: str, value: Any) -> str:
    if any(part in name.lower() for part in _SECRET):
        return "<hidden>"
    if isinstance(value, dict) and "metadata" in value:
        return str(key_of(value))
    if isinstance(value, BaseException):
        value = f"{type(value).__name__}: {value}"
    text = str(value)
    if not text or any(character in text for character in ' "=\n\t'):
        return '"' + printable(text.replace("\\", "\\\\").replace('"', '\\"').replace("\t", " ")) + '"'
    return printable(text)


class _Formatter(logging.Formatter):
    def __init__(self, component: str) -> None:
        super().__init__()
        self._component = component

    def format(self, record: logging.LogRecord) -> str:
        letter = _LETTERS.get(record.levelno, "I")
        at = f"{self.formatTime(record, '%m%d %H:%M:%S')}.{int(record.created % 1 * 1_000_000):06d}"
        name = record.name.removeprefix("pynetes.")
        line = f"{letter}{at} {self._component} {name}] {record.getMessage()}"
        if record.exc_info and record.exc_info[0]:
            line += "\n" + self.formatException(record.exc_info)
        return line
