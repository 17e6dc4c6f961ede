"""Shows a run to a tracking server beside the work: nothing waits for it, and nothing fails by it.

A thread reads the run's own logs and sends what was not sent yet. What a server that is down
misses stands in the logs, and is sent once it is back: in this session, in a later one, or by
`edgetran track`. Nothing is sent twice: the folder keeps which entry of the server is which, and
in each session the server is asked first which of the run's it has.
"""

from __future__ import annotations

import hashlib
import importlib.util
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from edgetran.api import CoDesignSearch, GPTranRun, load_text
from edgetran.api.tracking import MlflowTracking
from edgetran.progress import Progress
from edgetran.records import JsonLog, read_records
from edgetran.runner.chain import Chain
from edgetran.runner.folder import RunFolder
from edgetran.runner.mlflow_server import MlflowServer, RefusedError, TrackedRun, TrackerError
from edgetran.runner.tracked import Tracked, run_id, tracked

PERIOD_S: Final = 5.0
LONGEST_PERIOD_S: Final = 120.0
"""Time between two looks at the logs, and at most between two attempts at a server that is down."""

END_PATIENCE_S: Final = 60.0
"""How long the end of a run waits for the last to be sent."""

STOP_PATIENCE_S: Final = 5.0
"""How long a pause of the thread is waited for."""


def tracker_of_chain(chain: Chain, folder: RunFolder, place: str | None = None) -> Tracker | None:
    """The tracker that what runs here asks for; None where it asks for none.

    Args:
        chain: the run; the setting of a search that runs elsewhere is not asked.
        folder: the run's.
        place: the folder as others would find it; its path where omitted.
    """
    return _tracker(folder, chain.search, chain.refinement, chain.setting, place)


def tracker_of_folder(folder: RunFolder) -> Tracker | None:
    """The tracker of a run that was made; None where its resources ask for none.

    Raises:
        SpecError: the folder's resources cannot be read.
        OSError: there are none.
    """
    resources = load_text(folder.spec.read_text(), str(folder.spec))
    search = next((each for each in resources if isinstance(each, CoDesignSearch)), None)
    refinement = next((each for each in resources if isinstance(each, GPTranRun)), None)
    return _tracker(folder, search, refinement, search, None)


def _tracker(
    folder: RunFolder,
    search: CoDesignSearch | None,
    refinement: GPTranRun | None,
    setting: CoDesignSearch | None,
    place: str | None,
) -> Tracker | None:
    given = [each.spec.tracking for each in (refinement, search) if each is not None]
    asking = next((each for each in given if each is not None), None)
    named = setting or refinement
    if asking is None or named is None:
        return None
    namespace, name = named.metadata.namespace, named.metadata.name
    experiment = name if namespace is None else f"{namespace}/{name}"
    return Tracker(asking.mlflow, experiment, folder, place or str(folder.path.resolve()))


def tracking_problem() -> str | None:
    """Why nothing can be tracked here; None where it can."""
    if importlib.util.find_spec("mlflow") is None:
        return 'mlflow is not installed: pip install "edgetran[mlflow]"'
    return None


class Tracker:
    """Sends a run's entries to one experiment of one server.

    Args:
        given: the server.
        name: the experiment where the server's setting names none, and of the run.
        folder: the run's.
        place: that folder as others would find it.
    """

    def __init__(self, given: MlflowTracking, name: str, folder: RunFolder, place: str) -> None:
        self._server = MlflowServer(given, name)
        self._folder, self._name, self._place = folder, name, place
        where = hashlib.sha256(f"{given.uri} {self._server.experiment}".encode()).hexdigest()[:12]
        self._state = JsonLog(folder.tracking / f"{where}.jsonl")
        self._sent: dict[str, str] = {}
        self._entries: dict[str, TrackedRun] = {}
        for record in read_records(self._state.path):
            if "sent" in record:
                self._sent[record["key"]] = record["sent"]
        self._open = False
        self._refused: dict[str, str] = {}
        self._seen: tuple[float, ...] = ()
        self._lock = threading.Lock()
        self._told = ""
        self.trouble: str | None = None

    @contextmanager
    def beside(self, progress: Progress) -> Iterator[None]:
        """Send from a thread while the block runs; afterwards say where that did not work."""
        stop = threading.Event()
        thread = threading.Thread(target=self._until, args=(stop,), daemon=True, name="tracker")
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(STOP_PATIENCE_S)
            self._tell(progress)

    def finish(self, progress: Progress, patience_s: float = END_PATIENCE_S) -> bool:
        """Send what is left, for no longer than that; whether all of it is sent."""
        thread = threading.Thread(target=self._attempt, daemon=True, name="tracker")
        thread.start()
        thread.join(patience_s)
        if thread.is_alive():
            self.trouble = f"{self._server.uri}: does not take it within {patience_s:.0f} s"
        self._tell(progress)
        return self.trouble is None

    def send(self) -> None:
        """Send whatever the logs hold and the server has not.

        Raises:
            TrackerError: it cannot be reached, or refuses; what it has taken is noted.
            OSError, ValueError: a log cannot be read, or the folder cannot be written.
        """
        with self._lock:
            seen = _state_of(self._folder)
            if seen == self._seen:
                return
            refused = ""
            for each in self._missing():
                try:
                    self._send(each)
                except RefusedError as error:
                    refused = f"{error} to {each.name}"
                    self._refused[each.key] = each.digest
            self._seen = seen
            if refused:
                raise TrackerError(refused)

    def _missing(self) -> list[Tracked]:
        return [
            each
            for each in tracked(self._folder, self._place)
            if self._refused.get(each.key) != each.digest
            and (
                each.key not in self._sent or (each.changes and self._sent[each.key] != each.digest)
            )
        ]

    def _send(self, each: Tracked) -> None:
        run = run_id(self._folder, self._name)
        if not self._open:
            self._entries = self._server.open(run)
            self._open = True
        entry = self._entries.get(each.key)
        if entry is None:
            try:
                entry = self._server.create(run, each)
            except TrackerError:
                self._open = False  # it may have been made all the same: ask before the next
                raise
            self._entries[each.key] = entry
            self._state.append({"key": each.key, "id": entry.id})
        elif entry.ended and each.key not in self._sent and not each.changes:
            self._note(each)  # by a session of which this folder does not know
            return
        self._server.fill(entry, each)
        self._note(each)

    def _note(self, each: Tracked) -> None:
        self._state.append({"key": each.key, "sent": each.digest})
        self._sent[each.key] = each.digest

    def _until(self, stop: threading.Event) -> None:
        period = PERIOD_S
        while not stop.is_set():
            self._attempt()
            period = min(2 * period, LONGEST_PERIOD_S) if self.trouble else PERIOD_S
            stop.wait(period)

    def _attempt(self) -> None:
        try:
            self.send()
            self.trouble = None
        except TrackerError as error:
            self.trouble = str(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the run goes on
            self.trouble = f"{self._server.uri}: {type(error).__name__}"

    def _tell(self, progress: Progress) -> None:
        """A sentence where it does not work, once for each cause."""
        trouble = self.trouble
        if trouble is not None and trouble != self._told:
            progress.log(
                f"tracking: {trouble}; the run goes on, and what is missing there is sent later: "
                f"by the same command again, or edgetran track {self._folder.path}"
            )
        self._told = trouble or ""


def _state_of(folder: RunFolder) -> tuple[float, ...]:
    """Changes whenever there may be something new to send."""
    files: tuple[Path, ...] = (folder.trials, folder.gptran / "tree.jsonl", folder.result)
    states: list[float] = []
    for each in files:
        try:
            status = each.stat()
        except FileNotFoundError:
            states.append(-1)
        else:
            states += [status.st_size, status.st_mtime_ns]
    return tuple(states)
