"""What tests of every kind may ask for."""

import os

pytest_plugins = ("cluster_fixtures", "crd_judge")

_BESIDE = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if _BESIDE > 1:  # threads of two processes that wait for each other's cores do half the work
    _cores = len(os.sched_getaffinity(0))
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, _cores // _BESIDE)))
