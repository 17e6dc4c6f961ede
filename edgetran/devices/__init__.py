"""Device catalogue, engines, power sources and simulated devices."""

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
    "DeviceError",
    "Figure",
    "FigureError",
    "HardwareFigures",
    "PowerMonitor",
    "PowerReading",
    "PowerSource",
    "SensorError",
    "Workload",
    "best_power_source",
    "external_source",
    "power_sources",
]
