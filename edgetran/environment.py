"""What holds in every process before a library is imported: no telemetry, threads in the quota.

The package imports this before anything else of its own, so that each entry point, each worker and
`import edgetran.…` in somebody's program has it; processes that they start inherit the environment.
"""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping
from typing import Final

from edgetran.cores import cores

NO_TELEMETRY: Final = {
    "DO_NOT_TRACK": "1",  # what several libraries have agreed on
    "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface_hub, and transformers and datasets through it
    "HF_UPDATE_DOWNLOAD_COUNTS": "0",  # datasets counts each loading of a set that it knows
    "DISABLE_SAFETENSORS_CONVERSION": "1",  # transformers asks the hub to convert old weights
    "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime's uploader, and its identifier of the machine
    "NNCF_CI": "1",  # NNCF reports each use unless it believes to run in its makers' own tests
    "MLFLOW_DISABLE_TELEMETRY": "true",  # MLflow hears DO_NOT_TRACK only as the word "true"
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9",  # else it reports that it reports nothing
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
}
"""What each library reads; a user who has set one of them has been asked."""

SILENCED: Final = ("openvino_telemetry",)
"""Packages that post when they are imported and know no setting but a file in the user's home.
Python is told that they are not installed; OpenVINO then takes its own stub."""

THREADS: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "LOKY_MAX_CPU_COUNT",
)
"""Libraries that count processors and know nothing of a quota: OpenMP (torch, scikit-learn),
OpenBLAS and MKL (numpy, scipy), rayon (tokenizers), loky (joblib)."""


def prepare(environ: MutableMapping[str, str] | None = None) -> None:
    """Set what is not set yet."""
    environ = os.environ if environ is None else environ
    for name, value in NO_TELEMETRY.items():
        environ.setdefault(name, value)
    for name in SILENCED:
        # A None in sys.modules is how Python is told that a module cannot be imported.
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # as above
    here = cores()
    if here.bound == "quota":
        for name in THREADS:
            environ.setdefault(name, str(here.threads))


prepare()
