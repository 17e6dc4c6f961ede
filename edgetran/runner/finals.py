"""The finalists of a run, each as the artefact of its device: made, scored, timed and exported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetran import api
from edgetran.artifacts import Artifact
from edgetran.devices import Figure, HardwareFigures, simulated_device
from edgetran.profiling import Measurement, Profile, predictor
from edgetran.progress import Progress
from edgetran.runner.artifacts import ModelArtifacts
from edgetran.runner.beside import measure_beside
from edgetran.runner.chain import Chain
from edgetran.runner.choice import Chooser
from edgetran.runner.devices import device_kind
from edgetran.runner.export import Agreement, export_winner
from edgetran.runner.folder import RunFolder
from edgetran.runner.forms import device_form, export_forms
from edgetran.runner.judged_artifact import JudgedArtifact, of_hardware
from edgetran.runner.training_history import TrainingHistory
from edgetran.space import Architecture, macs, parameter_count

if TYPE_CHECKING:
    from edgetran.runner.setting import TaskSetting

STAGE = "Test, measure, export"
WINNER = "winner"


@dataclass(frozen=True)
class Finalist:
    """A trained model on a device that takes part in the final comparison.

    Attributes:
        title: its name in the table.
        device: the device it stands for.
        checkpoint: folder of its weights.
        history: how long it was trained.
    """

    title: str
    device: str
    checkpoint: Path
    history: TrainingHistory


@dataclass(frozen=True)
class _Made:
    """A finalist's row so far, and its artefacts for its own device and for this host."""

    row: dict[str, Any]
    architecture: Architecture
    artifact: Artifact
    on_host: Artifact | None


class Finals:
    """The finalists on the test split and on the devices.

    Attributes:
        exports: the winner's exports as result.json tells of them.
        agreement: how its ONNX file compares with PyTorch; None before the winner is judged.
        notes: sentences on what the accuracies are of.
    """

    def __init__(
        self,
        chain: Chain,
        folder: RunFolder,
        progress: Progress,
        task: TaskSetting,
        profiles: Mapping[str, Profile],
        measured_here: frozenset[str],
    ) -> None:
        self.exports: list[dict[str, Any]] = []
        self.agreement: Agreement | None = None
        self.notes: list[str] = []
        self._chain, self._folder, self._progress = chain, folder, progress
        self._data, self._workload = task.data, task.workload
        self._chooser = Chooser(task.data, task.workload)
        self._profiles, self._measured_here = profiles, measured_here
        self._devices = {device.name: device for device in chain.devices}
        self._host = next((name for name in self._devices if name in measured_here), None)

    def rows(self, finalists: Mapping[str, Finalist]) -> dict[str, Any]:
        """One row of the result per finalist, by the finalist's key."""
        made = {}
        for key, finalist in finalists.items():
            made[key] = self._make(key, finalist)
            self._progress.advance(STAGE, note=f"{finalist.title}: tested")
        hosts = {key: (m.architecture, m.on_host) for key, m in made.items() if m.on_host}
        here = {} if self._host is None else self._measure(self._host, hosts)
        for key, finalist in finalists.items():
            one, measurement = made[key], here.get(key)
            if finalist.device == self._host and measurement is not None:
                figures = measurement.figures
            else:
                figures = self._figures(finalist.device, one)
            one.row["figures"] |= of_hardware(figures, one.artifact)
            one.row["onHost"] = None
            if measurement is not None and one.on_host is not None:
                one.row["onHost"] = {
                    "device": self._host,
                    "artifact": one.on_host.to_dict(),
                    **of_hardware(measurement.figures, one.on_host),
                }
        self._progress.advance(STAGE, note="predicted" if self._host is None else "measured")
        return {key: one.row for key, one in made.items()}

    def _make(self, key: str, finalist: Finalist) -> _Made:
        """The artefacts, and a row without hardware figures; of the winner also the exports."""
        models = ModelArtifacts(
            finalist.checkpoint,
            self._folder.artifacts / key,
            self._data,
            batch_size=self._workload.batch_size,
        )
        judged = self._judge(models, finalist)
        row, architecture = self._row(models, finalist, judged)
        if key == WINNER:
            exported = export_winner(
                models,
                judged,
                export_forms(self._chain.exports, self._chain.devices),
                self._data,
                self._folder,
                self._workload,
            )
            self.exports, self.agreement = exported.rows, exported.agreement
            told = (*exported.notes, *models.notes)
            self.notes += [note for note in dict.fromkeys(told) if note not in self.notes]
        on_host = None
        if self._host == finalist.device:
            on_host = judged.artifact
        elif self._host is not None:
            on_host = models.make(device_form(self._devices[self._host]).form)
        return _Made(row, architecture, judged.artifact, on_host)

    def _judge(self, models: ModelArtifacts, finalist: Finalist) -> JudgedArtifact:
        here = finalist.device in self._measured_here
        device = self._devices[finalist.device]
        choice = self._chooser.choose(finalist.title, models, device, here=here)
        told = (*choice.notes, *models.notes)
        self.notes += [note for note in dict.fromkeys(told) if note not in self.notes]
        return choice.judged

    def _row(
        self, models: ModelArtifacts, finalist: Finalist, judged: JudgedArtifact
    ) -> tuple[dict[str, Any], Architecture]:
        architecture = models.model.config.to_architecture()
        parameters = sum(p.numel() for p in models.model.parameters())
        metric = self._data.task.selection_metric
        multiplications = float(macs(architecture, self._workload.sequence_length))
        row = {
            "title": finalist.title,
            "architecture": architecture.to_model_dict(),
            "graphHash": architecture.graph_hash,
            "device": finalist.device,
            "deviceKind": device_kind(
                self._devices[finalist.device], here=finalist.device in self._measured_here
            ),
            "artifact": {
                "path": judged.artifact.path.relative_to(self._folder.path).as_posix(),
                **judged.artifact.to_dict(),
            },
            "trainingSeconds": finalist.history.seconds,
            "trainingSteps": finalist.history.steps,
            "lineage": list(finalist.history.words),
            "figures": judged.accuracies(self._data)
            | {
                "parameters": Figure(float(parameters), "", "counted").to_dict(),
                "macs": Figure(multiplications, "", "counted").to_dict(),
            },
            "otherMetrics": {
                name: value
                for name, value in judged.test_metrics(self._data).items()
                if name != metric
            },
            "testPredictions": judged.test_predictions(self._data),
        }
        self._compare_count(finalist, models.model.config, architecture, parameters)
        return row, architecture

    def _compare_count(
        self, finalist: Finalist, config: Any, architecture: Architecture, parameters: int
    ) -> None:
        counted = parameter_count(
            architecture,
            vocab_size=config.vocab_size,  # those of a pre-trained model may be more than needed
            max_positions=config.max_position_embeddings,
            num_labels=self._workload.num_labels,
        )
        if counted != parameters:
            self._progress.log(
                f"{finalist.title}: has {parameters} parameters, its architecture {counted}"
            )

    def _measure(
        self, device: str, models: Mapping[str, tuple[Architecture, Artifact]]
    ) -> dict[str, Measurement]:
        """The artefacts, measured beside one another on this host."""
        chosen = self._devices[device]
        return measure_beside(
            self._job(chosen),
            chosen,
            self._workload,
            models,
            self._folder.final_profile(device),
            self._progress,
            self._chain.meters,
        )

    def _job(self, device: api.SearchDevice) -> api.ProfilingJob:
        job = self._chain.job_for(device)
        if job is not None:
            return job
        fields = {name: getattr(device, name) for name in api.Device.model_fields}
        return api.ProfilingJob(
            api_version=api.API_VERSION,
            kind="ProfilingJob",
            metadata=api.ObjectMeta(name=device.name),
            spec=api.ProfilingJobSpec(
                device=api.Device.model_validate(fields),
                design_space=api.DesignSpaceSource(preset="tiny"),
            ),
        )

    def _figures(self, name: str, made: _Made) -> HardwareFigures:
        device = self._devices[name]
        if device.simulation is not None:
            return simulated_device(device.simulation).estimate(
                made.architecture, self._workload, device.precision
            )
        if name not in self._measured_here:
            return predictor(self._profiles[name]).predict([made.architecture])[0]
        return self._measure(name, {"": (made.architecture, made.artifact)})[""].figures
