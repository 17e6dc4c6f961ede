"""A device: where an architecture is to run, with which engine, and how its power is read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from edgetran.api.addresses import METER_CHECKS, address_rules
from edgetran.api.base import ApiModel
from edgetran.api.common import Reference
from edgetran.api.field_errors import forbidden
from edgetran.api.rules import (
    Broken,
    Rule,
    exactly_one,
    listed,
    needed_where,
    not_together,
    only_where,
    wrong,
)
from edgetran.api.scalars import Allowed, DeviceName, Labels, LabelValue, MeterAddress, Text

EngineName = Literal["torch", "onnxruntime", "openvino"]
Precision = Literal["fp32", "fp16", "bf16", "int8", "int4"]
Accelerator = Literal["cpu", "cuda"]
SimulatedDeviceName = Literal[
    "raspberry-pi-4-cpu",
    "raspberry-pi-5-cpu",
    "jetson-nano-gpu",
    "jetson-nano-cpu",
    "jetson-orin-nano-gpu",
    "intel-ncs2",
    "apple-m1-pro-cpu",
    "apple-m1-pro-gpu",
    "nvidia-a100",
]

ACCELERATORS: Final[dict[str, tuple[str, ...]]] = {
    "torch": ("cpu", "cuda"),
    "onnxruntime": ("cpu", "cuda"),
    "openvino": ("cpu",),
}
"""What each engine can run on."""

PRECISIONS: Final[dict[tuple[str, str], tuple[str, ...]]] = {
    ("torch", "cpu"): ("fp32", "bf16", "int8"),
    ("torch", "cuda"): ("fp32", "fp16", "bf16"),
    ("onnxruntime", "cpu"): ("fp32", "int8", "int4"),
    ("onnxruntime", "cuda"): ("fp32",),
    ("openvino", "cpu"): ("fp32", "fp16", "int8", "int4"),
}
"""The precisions of each engine on each accelerator."""

METHODS: Final[dict[str, tuple[str, ...]]] = {
    "torch": ("auto", "dynamic"),
    "onnxruntime": ("auto", "dynamic", "static", "weight-only"),
    "openvino": ("auto", "dynamic", "static", "weight-only"),
}
"""By what int8 can be made for each engine."""


class Toleration(ApiModel):
    """A corev1.Toleration of a device's taint."""

    key: Annotated[str, Field(max_length=316)] | None = Field(
        None, description="Key of the taint; every key where omitted."
    )
    operator: Literal["Exists", "Equal"] = Field(
        "Equal", description="How the taint's value is compared."
    )
    value: LabelValue | None = Field(None, description="Value of the taint.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        None, description="Effect of the taint; every effect where omitted."
    )
    toleration_seconds: Annotated[int, Field(ge=0, le=31_536_000)] | None = Field(
        None, description="Seconds that NoExecute is tolerated; for ever where omitted."
    )

    RULES = (
        only_where(
            "value",
            lambda toleration: toleration.operator == "Equal",
            "self.operator == 'Equal'",
            "with operator Equal",
            reads=("operator",),
        ),
    )


_SOURCE_EXTERNAL: Final = (
    lambda energy: energy.source == "external",
    "self.source == 'external'",
    "with source external",
)

RailName = Annotated[
    str,
    Field(min_length=1, max_length=64, pattern=r"^[!-~]([ -~]*[!-~])?$"),
    Allowed("1 to 64 printable ASCII characters"),
]


class EnergySettings(ApiModel):
    """How the device's power is read."""

    source: Literal[
        "auto",
        "none",
        "rapl",
        "hwmon",
        "pi5-pmic",
        "powermetrics",
        "nvml-energy",
        "nvml-power",
        "external",
    ] = Field(
        "auto",
        description="Power source; auto takes the best one that is found, and without one energy "
        "and peak power are null with the reason.",
    )
    meter: MeterAddress | None = Field(
        None,
        description="Something that says watts when it is asked, for source external only: "
        "http://…[#JSON.PATH], serial:/dev/PORT[?baud=N] or command:PROGRAM ARGUMENTS. "
        "A command needs --allow-commands; in a cluster every meter needs to be allowed in the "
        "chart's values.",
    )
    rails: (
        Annotated[tuple[RailName, ...], Field(strict=False, min_length=1, max_length=32)] | None
    ) = Field(
        None,
        description="Labels of the rails that are added, for source hwmon only; where omitted, "
        "the board's input or the rails of a module that is known.",
    )
    peak_window_ms: Annotated[float, Field(ge=1, le=10_000)] = Field(
        100.0, description="Averaging window of peak power in milliseconds."
    )
    host_sensors: bool = Field(
        False, description="Give the measuring pod a read-only view of the node's sensors (sysfs)."
    )

    RULES = (
        needed_where("meter", *_SOURCE_EXTERNAL, reads=("source",)),
        only_where("meter", *_SOURCE_EXTERNAL, reads=("source",)),
        only_where(
            "rails",
            lambda energy: energy.source == "hwmon",
            "self.source == 'hwmon'",
            "with source hwmon",
            reads=("source",),
        ),
        *address_rules("meter", *METER_CHECKS),
    )


class Quantization(ApiModel):
    """How models are made int8."""

    method: Literal["auto", "dynamic", "static", "weight-only"] = Field(
        "auto",
        description="dynamic: ranges of activations as they come; static: chosen on training "
        "examples beforehand; weight-only: weights in int8, arithmetic in fp32; auto: for each "
        "finalist the first of them that keeps maxAccuracyLoss, dynamic for all others.",
    )
    calibration_examples: Annotated[int, Field(ge=8, le=10_000)] = Field(
        128, description="Training examples by which static int8 chooses its ranges."
    )
    aware_steps: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        None,
        description="Steps of quantisation-aware training of each finalist, which its fp32 form "
        "teaches, before it is made int8; kept only where it scores better on the validation "
        "part. None where omitted; 200 to 500 are usual.",
    )
    max_accuracy_loss: Annotated[float, Field(ge=0, le=1)] = Field(
        0.005,
        description="What a finalist may lose of the selection metric, on the validation part and "
        "compared with fp32; where it loses more, fp32 is kept.",
    )


def _engine_accelerator(model: Any) -> Iterator[Broken]:
    if model.accelerator not in ACCELERATORS[model.engine]:
        yield ("accelerator",), wrong(model.accelerator)


def _engine_precision(model: Any) -> Iterator[Broken]:
    if model.simulation is not None:
        return
    precisions = PRECISIONS.get((model.engine, model.accelerator))
    if precisions is not None and model.precision not in precisions:
        yield ("precision",), wrong(model.precision)


def _simulated_without_engine(model: Any) -> Iterator[Broken]:
    if model.simulation is not None:
        for name, default in (("engine", "torch"), ("accelerator", "cpu")):
            if getattr(model, name) != default:
                yield (name,), forbidden


def _engine_method(model: Any) -> Iterator[Broken]:
    if model.quantization is None or model.simulation is not None:
        return
    if model.quantization.method not in METHODS[model.engine]:
        yield ("quantization", "method"), wrong(model.quantization.method)


METHOD_WORDS: Final = "; ".join(
    f"{listed(names, 'or')} with {engine}" for engine, names in METHODS.items()
)
_ACCELERATOR_WORDS = "; ".join(
    f"{listed(names, 'or')} with {engine}" for engine, names in ACCELERATORS.items()
)
_PRECISION_WORDS = "; ".join(
    f"{listed(names, 'or')} with {engine} on {accelerator}"
    for (engine, accelerator), names in PRECISIONS.items()
)


class Device(ApiModel):
    """One device: this host, a simulated board, or the nodes that carry certain labels."""

    name: DeviceName = Field(
        description="Name of the device, also the value of its nodes' label edgetran.io/device."
    )
    host: Literal[True] | None = Field(None, description="The machine that runs the work.")
    simulation: SimulatedDeviceName | None = Field(
        None, description="A board of the catalogue, by calculation; its figures are marked so."
    )
    node_selector: (
        Annotated[Labels, Field(min_length=1, json_schema_extra={"minProperties": 1})] | None
    ) = Field(None, description="Labels of the nodes that are this device.")
    tolerations: Annotated[tuple[Toleration, ...], Field(strict=False, max_length=16)] | None = (
        Field(None, description="Taints of the device's nodes that its pods tolerate.")
    )
    engine: EngineName = Field("torch", description="What runs the model.")
    accelerator: Accelerator = Field("cpu", description="What the engine runs on.")
    precision: Precision = Field(
        "fp32",
        description="Numbers that the model computes in; with int4 those of its weights alone.",
    )
    quantization: Quantization | None = Field(
        None, description="How models are made int8; by itself where omitted."
    )
    threads: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        None,
        description="CPU threads of the engine; where omitted, all cores that affinity and CPU "
        "quota leave, rounded down.",
    )
    energy: EnergySettings | None = Field(
        None, description="How power is read; the best source that is found where omitted."
    )
    runtime_class_name: Text | None = Field(
        None, description="RuntimeClass of the measuring pod, such as nvidia."
    )

    RULES: ClassVar[tuple[Rule, ...]] = (
        exactly_one("host", "simulation", "node_selector"),
        not_together("simulation", "tolerations", "threads", "energy", "runtime_class_name"),
        not_together("host", "tolerations", "runtime_class_name"),
        Rule(
            name="simulationHasNoEngine",
            fields=("simulation", "engine", "accelerator"),
            at="engine and accelerator",
            message="may not be set together with simulation",
            check=_simulated_without_engine,
            cel="!has(self.simulation) || (self.engine == 'torch' && self.accelerator == 'cpu')",
        ),
        Rule(
            name="acceleratorOfEngine",
            fields=("engine", "accelerator"),
            at="accelerator",
            message=f"must be {_ACCELERATOR_WORDS}",
            check=_engine_accelerator,
            cel=" || ".join(
                f"(self.engine == '{engine}' && self.accelerator in {list(names)})"
                for engine, names in ACCELERATORS.items()
            ),
        ),
        Rule(
            name="precisionOfEngine",
            fields=("simulation", "engine", "accelerator", "precision"),
            at="precision",
            message=f"must be {_PRECISION_WORDS}",
            check=_engine_precision,
            cel="has(self.simulation) || !("
            + " || ".join(
                f"(self.engine == '{engine}' && self.accelerator == '{accelerator}' "
                f"&& !(self.precision in {list(names)}))"
                for (engine, accelerator), names in PRECISIONS.items()
            )
            + ")",
        ),
        only_where(
            "quantization",
            lambda device: device.precision == "int8",
            "self.precision == 'int8'",
            "with precision int8",
            reads=("precision",),
        ),
        Rule(
            name="methodOfEngine",
            fields=("simulation", "engine", "quantization"),
            at="quantization.method",
            message=f"must be {METHOD_WORDS}",
            check=_engine_method,
            cel="has(self.simulation) || !has(self.quantization) || self.engine != 'torch' "
            f"|| self.quantization.method in {list(METHODS['torch'])}",
        ),
    )


class SearchDevice(Device):
    """A device that a search may choose."""

    profile_ref: Reference | None = Field(
        None,
        description="The ProfilingJob that measures it; one is made where omitted and the device "
        "is not simulated.",
    )

    RULES = (*Device.RULES, not_together("simulation", "profile_ref"))
