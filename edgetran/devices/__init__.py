"""Device catalogue, engines, power sources and simulated devices."""

from edgetran.devices.engines import ENGINES, Engine, EngineError, Session, engine, example_inputs
from edgetran.devices.figures import Figure, FigureError, HardwareFigures, Workload
from edgetran.devices.names import DeviceError
from edgetran.devices.power import (
    PowerMonitor,
    PowerReading,
    PowerSource,
    SensorError,
    best_power_source,
    external_source,
    power_sources,
)

__all__ = [
    "ENGINES",
    "DeviceError",
    "Engine",
    "EngineError",
    "Figure",
    "FigureError",
    "HardwareFigures",
    "PowerMonitor",
    "PowerReading",
    "PowerSource",
    "SensorError",
    "Session",
    "Workload",
    "best_power_source",
    "engine",
    "example_inputs",
    "external_source",
    "power_sources",
]
