"""The result of a run's folder on the terminal, whatever the run was for."""

from __future__ import annotations

from pathlib import Path

from rich.console import RenderableType

from edgetran.report.measured import measured_view, model_names
from edgetran.report.reading import read_run
from edgetran.report.tables import devices_table, result_table


def result_view(folder: Path) -> RenderableType:
    """Winner and baseline side by side; what was measured, for a run that trained nothing.

    Raises:
        ReportError: the folder holds no result.
    """
    run = read_run(folder)
    if run.result.get("winner") is not None:
        return result_table(run.result)
    if not run.profiles:
        return devices_table(run.result)
    return measured_view(run.profiles.values(), model_names(run))
