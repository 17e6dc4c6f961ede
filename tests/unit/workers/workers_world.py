"""A store that can be spoiled, a narrator that counts, and logs to publish."""

from __future__ import annotations

import io
import itertools
import json
from dataclasses import replace

from edgetran.api.wire import SUMMARY_KEY, WorkerSummary
from edgetran.records import JsonLog
from edgetran.runner.published import read_part
from edgetran_workers.log import Log
from edgetran_workers.publish import Publisher
from edgetran_workers.results import ConflictError, MissingPartError, ResultsError, ResultsPart

VERSIONS = itertools.count(1)


class MemoryResults:
    """Parts in memory, with an operator that keeps one empty part more than are used."""

    def __init__(self):
        self.parts = {0: ResultsPart(version="0")}
        self.down = False
        self.writes = []
        self.die_after = None

    def read(self, number):
        self._ask()
        return self.parts.get(number)

    def version(self, number):
        part = self.read(number)
        return None if part is None else part.version

    def write(self, number, data, records, version):
        self._ask()
        if self.die_after is not None and len(self.writes) >= self.die_after:
            raise KilledError
        part = self.parts.get(number)
        if part is None:
            raise MissingPartError(f"part {number}")
        if part.version != version:
            raise ConflictError(f"part {number}")
        self.set(number, data=data, records=records)
        self.writes.append((number, records is not None, SUMMARY_KEY in data))
        if records or self.parts[number].records:
            self.parts.setdefault(number + 1, ResultsPart(version=str(next(VERSIONS))))
        return self.parts[number].version

    def set(self, number, *, data=None, records=None):
        """Change a part as anyone may."""
        part = self.parts.get(number, ResultsPart())
        self.parts[number] = replace(
            part,
            data={**part.data, **(data or {})},
            records=part.records if records is None else records,
            version=str(next(VERSIONS)),
        )

    def make_again(self, number):
        """What the operator does with a part that someone deleted."""
        self.parts[number] = ResultsPart(version=str(next(VERSIONS)))

    @property
    def records(self):
        """All records as a reader finds them."""
        return [
            (record.log, json.loads(record.line))
            for number in sorted(self.parts)
            for record in read_part(self.parts[number].records)
        ]

    @property
    def summary(self):
        return json.loads(self.parts[0].data.get(SUMMARY_KEY, "{}"))

    def _ask(self):
        if self.down:
            raise ResultsError("the API server does not answer")


class KilledError(BaseException):
    """What ends the process in these tests."""


class Narrator:
    def __init__(self):
        self.taken = []
        self.done = False

    def take(self, record):
        self.taken.append((record.log, json.loads(record.line)))

    def summary(self):
        seen = len(self.taken)
        return WorkerSummary(finished=self.done, metrics={"seen": seen}, updated=str(seen))


def publisher_of(folder, store, *, pod="pod-1", narrator=None, on_replaced=None, **settings):
    """A publisher whose thread is not started: tests call `finish`, or `step`."""
    return Publisher(
        store,
        folder,
        narrator or Narrator(),
        Log(as_json=True, stream=io.StringIO()),
        pod=pod,
        on_replaced=on_replaced or (lambda: None),
        **settings,
    )


def begun(folder, store, **settings):
    publisher = publisher_of(folder, store, **settings)
    publisher.restore(patience_s=0)
    return publisher


def append(folder, log, *records):
    file = JsonLog(folder / log)
    for record in records:
        file.append(record)


def noise(number, size=2000):
    """A record that packs badly."""
    import hashlib

    words = [hashlib.sha256(f"{number}.{i}".encode()).hexdigest() for i in range(size // 64)]
    return {"number": number, "noise": "".join(words)}
