"""The node's log: one line per event on standard error, as text for people or as JSON for machines.

What is logged is what happened and to which height, view or peer; never a payload, a key's secret or a client's
data. Nobody outside can put a line break into the log: control characters are escaped.
"""

import json
import logging
import sys
from datetime import UTC, datetime

_ROOTS = ("node", "chain", "genesis")


class TextFormatter(logging.Formatter):
    """`2026-11-21T16:00:00.123Z INFO  node.service: message`"""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{_time(record)} {record.levelname:<7} {record.name}: {_escape(record.getMessage())}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and the traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def configure(level: str, style: str) -> None:
    """Send everything at or above `level` to standard error in the given style, `text` or `json`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    # Libraries speak up only when something is wrong, whatever the operator wants to see of the node.
    root.setLevel(logging.WARNING)
    for name in _ROOTS:
        logging.getLogger(name).setLevel(level.upper())


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def _escape(text: str) -> str:
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
