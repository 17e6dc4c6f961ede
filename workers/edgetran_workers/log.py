"""What a worker prints: one JSON object per line, or plain lines where a person reads them."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TextIO


class Log:
    """Lines on standard output; may be used by several threads.

    Args:
        as_json: JSON objects with `time`, `level`, `message` and what the line is about.
        about: said in every JSON line, such as the resource's kind and name.
        stream: where to.
    """

    def __init__(
        self,
        *,
        as_json: bool,
        about: Mapping[str, str] | None = None,
        stream: TextIO | None = None,
    ) -> None:
        self._as_json = as_json
        self._about = dict(about or {})
        self._stream = stream or sys.stdout
        self._lock = threading.Lock()

    def tell_about(self, **about: str) -> None:
        """Say this in every line from now on."""
        self._about |= about

    def info(self, message: str, **fields: Any) -> None:
        """Something that goes as it should."""
        self._write("info", message, fields)

    def warning(self, message: str, **fields: Any) -> None:
        """Something that does not, and that the worker lives with."""
        self._write("warning", message, fields)

    def error(self, message: str, *, details: str = "", **fields: Any) -> None:
        """What ends the worker; `details` such as a traceback."""
        self._write("error", message, {**fields, "details": details} if details else fields)

    def _write(self, level: str, message: str, fields: Mapping[str, Any]) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        if self._as_json:
            entry = {"time": now, "level": level, "message": message, **self._about, **fields}
            line = json.dumps(entry, default=str)
        else:
            line = message if level == "info" else f"{level}: {message}"
            line += f"\n{fields['details']}" if "details" in fields else ""
        with self._lock:
            print(line, file=self._stream, flush=True)
