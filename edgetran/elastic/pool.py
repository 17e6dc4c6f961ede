"""What judges a search's candidates by the shared weights of an elastic network, many at once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from edgetran.elastic.evaluation import evaluate_parts
from edgetran.models.elastic import ElasticFlexiBert
from edgetran.space import Architecture
from edgetran.training import TrialOutcome, TrialSpec
from edgetran.training.encoding import EncodedTask


@dataclass
class ElasticPool:
    """Takes the place of a pool that trains: what waits is judged in one pass.

    Attributes:
        elastic: the trained network.
        data: the encoded task, on whose validation part candidates are judged.
    """

    elastic: ElasticFlexiBert
    data: EncodedTask
    _waiting: list[tuple[str, Architecture]] = field(default_factory=list)

    def submit(self, key: str, spec: TrialSpec) -> None:
        """Queue a candidate, by the architecture of its trial."""
        self._waiting.append((key, Architecture.from_model_dict(spec.architecture)))

    def completed(self) -> Iterator[TrialOutcome]:
        """Estimates until nothing waits; more may be submitted meanwhile."""
        while self._waiting:
            batch, self._waiting = self._waiting, []
            began = time.monotonic()
            parts = [architecture for _, architecture in batch]
            judged = evaluate_parts(self.elastic, self.data, parts)
            seconds = (time.monotonic() - began) / len(batch)
            for (key, _), metrics in zip(batch, judged, strict=True):
                yield TrialOutcome(
                    key=key,
                    selection_metric=self.data.task.selection_metric,
                    metrics=metrics,
                    seconds=seconds,
                    fraction=1.0,
                )
