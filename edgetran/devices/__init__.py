"""Device catalogue, engines, power sources and simulated devices."""

from edgetran.devices.catalogue import catalogue, simulated_device
from edgetran.devices.engines import ENGINES, Engine, EngineError, Session, engine, example_inputs
from edgetran.devices.figures import Figure, FigureError, HardwareFigures, Workload
from edgetran.devices.fit import (
    DeviceFit,
    DeviceMeasurement,
    fit_device,
    read_device_measurements,
)
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
from edgetran.devices.roofline import Roofline, RooflinePoint, roofline, roofline_points
from edgetran.devices.simulated import SimulatedDevice

__all__ = [
    "ENGINES",
    "DeviceError",
    "DeviceFit",
    "DeviceMeasurement",
    "Engine",
    "EngineError",
    "Figure",
    "FigureError",
    "HardwareFigures",
    "PowerMonitor",
    "PowerReading",
    "PowerSource",
    "Roofline",
    "RooflinePoint",
    "SensorError",
    "Session",
    "SimulatedDevice",
    "Workload",
    "best_power_source",
    "catalogue",
    "engine",
    "example_inputs",
    "external_source",
    "fit_device",
    "power_sources",
    "read_device_measurements",
    "roofline",
    "roofline_points",
    "simulated_device",
]
