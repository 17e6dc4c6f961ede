"""Publishes a run's results while it goes on: its logs' records in parts, and the summary.

The logs in the run's folder are the truth. A thread reads what is appended to them, packs it into
parts and writes the parts that changed; what it cannot write now it writes later, and the work
does not wait for it. Parts are written in order and the summary last, so what a reader finds, or
a next worker after a kill, is at any moment a beginning of the whole.
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from edgetran.api.wire import PART_INFO_KEY, SUMMARY_KEY, PartInfo, WorkerSummary
from edgetran.records import write_atomically
from edgetran.runner.published import (
    GrowingPart,
    LogReader,
    PublishedRecord,
    encode,
    file_record,
)
from edgetran_workers.log import Log
from edgetran_workers.restore import read_published, restore_logs
from edgetran_workers.results import ConflictError, MissingPartError, ResultsError, ResultsStore

PERIOD_S: Final = 2.0
"""Least time between two writes."""

BYTES_PER_S: Final = 128 * 1024
"""The writes' mean rate: a part that grows large is written less often."""

CHECK_S: Final = 20.0
"""Time between two looks at whether parts are still there as they were written."""

_LONGEST_PAUSE_S: Final = 60.0
_LARGEST_FILE_BYTES: Final = 1024**2
"""A larger file that is no log, such as a surrogate of thousands of rows, is not published."""


class Narrator(Protocol):
    """What tells of the work in the summary."""

    def take(self, record: PublishedRecord) -> None:
        """Learn from a record of the logs."""

    def summary(self) -> WorkerSummary:
        """The summary as it stands, without the time."""


@dataclass
class _Slot:
    """One part of the results, as it should be and as it was last seen.

    Attributes:
        path: file of the packed records, once the part is closed; None while it grows.
        records: how many it has.
        stored: the number of records that the store has; None where that is not known.
        closed_stored: whether the store knows that it is closed.
        version: its version in the store; None where that is not known.
    """

    path: Path | None = None
    records: int = 0
    stored: int | None = None
    closed_stored: bool = False
    version: str | None = None

    @property
    def dirty(self) -> bool:
        if not self.records:
            return False  # an empty part stays untouched: the operator keeps one ready
        return self.stored != self.records or self.closed_stored != (self.path is not None)


@dataclass
class PublisherState:
    """Figures of the publisher itself, for metrics.

    Attributes:
        writes: parts written.
        failures: attempts that failed.
        last_write: time of the last one, seconds since 1970; None before.
    """

    writes: int = 0
    failures: int = 0
    last_write: float | None = None


class Publisher:
    """Keeps the published results up to date with a run's folder.

    Args:
        store: where the results go.
        folder: the run's folder.
        narrator: is told of every record, and says the summary.
        log: gets warnings.
        pod: name of this worker's pod, which its summaries carry.
        on_replaced: called where another worker has taken over this work.
        period_s: least time between two writes, s.
        check_s: time between two looks at the parts, s.
    """

    def __init__(
        self,
        store: ResultsStore,
        folder: Path,
        narrator: Narrator,
        log: Log,
        *,
        pod: str,
        on_replaced: Callable[[], None],
        period_s: float = PERIOD_S,
        check_s: float = CHECK_S,
    ) -> None:
        self._store, self._folder, self._narrator, self._log = store, folder, narrator, log
        self._pod, self._on_replaced = pod, on_replaced
        self._period_s, self._check_s = period_s, check_s
        self.state = PublisherState()
        self._session = 1
        self._replaced = False
        self._spool = tempfile.TemporaryDirectory(prefix="edgetran-results-")
        self._slots: list[_Slot] = []
        self._growing = GrowingPart(0)
        self._skip: Counter[str] = Counter()
        self._files: dict[str, bytes] = {}
        self._rest: list[int] = []
        self._reader = LogReader(folder)
        self._summary = self._stored_summary = ""
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="results", daemon=True)
        self._checked = time.monotonic()
        self._turn = 0

    def restore(self, patience_s: float) -> None:
        """Complete the folder's logs by what was published, and go on from there.

        Args:
            patience_s: how long to wait for a store that does not answer, s.

        Raises:
            ResultsError: it did not answer.
        """
        published = self._patiently(lambda: read_published(self._store), patience_s)
        self._session = _session(published.summary) + 1
        self._stored_summary = published.summary
        if not restore_logs(self._folder, published.records):
            self._log.warning(
                "results: the published ones differ from the logs here; they are published again"
            )
            self._rest = [*range(len(published.parts)), *published.rest]
            self._slots = [_Slot()]
            return
        self._rest = published.rest
        for number, (part, records) in enumerate(published.parts):
            info = _info(part.data.get(PART_INFO_KEY, ""))
            last = number == len(published.parts) - 1
            slot = _Slot(None, len(records), len(records), False, part.version)
            self._slots.append(slot)
            if info.get("closed") is True or not last:
                slot.path = self._keep(number, part.records)
                slot.closed_stored = info.get("closed") is True
                self._growing = GrowingPart(number + 1)
            else:
                self._growing = GrowingPart(number)
                if not all(self._growing.add(encode(*record)) for record in records):
                    slot.path = self._keep(number, part.records)
                    self._growing = GrowingPart(number + 1)
            for record in records:
                if record.log.endswith(".jsonl"):
                    self._skip[record.log] += 1
                else:
                    self._files[record.log] = record.line
        if len(self._slots) <= self._growing.number:
            self._slots.append(_Slot())

    def start(self) -> None:
        """Begin to publish."""
        self._thread.start()

    def add_file(self, path: Path) -> None:
        """Publish a file of the folder that is no log, where it differs from what was published."""
        log = path.relative_to(self._folder).as_posix()
        line = file_record(path)
        with self._lock:
            self._narrator.take(PublishedRecord(log, line))
            if self._files.get(log) != line and len(line) <= _LARGEST_FILE_BYTES:
                self._files[log] = line
                self._append(PublishedRecord(log, line))

    def collect(self) -> None:
        """Take up what is new in the logs."""
        with self._lock:
            for record in self._reader.new():
                if self._skip[record.log] > 0:
                    self._skip[record.log] -= 1
                else:
                    self._append(record)  # first: where it fails, the record comes again
                self._narrator.take(record)
            mine = {"pod": self._pod, "session": self._session}
            summary = self._narrator.summary().model_copy(update=mine)
            self._summary = json.dumps(summary.to_dict(), allow_nan=False)

    def finish(self, seconds: float) -> bool:
        """Publish the last of it, for at most `seconds`; whether all of it is published."""
        self._ended.set()
        deadline = time.monotonic() + seconds
        pause = 0.2
        while True:
            if self._lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
                try:
                    self.collect()
                    if self._write():
                        return True
                except (ResultsError, OSError) as error:
                    self.state.failures += 1
                    self._log.warning(f"results: {error}; retrying")
                finally:
                    self._lock.release()
            if time.monotonic() + pause > deadline:
                return False
            time.sleep(pause)
            pause = min(2 * pause, 10.0)

    def _work(self) -> None:
        pause = self._period_s
        while not self._ended.wait(pause):
            with self._lock:
                try:
                    self.collect()
                    before = self.state.writes
                    written = self._write()
                    self._check()
                    pause = self._period_s
                    if self.state.writes > before:
                        pause += len(self._growing.packed()) / BYTES_PER_S
                    elif not written:
                        pause = min(2 * pause, _LONGEST_PAUSE_S)
                except ResultsError as error:
                    self.state.failures += 1
                    pause = min(2 * max(pause, 1.0), _LONGEST_PAUSE_S)
                    self._log.warning(f"results: {error}; retrying in {pause:.0f} s")
                except Exception as error:  # noqa: BLE001 - the work must not end for want of this
                    self.state.failures += 1
                    pause = _LONGEST_PAUSE_S
                    self._log.error(f"results: {type(error).__name__}: {error}")

    def _append(self, record: PublishedRecord) -> None:
        if not self._slots:
            self._slots.append(_Slot())
        line = encode(*record)
        if not self._growing.add(line):
            number = self._growing.number
            self._slots[number].path = self._keep(number, self._growing.packed())
            self._slots.append(_Slot())
            self._growing = GrowingPart(number + 1)
            self._growing.add(line)
        self._slots[self._growing.number].records = self._growing.records

    def _keep(self, number: int, packed: bytes) -> Path:
        path = Path(self._spool.name) / f"{number}.gz"
        write_atomically(path, packed)
        return path

    def _packed(self, number: int) -> bytes:
        path = self._slots[number].path
        return self._growing.packed() if path is None else path.read_bytes()

    def _write(self) -> bool:
        """Write what changed; whether the store has all of it now."""
        if self._replaced:
            return False
        while self._rest:  # from the end, so that what is left is always a beginning
            if self._rest[-1] >= max(1, len(self._slots)) and not self._empty(self._rest[-1]):
                return False
            self._rest.pop()
        dirty = [number for number, slot in enumerate(self._slots) if slot.dirty]
        for number in dirty:
            if not self._write_part(number, with_summary=dirty == [0]):
                return False
        if _essence(self._summary) != _essence(self._stored_summary):
            # It comes after all records, since it may say that all is done.
            return self._write_part(0, with_summary=True, with_records=False)
        return True

    def _write_part(self, number: int, *, with_summary: bool, with_records: bool = True) -> bool:
        """Write one part; False where it is not there or was changed by someone else."""
        if not self._slots:
            self._slots.append(_Slot())
        slot = self._slots[number]
        if slot.version is None and not self._look(number):
            return False
        data, records = {}, None
        if with_records:
            records = self._packed(number)
            info = PartInfo(records=slot.records, closed=slot.path is not None)
            data[PART_INFO_KEY] = json.dumps(info.model_dump())
        if with_summary:
            data[SUMMARY_KEY] = self._summary
        try:
            slot.version = self._store.write(number, data, records, slot.version or "")
        except MissingPartError:
            self._forget(number)
            return False
        except ConflictError:
            self.state.failures += 1
            self._look(number)
            return False
        self.state.writes += 1
        self.state.last_write = time.time()
        if with_records:
            slot.stored, slot.closed_stored = slot.records, slot.path is not None
        if with_summary:
            self._stored_summary = self._summary
        return True

    def _look(self, number: int) -> bool:
        """Read a part whose state is not known; False where it is not this worker's to write."""
        part = self._store.read(number)
        if part is None:
            self._forget(number)
            return False
        slot = self._slots[number]
        slot.version = part.version
        if part.records != self._packed(number) or slot.stored is None:
            slot.stored = None  # not what it should be: it is written whole
        if number == 0:
            found = part.data.get(SUMMARY_KEY, "")
            if _session(found) > self._session or (
                _session(found) == self._session and _pod(found) not in ("", self._pod)
            ):
                self._replaced = True
                self._on_replaced()
                return False
            self._stored_summary = found
        return True

    def _forget(self, number: int) -> None:
        slot = self._slots[number]
        slot.stored = slot.version = None
        slot.closed_stored = False
        if number == 0:
            self._stored_summary = ""

    def _empty(self, number: int) -> bool:
        """Take the records out of a part that is no longer one of the run's."""
        version = self._store.version(number)
        if version is None:
            return True
        try:
            self._store.write(
                number, {PART_INFO_KEY: '{"records": 0, "closed": false}'}, b"", version
            )
        except MissingPartError:
            return True
        except ConflictError:
            return False
        return True

    def _check(self) -> None:
        """Now and then: are the first part, the growing one and one of the others still there?"""
        now = time.monotonic()
        if now - self._checked < self._check_s:
            return
        self._checked = now
        self._turn += 1
        for number in {0, self._growing.number, self._turn % len(self._slots)}:
            slot = self._slots[number]
            if slot.version is not None and self._store.version(number) != slot.version:
                self._look(number)

    def _patiently(self, read: Callable[[], Any], patience_s: float) -> Any:
        deadline, pause = time.monotonic() + patience_s, 0.5
        while True:
            try:
                return read()
            except ResultsError as error:
                self.state.failures += 1
                if time.monotonic() + pause > deadline:
                    raise
                self._log.warning(f"results: {error}; retrying in {pause:.1f} s")
            time.sleep(pause)
            pause = min(2 * pause, 20.0)


def _info(text: str) -> dict[str, Any]:
    """JSON of an object that others may have spoiled."""
    try:
        data = json.loads(text)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def _session(summary: str) -> int:
    value = _info(summary).get("session")
    return value if isinstance(value, int) and value > 0 else 0


def _pod(summary: str) -> str:
    return str(_info(summary).get("pod") or "")


def _essence(summary: str) -> dict[str, Any]:
    """A summary without what changes by itself as time goes by."""
    data = _info(summary)
    for key in ("updated", "timeLeftSeconds"):
        data.pop(key, None)
    return data
