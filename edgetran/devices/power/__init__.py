"""Power sources behind one interface, and the monitor that turns them into energy and peaks."""

from edgetran.devices.power.apple import AppleSilicon
from edgetran.devices.power.discovery import NoPower, best_power_source, power_sources
from edgetran.devices.power.external import (
    CommandMeter,
    HttpMeter,
    SerialMeter,
    external_source,
)
from edgetran.devices.power.hwmon import Hwmon
from edgetran.devices.power.monitor import PowerMonitor, PowerReading, measure_update_period
from edgetran.devices.power.nvml import NvmlEnergy, NvmlPower
from edgetran.devices.power.rapl import Rapl
from edgetran.devices.power.raspberry import RaspberryPiPmic
from edgetran.devices.power.source import (
    CounterResetError,
    PowerSource,
    SensorError,
    why_unavailable,
)
from edgetran.devices.power.trace import PowerTrace

__all__ = [
    "AppleSilicon",
    "CommandMeter",
    "CounterResetError",
    "HttpMeter",
    "Hwmon",
    "NoPower",
    "NvmlEnergy",
    "NvmlPower",
    "PowerMonitor",
    "PowerReading",
    "PowerSource",
    "PowerTrace",
    "Rapl",
    "RaspberryPiPmic",
    "SensorError",
    "SerialMeter",
    "best_power_source",
    "external_source",
    "measure_update_period",
    "power_sources",
    "why_unavailable",
]
