"""As which artefact a finalist is judged: quantised where that keeps the accuracy and is faster."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgetran.api import Device, Quantization
from edgetran.artifacts import Form
from edgetran.devices import METHODS, EngineError, Workload
from edgetran.runner.artifacts import ModelArtifacts
from edgetran.runner.forms import PLAIN, device_form
from edgetran.runner.judged_artifact import JudgedArtifact, judge_artifact
from edgetran.runner.timing import latencies_ms
from edgetran.training import EncodedTask, TaskError, evaluate_predictions, evaluation_batch


@dataclass(frozen=True)
class Choice:
    """The artefact, and sentences on why it is not simply the device's own."""

    judged: JudgedArtifact
    notes: tuple[str, ...]


class Chooser:
    """Makes a finalist's artefacts for a device and keeps the one that counts.

    Args:
        data: the task.
        workload: what the devices run.
    """

    def __init__(self, data: EncodedTask, workload: Workload) -> None:
        self._data, self._workload = data, workload

    def choose(self, title: str, models: ModelArtifacts, device: Device, *, here: bool) -> Choice:
        """The artefact of a finalist for its device.

        Where the device is measured here, int8 or int4 that loses more than is allowed on the
        validation part, or takes longer than fp32, gives way to fp32. Elsewhere, where latency is
        known for the quantised model alone, it stays and is told.

        Args:
            title: of the finalist, for sentences.
            models: its artefacts.
            device: for which device.
            here: whether this host is the device.
        """
        form, note = device_form(device)
        notes = () if note is None else (note,)
        if form.quantized_by is not None:
            return self._quantized(title, models, form, device, notes, here=here)
        try:
            return Choice(self._judge(models, form), notes)
        except EngineError as error:
            return self._plain(title, models, form, error)

    def _quantized(
        self,
        title: str,
        models: ModelArtifacts,
        form: Form,
        device: Device,
        notes: tuple[str, ...],
        *,
        here: bool,
    ) -> Choice:
        settings = device.quantization or Quantization()
        lost: dict[str, tuple[float, JudgedArtifact]] = {}
        refused: list[str] = []
        for tried in _tried(form, settings):
            try:
                judged = self._judge(models, tried)
                loss = self._loss(judged)
            except (EngineError, TaskError) as error:
                refused.append(f"{title}: {tried.words}: {error}")
                continue
            lost[tried.words] = loss, judged
            if loss <= settings.max_accuracy_loss:
                break
        if not lost:
            return self._plain(title, models, form, EngineError("; ".join(refused)))
        words, (loss, judged) = min(lost.items(), key=lambda item: item[1][0])
        told = [*notes, *refused]
        if loss > settings.max_accuracy_loss:
            told.append(
                f"{title}: {words} loses {loss:.4f} of {self._data.task.selection_metric} on the "
                f"validation part, allowed is {settings.max_accuracy_loss:g} (maxAccuracyLoss); "
                + (
                    f"{form.engine} fp32 is kept"
                    if here
                    else f"latency is known for {form.precision} alone, so it stays"
                )
            )
            if here:
                return Choice(self._judge(models, _fp32(form)), tuple(told))
        elif here:
            fp32 = self._judge(models, _fp32(form))
            times = latencies_ms(
                (judged, fp32), self._workload, threads=device.threads, log=models.latencies
            )
            if times[0] > times[1]:
                told.append(
                    f"{title}: {words} takes {times[0]:.3g} ms here and {form.engine} fp32 "
                    f"{times[1]:.3g} ms; fp32 is kept"
                )
                return Choice(fp32, tuple(told))
        return Choice(judged, tuple(told))

    def _judge(self, models: ModelArtifacts, form: Form) -> JudgedArtifact:
        batch = evaluation_batch(form, self._workload.batch_size)
        return judge_artifact(models, form, self._data, batch_size=batch)

    def _plain(self, title: str, models: ModelArtifacts, form: Form, error: Exception) -> Choice:
        note = f"{title}: {form.words}: {error}; accuracy and export are those of {PLAIN.words}"
        return Choice(self._judge(models, PLAIN), (note,))

    def _loss(self, judged: JudgedArtifact) -> float:
        """What the artefact loses of the selection metric on the validation part."""
        metric = self._data.task.selection_metric
        trained, made = (
            evaluate_predictions(logits, self._data, "validation")[metric]
            for logits in (judged.trained, judged.logits)
        )
        return trained - made


def _tried(form: Form, settings: Quantization) -> list[Form]:
    """The quantised forms, in the order in which they are tried."""
    if form.precision != "int8" or settings.method != "auto":
        return [form]
    return [replace(form, method=method) for method in METHODS[form.engine]]


def _fp32(form: Form) -> Form:
    return replace(form, precision="fp32", method=None)
