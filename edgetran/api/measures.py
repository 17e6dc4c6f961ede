"""The measures that candidates are judged by: one row each, from which all about them is made.

A row makes the measure's fields in specs and statuses, its bound, weight and normaliser, its
column in tables and reports, its metric in Prometheus and its place on dashboards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from pydantic import create_model

from edgetran.api.base import ApiModel
from edgetran.api.rules import camel

Kind = Literal["quality", "hardware", "size"]
"""How good a model is at its task; what running it costs on a device; how large it is."""

Model = TypeVar("Model", bound=ApiModel)


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure.

    Attributes:
        name: in Python and in logs, with its unit, such as `latency_ms`.
        title: as a heading, such as `Latency`.
        kind: of which kind it is.
        direction: whether less or more of it is better.
        unit: of its values; empty for ratios and counts.
        unit_words: the unit in words.
        base_unit: Prometheus' base unit, at the end of a metric's name; empty for counts.
        base_factor: what a value is multiplied by to be in the base unit.
        summable: whether a whole costs the sum of its parts, so that it is told per sequence.
        weight: in the objective, where a resource gives no weights.
        sensed: whether it comes from a power sensor, so that figures of two cannot be compared.
    """

    name: str
    title: str
    kind: Kind
    direction: Literal["min", "max"]
    unit: str = ""
    unit_words: str = ""
    base_unit: str = ""
    base_factor: float = 1.0
    summable: bool = False
    weight: float = 0.0
    sensed: bool = False

    @property
    def alias(self) -> str:
        """In YAML and in results, such as `latencyMs`."""
        return camel(self.name)

    @property
    def quantity(self) -> str:
        """The name without the unit, such as `latency`: that of its weight."""
        return self.name.rpartition("_")[0] if self.unit else self.name

    @property
    def words(self) -> str:
        """Within a sentence, such as `peak power`."""
        return self.title.lower()

    @property
    def description(self) -> str:
        """What a value of it is, such as `Latency per sequence`."""
        return f"{self.title} per sequence" if self.summable else self.title

    @property
    def metric(self) -> str:
        """In Prometheus, such as `latency_seconds`, after the prefix of what it is of."""
        return "_".join(filter(None, (self.quantity, self.base_unit)))


MEASURES: Final = (
    Measure("accuracy", "Accuracy", "quality", "max", base_unit="ratio", weight=0.5),
    Measure(
        "latency_ms",
        "Latency",
        "hardware",
        "min",
        unit="ms",
        unit_words="milliseconds",
        base_unit="seconds",
        base_factor=1e-3,
        summable=True,
        weight=0.2,
    ),
    Measure(
        "energy_mj",
        "Energy",
        "hardware",
        "min",
        unit="mJ",
        unit_words="millijoules",
        base_unit="joules",
        base_factor=1e-3,
        summable=True,
        weight=0.2,
        sensed=True,
    ),
    Measure(
        "peak_power_w",
        "Peak power",
        "hardware",
        "min",
        unit="W",
        unit_words="watts",
        base_unit="watts",
        weight=0.1,
        sensed=True,
    ),
    Measure("parameters", "Parameters", "size", "min"),
)
"""Every measure that an objective, a constraint or a Pareto front may name."""

HARDWARE: Final = tuple(each for each in MEASURES if each.kind == "hardware")
"""Those that depend on the device."""

COSTS: Final = tuple(each for each in MEASURES if each.kind != "quality")
"""Those that are known before training, the less the better."""

OBSERVED: Final = tuple(each for each in MEASURES if each.kind != "size")
"""Those that the metrics and dashboards of a search tell of its candidates."""

BY_NAME: Final = {each.name: each for each in MEASURES}
BY_ALIAS: Final = {each.alias: each for each in MEASURES}

if TYPE_CHECKING:
    HardwareMeasure = str
else:
    HardwareMeasure = Literal[tuple(each.alias for each in HARDWARE)]


def with_fields(
    measures: tuple[Measure, ...], field: Callable[[Measure], tuple[str, Any, Any]]
) -> Callable[[type[Model]], type[Model]]:
    """Give a model a field for each measure.

    Args:
        measures: which ones.
        field: name, type and `Field` of a measure's.
    """

    def decorate(model: type[Model]) -> type[Model]:
        fields: dict[str, Any] = {name: (kind, given) for name, kind, given in map(field, measures)}
        made: type[Model] = create_model(
            model.__name__,
            __base__=model,
            __module__=model.__module__,
            __doc__=model.__doc__,
            **fields,
        )
        return made

    return decorate
