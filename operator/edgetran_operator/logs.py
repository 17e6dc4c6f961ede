"""Structured logs: one JSON object a line, with the resource that it is about."""

from __future__ import annotations

import logging
from typing import Any, Final

from pythonjsonlogger.json import JsonFormatter as _JsonFormatter

_NAMES: Final = {"levelname": "level", "name": "logger", "exc_info": "exception"}
_SHOWN: Final = ("time", "level", "logger", "message", "kind", "namespace", "resource", "exception")
"""Of what libraries add to their records nothing else: it may be a whole object."""


class JsonFormatter(_JsonFormatter):
    """A log record as one line of JSON: time, level, logger, message, resource, exception."""

    def __init__(self) -> None:
        super().__init__(
            ["levelname", "name", "message"],
            rename_fields=_NAMES,
            timestamp="time",
            json_ensure_ascii=False,
        )

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """What is shown of the record, in one order."""
        line = {name: log_data[name] for name in _SHOWN if log_data.get(name) is not None}
        line["time"] = log_data["time"].isoformat(timespec="milliseconds")
        line["level"] = log_data["level"].lower()
        return line


def set_up_logs(level: str) -> None:
    """Log to standard error as JSON lines; kopf only what matters."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("kopf", "aiohttp", "asyncio"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
