"""One profiling job: what a board measures and how well others can be predicted."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from edgetran.api.measures import HARDWARE
from grafana.measures import LATENCY, unit, where_sensed
from grafana.panels import choice, lines, number, page
from grafana.run import RUN, of, progress, state, time_left

_KIND = "ProfilingJob"
_OF = of(_KIND)


def profiling() -> Dashboard:
    """One profiling job."""
    known = 'edgetran_resource_state{kind="ProfilingJob"'
    board = (
        page(
            "edgetran-profiling",
            "EdgeTran / Profiling",
            "One ProfilingJob: what its board measures, and how well others can be predicted.",
            choice("namespace", "Namespace", f"{known}}}", "namespace"),
            choice("name", "Profiling job", f'{known},namespace="$namespace"}}', "name"),
        )
        .with_row(Row("Now"))
        .with_panel(state(_KIND, "State and reason of the job."))
        .with_panel(
            number(
                "Board",
                "Device and node that is measured on.",
                "none",
                (
                    f"edgetran_profiling_median_{LATENCY.metric}{{{RUN}}}",
                    "{{device}} on {{node}}",
                ),
                labels=True,
            )
        )
        .with_panel(
            progress(
                _KIND,
                "Architectures tried, of those that may be; it may stop earlier, when the error "
                "is small enough.",
            )
        )
        .with_panel(time_left("Time until all measurements are made at the present pace."))
        .with_panel(
            number(
                "Failed workers",
                "How often a worker of the job failed and was started again.",
                "short",
                (f"edgetran_resource_failures{{{_OF}}}", ""),
                thresholds=((None, "green"), (1, "orange")),
            )
        )
    )
    for measure in HARDWARE:
        board = board.with_panel(
            number(
                f"Median {measure.words}",
                f"{measure.description}, median over the architectures measured"
                f"{where_sensed(measure)}.",
                unit(measure),
                (f"edgetran_profiling_median_{measure.metric}{{{RUN}}}", ""),
            )
        )
    return _predictions(_measurements(board))


def _measurements(board: Dashboard) -> Dashboard:
    """What is measured, and how that goes on."""
    board = board.with_row(Row("Measurements")).with_panel(
        lines(
            "Architectures by outcome",
            "Measured now, taken over from earlier runs, unstable ones among the measured, "
            "and those that could not be measured.",
            "short",
            (f"edgetran_profiling_architectures{{{RUN}}}", "{{state}}"),
            steps=True,
        )
    )
    for measure in HARDWARE:
        board = board.with_panel(
            lines(
                measure.title,
                f"{measure.description} of the architecture measured last{where_sensed(measure)}.",
                unit(measure),
                (f"edgetran_worker_last_{measure.metric}{{{RUN}}}", "last measured"),
            )
        )
    return (
        board.with_panel(
            lines(
                "Share of time that is measured",
                "Time spent on measurements, per second; what is missing is spent on fitting and "
                "choosing.",
                "percentunit",
                (f"deriv(edgetran_worker_measuring_seconds{{{RUN}}}[15m])", "measuring"),
            )
        )
        .with_panel(
            lines(
                "Queue for the board",
                "Profiling jobs that wait for each board.",
                "short",
                ("edgetran_board_queue_length", "{{device}}"),
                steps=True,
            )
        )
        .with_panel(
            lines(
                "Writing of results",
                "Results ConfigMaps written, and attempts that failed, in five minutes.",
                "short",
                (f"delta(edgetran_worker_results_writes{{{RUN}}}[5m])", "written"),
                (f"delta(edgetran_worker_results_failures{{{RUN}}}[5m])", "failed"),
            )
        )
    )


def _predictions(board: Dashboard) -> Dashboard:
    """How well other architectures can be predicted."""
    return (
        board.with_row(Row("Predictions"))
        .with_panel(
            lines(
                "Predicted against measured",
                "Cross-validated relative error of each measure, as the profile claims it: mean "
                "of |predicted / measured − 1|.",
                "percentunit",
                (
                    f"edgetran_profiling_surrogate_error_ratio{{{RUN}}}",
                    "{{measure}}",
                ),
                width=12,
            )
        )
        .with_panel(
            lines(
                "Uncertainty",
                "Relative error that 95 of 100 predictions stay below, in cross-validation.",
                "percentunit",
                (
                    f"edgetran_worker_surrogate_p95_error_ratio{{{RUN}}}",
                    "{{measure}}",
                ),
                width=12,
            )
        )
    )
