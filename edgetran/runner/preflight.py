"""What is refused before any work: forms and trackers for which something is missing here."""

from __future__ import annotations

from edgetran import api
from edgetran.devices import Engine, EngineError
from edgetran.progress import Progress
from edgetran.runner.chain import Chain
from edgetran.runner.forms import export_forms
from edgetran.runner.tracker import tracking_problem


def check_exports(chain: Chain, progress: Progress) -> None:
    """Make ready what the forms that are asked for need, and find which cannot be made here.

    An engine in an environment of its own is installed now, and not after hours of search.

    Raises:
        SpecError: the first of them, with what its engine lacks.
    """
    for index, form in enumerate(export_forms(chain.exports or (), ())):
        try:
            _prepare(form.make_engine(), progress)
        except EngineError as error:
            asking = chain.asking_for_exports
            assert asking is not None  # noqa: S101 - there are some
            raise _refused(asking, f"spec.export[{index}]", str(error)) from None


def _prepare(engine: Engine, progress: Progress) -> None:
    stage, begun = f"Install {engine.name}", False

    def tell(what: str) -> None:
        nonlocal begun
        if not begun:
            progress.start(stage, total=engine.steps)
            begun = True
        progress.advance(stage, note=what)

    engine.prepare(tell)
    if begun:
        progress.finish(stage, note="installed")


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
