"""Architectures, design spaces, encodings, features and the graph hash; numpy only."""

from edgetran.space.architecture import HEAD_TYPES, Architecture, ArchitectureError, Layer

__all__ = ["HEAD_TYPES", "Architecture", "ArchitectureError", "Layer"]
