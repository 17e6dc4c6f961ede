"""Architectures, design spaces, encodings, features and the graph hash; numpy only."""

from edgetran.space.architecture import HEAD_TYPES, Architecture, ArchitectureError, Layer
from edgetran.space.design_space import DesignSpace, DesignSpaceError, SamplingMethod

__all__ = [
    "HEAD_TYPES",
    "Architecture",
    "ArchitectureError",
    "DesignSpace",
    "DesignSpaceError",
    "Layer",
    "SamplingMethod",
]
