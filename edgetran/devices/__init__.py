"""Device catalogue, engines, power sources and simulated devices."""

from edgetran.devices.accelerators import Accelerator
from edgetran.devices.catalogue import (
    catalogue,
    catalogue_entry,
    catalogue_file,
    simulated_device,
)
from edgetran.devices.conditions import Conditions, conditions
from edgetran.devices.engines import (
    ENGINES,
    EXPORT_ENGINES,
    FEWEST_EXAMPLES,
    METHODS,
    Calibration,
    Engine,
    EngineError,
    Session,
    engine,
    example_inputs,
    usable_cores,
)
from edgetran.devices.figures import Figure, FigureError, HardwareFigures, Workload
from edgetran.devices.fit import DeviceFit, fit_device
from edgetran.devices.fit_data import DeviceMeasurement, read_device_measurements
from edgetran.devices.host import HostInfo, host_info
from edgetran.devices.names import DeviceError
from edgetran.devices.power import (
    Hwmon,
    NoPower,
    PowerMonitor,
    PowerReading,
    PowerSource,
    SensorError,
    best_power_source,
    external_source,
    measure_update_period,
    power_sources,
    why_unavailable,
)
from edgetran.devices.roofline import Roofline, RooflinePoint, roofline, roofline_points
from edgetran.devices.simulated import SimulatedDevice

__all__ = [
    "ENGINES",
    "EXPORT_ENGINES",
    "FEWEST_EXAMPLES",
    "METHODS",
    "Accelerator",
    "Calibration",
    "Conditions",
    "DeviceError",
    "DeviceFit",
    "DeviceMeasurement",
    "Engine",
    "EngineError",
    "Figure",
    "FigureError",
    "HardwareFigures",
    "HostInfo",
    "Hwmon",
    "NoPower",
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
    "catalogue_entry",
    "catalogue_file",
    "conditions",
    "engine",
    "example_inputs",
    "external_source",
    "fit_device",
    "host_info",
    "measure_update_period",
    "power_sources",
    "read_device_measurements",
    "roofline",
    "roofline_points",
    "simulated_device",
    "usable_cores",
    "why_unavailable",
]
