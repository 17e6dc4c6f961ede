"""An MLflow server, by MLflow's own client: what tracking needs of it and no more."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edgetran.api.tracking import MlflowTracking
from edgetran.runner.tracked import KEY_TAG, RUN_TAG, Tracked

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

_PAGE: Final = 1000
_ENDED: Final = ("FINISHED", "FAILED")

_CLIENT: Final = {
    # An attempt that the client repeats by itself makes a run twice where the answer was lost.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_ALLOW_HTTP_REDIRECTS": "false",  # no server leads it to another one
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_TIMEOUT: Final = "MLFLOW_HTTP_REQUEST_TIMEOUT"
_TIMEOUT_S: Final = "10"


class TrackerError(RuntimeError):
    """A server that cannot be reached or does not take what it is sent; one sentence."""


class RefusedError(TrackerError):
    """An entry that the server will never take, others aside."""


@dataclass(frozen=True)
class TrackedRun:
    """An entry as the server has it: its id there, its beginning in ms, whether it has ended."""

    id: str
    started: int
    ended: bool


class MlflowServer:
    """One experiment of a server; nothing is asked before `open`.

    Args:
        given: address and experiment.
        experiment: its name where none is given.
    """

    def __init__(self, given: MlflowTracking, experiment: str) -> None:
        self.uri = given.uri
        self.experiment = given.experiment or experiment
        _prepare()
        self._client: MlflowClient | None = None
        self._id = ""

    def open(self, run: str) -> dict[str, TrackedRun]:
        """Find the experiment or make it; the entries that it has of the run, by key.

        Raises:
            TrackerError: the server cannot be reached, or refuses.
        """
        with self._asking():
            if self._client is None:
                self._client = _client(self.uri)
            self._id = self._experiment(self._client)
            return dict(self._entries(self._client, run))

    def create(self, run: str, tracked: Tracked) -> TrackedRun:
        """Make the entry, empty.

        Raises:
            TrackerError: the server cannot be reached, or refuses.
        """
        assert self._client is not None  # noqa: S101 - opened before
        tags = {RUN_TAG: run, KEY_TAG: tracked.key}
        with self._asking():
            made = self._client.create_run(
                self._id, start_time=tracked.started, tags=tags, run_name=tracked.name
            )
            return _entry(made)

    def fill(self, entry: TrackedRun, tracked: Tracked) -> None:
        """Write what there is to tell and end the entry; done twice, it is the same.

        Raises:
            RefusedError: the server does not take the entry as it is.
            TrackerError: the server cannot be reached, or refuses.
        """
        from mlflow.entities import Metric, Param, RunTag

        assert self._client is not None  # noqa: S101 - opened before
        moment = tracked.ended or entry.started
        with self._asking():
            self._client.log_batch(
                entry.id,
                metrics=[Metric(name, each, moment, 0) for name, each in tracked.metrics.items()],
                params=[Param(name, text) for name, text in tracked.params.items()],
                tags=[RunTag(name, text) for name, text in tracked.tags.items()],
                synchronous=True,
            )
            status = "FAILED" if tracked.failed else "FINISHED"
            self._client.set_terminated(entry.id, status, end_time=tracked.ended)

    def _experiment(self, client: MlflowClient) -> str:
        from mlflow.exceptions import MlflowException

        found = client.get_experiment_by_name(self.experiment)
        if found is None:
            try:
                return str(client.create_experiment(self.experiment))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":  # by somebody else just now
                    raise
                found = client.get_experiment_by_name(self.experiment)
        if found is None or found.lifecycle_stage != "active":
            raise TrackerError(
                f"{self.uri}: the experiment {self.experiment} is deleted there; allowed is "
                "another name, or to restore it"
            )
        return str(found.experiment_id)

    def _entries(self, client: MlflowClient, run: str) -> Iterator[tuple[str, TrackedRun]]:
        token: str | None = None
        while True:
            page = client.search_runs(
                [self._id],
                filter_string=f"tags.`{RUN_TAG}` = '{run}'",
                max_results=_PAGE,
                page_token=token,
            )
            for each in page:
                yield each.data.tags[KEY_TAG], _entry(each)
            token = page.token
            if not token:
                return

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """What the client raises as a sentence; never a page that a server sent."""
        from mlflow.exceptions import MlflowException, RestException

        try:
            yield
        except RestException as error:
            status = error.get_http_status_code()
            words = f"{self.uri}: answers {error.error_code} ({status})"
            raise (RefusedError if status == 400 else TrackerError)(words) from None
        except MlflowException as error:
            kind = type(error.__cause__ or error.__context__ or error).__name__
            raise TrackerError(f"{self.uri}: cannot be reached ({kind})") from None
        except OSError as error:
            raise TrackerError(f"{self.uri}: {error.strerror or type(error).__name__}") from None


def _client(uri: str) -> MlflowClient:
    from mlflow.tracking import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _prepare() -> None:
    """Set up MLflow's client, which reads it when it asks."""
    os.environ.update(_CLIENT)
    os.environ.setdefault(_TIMEOUT, _TIMEOUT_S)


def _entry(run: Run) -> TrackedRun:
    return TrackedRun(run.info.run_id, int(run.info.start_time or 0), run.info.status in _ENDED)
