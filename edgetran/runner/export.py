"""The winner for others to use: a transformers folder and an ONNX file that agree."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgetran.records import sync_file, sync_folder
from edgetran.runner.folder import RunFolder
from edgetran.training import EncodedTask, load_model, predict, predicted_labels, save_model


@dataclass(frozen=True)
class Agreement:
    """How the two exports compare on the test split.

    Attributes:
        examples: number of examples.
        same_predictions: number of them on which both predict the same.
        max_logit_difference: largest absolute difference of any logit.
    """

    examples: int
    same_predictions: int
    max_logit_difference: float

    @property
    def sentence(self) -> str:
        """The comparison in words."""
        return f"ONNX and PyTorch agree on {self.same_predictions:,} of {self.examples:,}"

    def to_dict(self) -> dict[str, Any]:
        """As result.json tells of it."""
        names = {"examples": "examples", "same_predictions": "samePredictions"}
        names["max_logit_difference"] = "maxLogitDifference"
        return {names[name]: value for name, value in asdict(self).items()}


def export_winner(checkpoint: Path, data: EncodedTask, folder: RunFolder) -> Agreement:
    """Write model/ and model.onnx, each whole or not at all, and compare their predictions."""
    from edgetran.models import export_onnx

    model = load_model(checkpoint)
    save_model(model, data, folder.model)
    temporary = folder.onnx.with_name(f".{folder.onnx.stem}.{os.getpid()}.onnx")
    try:
        export_onnx(model, temporary)
        sync_file(temporary)
        temporary.replace(folder.onnx)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(folder.path)
    torch_logits = predict(load_model(folder.model), data, "test")
    onnx_logits = onnx_predict(folder.onnx, data, "test")
    regression = data.task.is_regression
    ours = predicted_labels(torch_logits, regression=regression)
    theirs = predicted_labels(onnx_logits, regression=regression)
    same = np.isclose(ours, theirs, atol=1e-4) if regression else ours == theirs
    return Agreement(
        examples=len(ours),
        same_predictions=int(same.sum()),
        max_logit_difference=float(np.abs(torch_logits - onnx_logits).max(initial=0.0)),
    )


def onnx_predict(path: Path, data: EncodedTask, split: str) -> np.ndarray:
    """Logits (n, num_labels) of a split's examples by ONNX Runtime on the CPU."""
    try:
        import onnxruntime
    except ImportError:
        raise RuntimeError('onnxruntime is not installed: pip install "edgetran[onnx]"') from None
    import torch

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    wanted = {each.name for each in session.get_inputs()}
    logits = np.zeros((len(data.split(split)), data.task.num_labels), dtype=np.float32)
    for batch in data.ordered_batches(split, 128):
        inputs = {
            name: tensor.numpy()
            for name, tensor in batch.inputs(torch.device("cpu")).items()
            if name in wanted
        }
        logits[batch.positions.numpy()] = session.run(["logits"], inputs)[0]
    return logits
