"""For which engine and in which precision a device's models are made, scored and shipped."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final, NamedTuple

from edgetran.api import Device, ExportTarget, Quantization
from edgetran.artifacts import Form
from edgetran.devices import EngineError
from edgetran.training import Scoring, evaluation_batch

PLAIN: Final = Form("torch", "fp32")
"""What training itself judges."""

ONNX: Final = Form("onnxruntime", "fp32")
"""What every run hands over besides."""


class DeviceForm(NamedTuple):
    """The form of a device's artefacts, and a sentence where it is not simply the device's own."""

    form: Form
    note: str | None


def device_form(device: Device) -> DeviceForm:
    """As what models are made for `device` on this machine.

    A simulated board has no engine: its models are made for ONNX Runtime in the board's precision,
    or for PyTorch in those that ONNX Runtime lacks. Where this machine has not what a measured
    device has, the same artefact is scored on its processor; without the engine itself, models
    stay PyTorch's in fp32.
    """
    if device.simulation is not None:
        return _simulated(device)
    form = with_quantization(
        Form(device.engine, device.precision, device.accelerator), device.quantization
    )
    reason = _unavailable(form)
    if reason is None:
        return DeviceForm(form, None)
    if form.target == "cuda":
        here = Form(form.engine, form.precision, computed_in="fp32")
        if _unavailable(here) is None:
            return DeviceForm(
                here,
                f"{device.name}: {reason}; accuracy is that of the artefact for {form.words} run "
                "on this machine's processor in fp32",
            )
    return DeviceForm(
        PLAIN,
        f"{device.name}: no artefact for {form.words} can be made here: {reason}; accuracy and "
        "export are those of torch fp32",
    )


def scored_as(devices: Iterable[Device], batch_size: int) -> dict[str, Scoring]:
    """As which artefact candidates are scored, by device.

    fp32 is left out: engines differ there by rounding alone, and the finalists are scored as
    artefacts in any case. Quantisation-aware training is theirs alone too.
    """
    forms = {device.name: replace(device_form(device).form, aware_steps=0) for device in devices}
    return {
        name: Scoring(form, evaluation_batch(form, batch_size))
        for name, form in forms.items()
        if form.precision != "fp32"
    }


def export_forms(targets: Iterable[ExportTarget] | None, devices: Iterable[Device]) -> list[Form]:
    """As what the winner is handed over besides its own artefact: as asked, or for each device."""
    if targets is None:
        return list(dict.fromkeys(device_form(device).form for device in devices))
    return [
        with_quantization(Form(target.engine, target.precision), target.quantization)
        for target in targets
    ]


def _simulated(device: Device) -> DeviceForm:
    precision = device.precision
    if precision in ("fp32", "int8", "int4"):
        form = with_quantization(Form("onnxruntime", precision), device.quantization)
    else:
        form = Form("torch", precision, computed_in="fp32" if precision == "fp16" else None)
    reason = _unavailable(form)
    if reason is not None:
        return DeviceForm(PLAIN, f"{device.name}: {reason}; accuracy is that of torch fp32")
    where = "on this machine"
    if form.computed_in is not None:
        where += f", computed in {form.computed_in}"
    return DeviceForm(
        form,
        f"{device.name} is simulated: its costs are calculated for {precision}; accuracy is that "
        f"of the artefact for {form.words}, run {where}",
    )


def with_quantization(form: Form, quantization: Quantization | None) -> Form:
    """The form, made int8 as it is asked for."""
    if quantization is None:
        return form
    method = None if quantization.method == "auto" else quantization.method
    return replace(
        form,
        method=method,
        examples=quantization.calibration_examples,
        aware_steps=quantization.aware_steps or 0,
    )


def _unavailable(form: Form) -> str | None:
    try:
        return form.make_engine().available()
    except EngineError as error:
        return str(error)
