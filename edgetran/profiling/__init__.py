"""ProTran: the measuring protocol, active learning, surrogates and profiles on disk."""

from edgetran.profiling.exchange import check_prior, export_profile, import_profile
from edgetran.profiling.explanation import Explanation, explain
from edgetran.profiling.finalists import measure_artifacts
from edgetran.profiling.measurement import MEASURES, Measurement, MeasurementError, MeasurementKey
from edgetran.profiling.measuring import build_model, measure
from edgetran.profiling.plan import ProfilingError, ProfilingPlan
from edgetran.profiling.predictor import Predictor, predictor, simulated_predictor
from edgetran.profiling.profile import Profile
from edgetran.profiling.profiling import profile_device
from edgetran.profiling.protocol import MODES, Mode
from edgetran.profiling.statistics import Statistics
from edgetran.profiling.surrogate import Quality, Surrogate, SurrogateError

__all__ = [
    "MEASURES",
    "MODES",
    "Explanation",
    "Measurement",
    "MeasurementError",
    "MeasurementKey",
    "Mode",
    "Predictor",
    "Profile",
    "ProfilingError",
    "ProfilingPlan",
    "Quality",
    "Statistics",
    "Surrogate",
    "SurrogateError",
    "build_model",
    "check_prior",
    "explain",
    "export_profile",
    "import_profile",
    "measure",
    "measure_artifacts",
    "predictor",
    "profile_device",
    "simulated_predictor",
]
