"""Architectures, design spaces, encodings, features and the graph hash; numpy only."""

from edgetran.space.architecture import HEAD_TYPES, Architecture, ArchitectureError, Layer
from edgetran.space.costs import (
    OPERATION_KINDS,
    CostError,
    Operation,
    encoder_parameters,
    macs,
    operations,
    parameter_count,
)
from edgetran.space.design_space import DesignSpace, DesignSpaceError, SamplingMethod
from edgetran.space.features import (
    FEATURE_NAMES,
    FEATURE_UNITS,
    RIDGES,
    SUMMARY_FEATURES,
    Features,
    feature_matrix,
    features,
)

__all__ = [
    "FEATURE_NAMES",
    "FEATURE_UNITS",
    "HEAD_TYPES",
    "OPERATION_KINDS",
    "RIDGES",
    "SUMMARY_FEATURES",
    "Architecture",
    "ArchitectureError",
    "CostError",
    "DesignSpace",
    "DesignSpaceError",
    "Features",
    "Layer",
    "Operation",
    "SamplingMethod",
    "encoder_parameters",
    "feature_matrix",
    "features",
    "macs",
    "operations",
    "parameter_count",
]
