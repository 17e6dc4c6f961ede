"""Learning from a teacher: its logits, and the states of its layers.

Source: Hinton et al. (arXiv 1503.02531) for the logits, Sun et al. (arXiv 1908.09355) and Jiao et
al. (TinyBERT, arXiv 1909.10351) for the states. The teacher sees every training text once,
beforehand, so a step costs the student alone. What it said may be kept on disk, where every
student of the same teacher and texts finds it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, cast

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from edgetran.training.disk import new_folder
from edgetran.training.encoding import Batch, EncodedTask
from edgetran.training.evaluation import model_outputs
from edgetran.training.plan import TrainingPlan

MOST_BYTES: Final = 512 * 2**20
"""Of the states that are kept, in half precision. Where a data set has more, the first tokens of
each text are kept, as many as fit: the first is the one that the classifier reads."""

_COMPLETE: Final = "signals.json"


@dataclass(frozen=True)
class TeacherSignals:
    """What a teacher says of each training example.

    Attributes:
        logits: (n, num_labels).
        states: per layer (T, h) float16, what the layer hands on at the kept tokens of all
            examples, one after another; arrays on disk where they were kept there.
        starts: (n + 1,) where each example's kept tokens begin; the last entry is T.
    """

    logits: torch.Tensor
    states: tuple[np.ndarray, ...]
    starts: np.ndarray

    def rows(self, positions: torch.Tensor) -> tuple[np.ndarray, torch.Tensor]:
        """Rows (t,) of `states` of some examples (B,), and their numbers of tokens (B,)."""
        places = positions.cpu().numpy()
        first, last = self.starts[places], self.starts[places + 1]
        rows = np.concatenate([np.arange(a, b) for a, b in zip(first, last, strict=True)])
        return rows, torch.from_numpy(last - first)


def teacher_signals(
    teacher: nn.Module,
    data: EncodedTask,
    *,
    states: bool = True,
    folder: str | os.PathLike[str] | None = None,
) -> TeacherSignals:
    """Run a teacher over the training split.

    Args:
        teacher: a sequence classification model.
        data: the encoded task.
        states: whether to keep the layers' states too.
        folder: where the arrays are written as they are made, to be read from there; None keeps
            them in memory.

    Raises:
        ValueError: the teacher has another number of labels, or too few embeddings for the data.
    """
    split = data.split("train")
    count, labels = len(split), data.task.num_labels
    given = getattr(getattr(teacher, "config", None), "num_labels", labels)
    if given != labels:
        raise ValueError(f"teacher: has {given} labels, but {data.task.name} has {labels}")
    logits = np.zeros((count, labels), dtype=np.float32)
    starts = np.zeros(count + 1, dtype=np.int64)
    kept: list[np.ndarray] = []
    for positions, output in model_outputs(teacher, data, "train", output_hidden_states=states):
        logits[positions] = output.logits.float().cpu().numpy()
        layers = output.hidden_states[1:] if states else ()
        if layers and not kept:
            widths = [layer.shape[-1] for layer in layers]
            tokens = np.minimum(split.lengths, _most_tokens(split.lengths, sum(widths)))
            starts = np.concatenate([[0], np.cumsum(tokens)]).astype(np.int64)
            kept = [_array(folder, i, (int(starts[-1]), w)) for i, w in enumerate(widths)]
        for array, layer in zip(kept, layers, strict=True):
            values = layer.half().cpu().numpy()
            for row, position in enumerate(positions):
                begin, end = starts[position], starts[position + 1]
                array[begin:end] = values[row, : end - begin]
    return TeacherSignals(torch.from_numpy(logits), tuple(kept), starts)


def kept_signals(
    load: Callable[[], nn.Module],
    fingerprint: str,
    data: EncodedTask,
    plan: TrainingPlan,
    folder: Path,
) -> TeacherSignals:
    """`teacher_signals`, made once in `folder` for every teacher and data set and read thereafter.

    Args:
        load: gives the teacher, which is asked for only where its signals are not there yet.
        fingerprint: a hash of its weights.
        data: the encoded task.
        plan: says whether states are needed.
        folder: holds one folder for each teacher and data set; it appears whole or not at all.

    Raises:
        ValueError: as `teacher_signals`.
        OSError: they cannot be written.
    """
    states = plan.distillation_hidden_weight > 0
    parts: list[Any] = [fingerprint, data.task.content_hash("train"), data.max_length, states]
    key = hashlib.sha256(json.dumps([*parts, MOST_BYTES]).encode()).hexdigest()[:32]
    target = folder / key
    if not (target / _COMPLETE).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with new_folder(target) as made:
            signals = teacher_signals(load(), data, states=states, folder=made)
            np.save(made / "logits.npy", signals.logits.numpy())
            np.save(made / "starts.npy", signals.starts)
            for array in signals.states:
                cast(np.memmap, array).flush()
            facts = {"layers": len(signals.states)}
            (made / _COMPLETE).write_text(json.dumps(facts), encoding="utf-8")
    facts = json.loads((target / _COMPLETE).read_text(encoding="utf-8"))
    return TeacherSignals(
        torch.from_numpy(np.load(target / "logits.npy")),
        tuple(np.load(_place(target, i), mmap_mode="r") for i in range(facts["layers"])),
        np.load(target / "starts.npy"),
    )


class StateDistance(nn.Module):
    """Distance of a student's layers to its teacher's, through learned projections.

    Layer i of the student's l is compared with the layer of the teacher at the same share of its
    depth. A projection between equal widths starts as the identity: a pruned student begins near
    its teacher.

    Args:
        widths: of what each of the student's layers hands on.
        signals: the teacher's, with states.
    """

    def __init__(self, widths: list[int], signals: TeacherSignals) -> None:
        super().__init__()
        depth = len(signals.states)
        self.matched = [
            max(1, round((i + 1) * depth / len(widths))) - 1 for i in range(len(widths))
        ]
        self.projections = nn.ModuleList()
        for width, j in zip(widths, self.matched, strict=True):
            target = signals.states[j].shape[1]
            projection = nn.Linear(width, target)
            if width == target:
                nn.init.eye_(projection.weight)
                nn.init.zeros_(projection.bias)
            self.projections.append(projection)

    @classmethod
    def between(cls, model: nn.Module, signals: TeacherSignals) -> Self:
        """Of a FlexiBERT student."""
        layers = cast(Any, model).config.to_architecture().layers
        sizes = [layer.hidden_size for layer in layers]
        return cls([*sizes[1:], sizes[-1]], signals)

    def forward(
        self, states: tuple[torch.Tensor, ...], signals: TeacherSignals, batch: Batch
    ) -> torch.Tensor:
        """Mean over layers of |difference|² ÷ variance of the teacher's states; a scalar.

        Args:
            states: per layer of the student (B, S, width).
            signals: the teacher's.
            batch: the examples.
        """
        return states_distance(states, self.matched, signals, batch, tuple(self.projections))


def states_distance(
    states: Sequence[torch.Tensor],
    matched: Sequence[int],
    signals: TeacherSignals,
    batch: Batch,
    projections: Sequence[nn.Module] | None = None,
    channels: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mean over layers of |difference|² ÷ variance of the teacher's states; a scalar.

    Args:
        states: per layer of the student (B, S, width).
        matched: the teacher's layer that each is compared with.
        signals: the teacher's.
        batch: the examples.
        projections: what each state goes through first; none where the channels are the teacher's.
        channels: which channel of the teacher's each of the student's is, of which a state may have
            the first alone; None where they are the same.
    """
    rows, counts = signals.rows(batch.positions)
    places = torch.arange(states[0].shape[1])[None] < counts[:, None]  # (B, S)
    places = places.to(states[0].device)
    distances = []
    for i, (state, j) in enumerate(zip(states, matched, strict=True)):
        target = torch.from_numpy(signals.states[j][rows]).to(state.device).float()
        taught = state[places].float()
        if channels is not None:
            target = target[:, channels[: state.shape[-1]]]
        if projections is not None:
            taught = projections[i](taught)
        distances.append(functional.mse_loss(taught, target) / (target.var() + 1e-6))
    return torch.stack(distances).mean()


def distillation_loss(
    plan: TrainingPlan,
    task_loss: torch.Tensor,
    logits: torch.Tensor,
    teacher_logits: torch.Tensor,
) -> torch.Tensor:
    """(1 − w)·task loss + w·T²·KL(teacher ‖ student), both softened by T; MSE for regression.

    Args:
        plan: gives w and T.
        task_loss: scalar.
        logits: (B, num_labels) of the student.
        teacher_logits: (B, num_labels).
    """
    weight, temperature = plan.distillation_weight, plan.distillation_temperature
    if logits.shape[-1] == 1:
        distance = functional.mse_loss(logits, teacher_logits)
    else:
        distance = temperature**2 * functional.kl_div(
            functional.log_softmax(logits / temperature, dim=-1),
            functional.log_softmax(teacher_logits / temperature, dim=-1),
            reduction="batchmean",
            log_target=True,
        )
    return (1 - weight) * task_loss + weight * distance


def _most_tokens(lengths: np.ndarray, width: int) -> int:
    """The most first tokens of each text whose states fit."""
    most = 1
    for tokens in range(1, int(lengths.max()) + 1):
        if 2 * width * int(np.minimum(lengths, tokens).sum()) > MOST_BYTES:
            break
        most = tokens
    return most


def _array(folder: str | os.PathLike[str] | None, layer: int, shape: tuple[int, int]) -> np.ndarray:
    if folder is None:
        return np.zeros(shape, dtype=np.float16)
    return np.lib.format.open_memmap(_place(Path(folder), layer), "w+", np.float16, shape)


def _place(folder: Path, layer: int) -> Path:
    return folder / f"layer-{layer}.npy"
