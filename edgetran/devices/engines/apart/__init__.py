"""Engines whose tools do not fit beside the trainer's: each lives in an environment of its own."""

from edgetran.devices.engines.apart.engines import ApartEngine, ExecuTorchEngine, LiteRtEngine
from edgetran.devices.engines.apart.environment import Environment

__all__ = ["ApartEngine", "Environment", "ExecuTorchEngine", "LiteRtEngine"]
