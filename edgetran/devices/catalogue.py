"""The catalogue of simulated devices, read from the packaged catalogue.yaml."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

import yaml

from edgetran.devices.names import DeviceError, unknown_name
from edgetran.devices.simulated import SimulatedDevice


def catalogue(*, fitted: bool = False) -> Mapping[str, SimulatedDevice]:
    """Every simulated device by its name.

    Args:
        fitted: False: inference alone, from data sheets and benchmarks. True: where ProTran's
            published measurements of the board exist, fitted to them; these measure the life of
            a whole process of the original code, and are far slower than inference alone.
    """
    return _read(fitted)


def simulated_device(name: str, *, fitted: bool = False) -> SimulatedDevice:
    """The device called `name`.

    Raises:
        DeviceError: for a name that is not in the catalogue, with the nearest one that is.
    """
    devices = catalogue(fitted=fitted)
    if name not in devices:
        raise unknown_name("simulated device", name, devices)
    return devices[name]


@cache
def _read(fitted: bool) -> Mapping[str, SimulatedDevice]:
    text = resources.files("edgetran.devices").joinpath("catalogue.yaml").read_text("utf-8")
    entries = yaml.safe_load(text)
    return MappingProxyType({name: _device(name, entry, fitted) for name, entry in entries.items()})


def _device(name: str, entry: dict[str, Any], fitted: bool) -> SimulatedDevice:
    numbers: dict[str, Any] = {"peak_gflops": {}}
    sources: dict[str, str] = {}
    fit = entry.get("published_fit", {}) if fitted else {}
    for field in dataclasses.fields(SimulatedDevice):
        key = field.name
        if key in ("name", "description", "sources"):
            continue
        if key not in entry:
            raise DeviceError(f"catalogue.yaml: {name}.{key} is missing")
        if key == "peak_gflops":
            for precision, item in entry[key].items():
                numbers[key][precision] = item["value"]
                sources[f"{key}.{precision}"] = item["source"]
        elif key in fit.get("values", {}):
            numbers[key], sources[key] = fit["values"][key], fit["source"]
        else:
            numbers[key], sources[key] = entry[key]["value"], entry[key]["source"]
    return SimulatedDevice(
        name=name, description=entry["description"], sources=MappingProxyType(sources), **numbers
    )
