"""Device catalogue, engines, power sources and simulated devices."""

from edgetran.devices.figures import Figure, FigureError, HardwareFigures, Workload

__all__ = ["Figure", "FigureError", "HardwareFigures", "Workload"]
