"""What is refused before any work: forms and trackers for which a package is missing here."""

from __future__ import annotations

from edgetran import api
from edgetran.runner.chain import Chain
from edgetran.runner.forms import export_forms
from edgetran.runner.tracker import tracking_problem


def check_exports(chain: Chain) -> None:
    """Find which of the forms that are asked for cannot be made here.

    Raises:
        SpecError: the first of them, with what its engine lacks.
    """
    for index, form in enumerate(export_forms(chain.exports or (), ())):
        reason = form.make_engine().available()
        if reason is not None:
            asking = chain.asking_for_exports
            assert asking is not None  # noqa: S101 - there are some
            raise _refused(asking, f"spec.export[{index}]", reason)


def check_tracking(chain: Chain) -> None:
    """Find that nothing can be shown on a tracking server from here.

    Raises:
        SpecError: its client is not installed.
    """
    reason = tracking_problem()
    asking = chain.search or chain.refinement
    if reason is not None and asking is not None:
        raise _refused(asking, "spec.tracking.mlflow", reason)


def _refused(asking: api.CoDesignSearch | api.GPTranRun, path: str, reason: str) -> api.SpecError:
    return api.SpecError([api.SpecProblem(asking.source, asking.label, path, reason)])
