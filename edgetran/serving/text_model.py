"""An artefact opened in its engine, with its tokenizer: texts or token ids in, logits out.

It runs in batches as it was measured in: with int8, whose ranges of activations are a batch's, of
the workload's size.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
from tokenizers import Tokenizer

from edgetran.artifacts import Artifact, open_artifact
from edgetran.devices import Engine, EngineError, Session, example_inputs
from edgetran.devices.engines import engine
from edgetran.serving.served_model import ServedModel, ServingError

_FP32_BATCH: Final = 32
_WARM_UP: Final = 3
_RUNS: Final = 20
_SAMPLE: Final = "a text to see whether the model answers"

Tokens = list[Mapping[str, Sequence[int]]]
"""Of each text: `input_ids`, and `token_type_ids` where they are not 0."""


class TextModel:
    """A model that answers; a context manager, not to be called from two threads at a time.

    Args:
        model: what to open.

    Raises:
        EngineError: the engine is not installed here, or cannot load the artefact.
        ServingError: the tokenizer cannot be read.
    """

    def __init__(self, model: ServedModel) -> None:
        self.model = model
        self._tokenizer = _tokenizer(model.tokenizer / "tokenizer.json", model.max_length)
        chosen = _engine(model.artifact, model)
        self._session: Session = open_artifact(model.artifact, chosen, None)
        int8 = model.artifact.precision == "int8"
        self._batch_size = model.workload.batch_size if int8 else _FP32_BATCH

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._session.close()

    def tokens(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> Tokens:
        """Texts, or pairs of texts, as token ids, cut to the model's length."""
        given = list(texts) if pairs is None else list(zip(texts, pairs, strict=True))
        return [
            {"input_ids": encoding.ids, "token_type_ids": encoding.type_ids}
            for encoding in self._tokenizer.encode_batch(given)
        ]

    def logits(self, tokens: Tokens) -> tuple[np.ndarray, float]:
        """Logits (n, num_labels) of n sequences, and the seconds that the engine took.

        Raises:
            EngineError: the engine fails.
        """
        lengths = [len(each["input_ids"]) for each in tokens]
        order = np.argsort(lengths, kind="stable")
        logits = np.zeros((len(tokens), self.model.workload.num_labels), dtype=np.float32)
        seconds = 0.0
        for start in range(0, len(order), self._batch_size):
            rows = order[start : start + self._batch_size]
            inputs = self._padded([tokens[row] for row in rows])
            begun = time.perf_counter()
            found = self._run(inputs)
            seconds += time.perf_counter() - begun
            if found.shape != (len(rows), logits.shape[1]):
                raise EngineError(
                    f"{self.model.artifact.path}: gives {found.shape} numbers for {len(rows)} "
                    f"texts; its config.json speaks of {logits.shape[1]} outputs"
                )
            logits[rows] = found
        return logits, seconds

    def answer_sample(self) -> None:
        """One real prediction.

        Raises:
            EngineError: the engine fails, or the model does not give finite numbers.
        """
        logits, _ = self.logits(self.tokens([_SAMPLE]))
        if not np.isfinite(logits).all():
            raise EngineError(f"{self.model.artifact.path}: does not give finite numbers")

    def latency_ms(self) -> float:
        """Median latency of a sequence of the workload here, as a run takes it."""
        inputs = example_inputs(self.model.workload)
        durations_s = np.zeros(_WARM_UP + _RUNS)
        for turn in range(len(durations_s)):
            begun = time.perf_counter()
            self._run(inputs)
            durations_s[turn] = time.perf_counter() - begun
        return float(np.median(durations_s[_WARM_UP:])) * 1e3 / self.model.workload.batch_size

    def _run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        wanted = {n: array for n, array in inputs.items() if self._session.accepts(n)}
        return self._session.run(wanted)

    def _padded(self, tokens: Tokens) -> dict[str, np.ndarray]:
        """Arrays (B, S), S the length of the longest."""
        shape = (len(tokens), max(len(each["input_ids"]) for each in tokens))
        ids = np.full(shape, self.model.pad_token_id, dtype=np.int64)
        mask, types = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        for row, each in enumerate(tokens):
            length = len(each["input_ids"])
            ids[row, :length] = each["input_ids"]
            mask[row, :length] = 1
            if "token_type_ids" in each:
                types[row, :length] = each["token_type_ids"]
        return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


def _tokenizer(path: Path, max_length: int) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001 - the library raises bare Exception
        raise ServingError(f"{path}: is not a tokenizer ({str(error)[:200]})") from None
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
    return tokenizer


def _engine(artifact: Artifact, model: ServedModel) -> Engine:
    """The engine for the artefact; its target gives way to the processor where it is not here.

    Raises:
        EngineError: it is not installed here.
    """

    def made(precision: str, target: str) -> Engine:
        return engine(
            artifact.engine,
            precision=precision,
            threads=model.threads,
            target="cuda" if target == "cuda" else "cpu",
            method=artifact.method or "dynamic",
        )

    choices = [(artifact.precision, model.target), (artifact.precision, "cpu")]
    if artifact.engine == "torch" and artifact.precision == "fp16":
        choices.append(("fp32", "cpu"))  # its numbers as they are, computed in fp32
    reasons: list[str] = []
    for choice in dict.fromkeys(choices):
        try:
            found = made(*choice)
            reason = found.available()
        except EngineError as error:
            reasons.append(str(error))
            continue
        if reason is None:
            return found
        reasons.append(reason)
    raise EngineError(f"{artifact.path}: {reasons[0]}")
