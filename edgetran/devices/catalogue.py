"""The catalogue of simulated devices, read from the packaged catalogue.yaml."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
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


def simulated_device(
    name: str, *, fitted: bool = False, devices: Mapping[str, SimulatedDevice] | None = None
) -> SimulatedDevice:
    """The device called `name`, of the catalogue or of `devices`.

    Raises:
        DeviceError: for a name that is not there, with the nearest one that is.
    """
    known = catalogue(fitted=fitted) if devices is None else devices
    if name not in known:
        raise unknown_name("simulated device", name, known)
    return known[name]


def catalogue_file(path: Path | str) -> Mapping[str, SimulatedDevice]:
    """The devices of a YAML file in the catalogue's form.

    Raises:
        DeviceError: naming the file, the number and what is wrong with it.
    """
    try:
        return _devices(Path(path).read_text("utf-8"), str(path), fitted=False)
    except FileNotFoundError:
        raise DeviceError(f"{path}: no such file") from None
    except UnicodeDecodeError:
        raise DeviceError(f"{path}: not UTF-8 text") from None
    except DeviceError as error:
        text = str(error)
        raise DeviceError(text if text.startswith(str(path)) else f"{path}: {text}") from None


def catalogue_entry(device: SimulatedDevice) -> dict[str, Any]:
    """A device as the catalogue writes it: every number with its source, to 4 digits."""
    entry: dict[str, Any] = {"description": device.description}
    for name, value in device.numbers().items():
        item = {"value": _rounded(value), "source": device.sources[name]}
        group, _, precision = name.partition(".")
        if precision:
            entry.setdefault(group, {})[precision] = item
        else:
            entry[name] = item
    fields = [field.name for field in dataclasses.fields(SimulatedDevice)]
    return {name: entry[name] for name in fields if name in entry}


def _rounded(value: float) -> float:
    number = float(f"{value:.4g}")
    return int(number) if number.is_integer() else number


@cache
def _read(fitted: bool) -> Mapping[str, SimulatedDevice]:
    text = resources.files("edgetran.devices").joinpath("catalogue.yaml").read_text("utf-8")
    return _devices(text, "catalogue.yaml", fitted=fitted)


def _devices(text: str, source: str, *, fitted: bool) -> Mapping[str, SimulatedDevice]:
    try:
        entries = yaml.safe_load(text)
    except yaml.YAMLError as error:
        first = str(error).partition("\n")[0]
        raise DeviceError(f"{source}: not YAML: {first}") from None
    if not isinstance(entries, dict) or not all(isinstance(e, dict) for e in entries.values()):
        raise DeviceError(f"{source}: allowed is a mapping from names of devices to their numbers")
    return MappingProxyType({name: _device(name, e, source, fitted) for name, e in entries.items()})


def _device(name: str, entry: dict[str, Any], source: str, fitted: bool) -> SimulatedDevice:
    numbers: dict[str, Any] = {"peak_gflops": {}}
    sources: dict[str, str] = {}
    fit = entry.get("published_fit", {}) if fitted else {}
    for field in dataclasses.fields(SimulatedDevice):
        key = field.name
        if key in ("name", "description", "sources"):
            continue
        if key not in entry:
            raise DeviceError(f"{source}: {name}.{key} is missing")
        place = f"{source}: {name}.{key}"
        if key == "peak_gflops":
            if not isinstance(entry[key], dict):
                raise DeviceError(f"{place}: allowed is a value and a source for each precision")
            for precision, item in entry[key].items():
                numbers[key][precision], sources[f"{key}.{precision}"] = _number(item, place)
        elif key in fit.get("values", {}):
            numbers[key], sources[key] = fit["values"][key], fit["source"]
        else:
            numbers[key], sources[key] = _number(entry[key], place)
    return SimulatedDevice(
        name=name,
        description=str(entry.get("description", "")),
        sources=MappingProxyType(sources),
        **numbers,
    )


def _number(item: Any, place: str) -> tuple[float, str]:
    """A number of the catalogue and its source."""
    value = item.get("value") if isinstance(item, dict) else None
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise DeviceError(f"{place}: allowed is a number as value, and its source")
    return value, str(item.get("source") or "")
