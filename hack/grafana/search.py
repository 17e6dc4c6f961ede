"""One search: how far it is, what it found, and how well it predicts."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from edgetran.api.measures import HARDWARE, OBSERVED, Measure
from grafana.measures import ACCURACY, LATENCY, unit, where_sensed
from grafana.panels import (
    Column,
    bars,
    choice,
    lines,
    number,
    page,
    rows,
    scatter,
    scatter_over_time,
)
from grafana.run import RUN, of, progress, state, time_left

_KIND = "CoDesignSearch"
_OF = of(_KIND)
_JOBS = 'namespace="$namespace",name=~"$name-.+"'


def search() -> Dashboard:
    """One search."""
    known = 'edgetran_resource_state{kind="CoDesignSearch"'
    board = (
        page(
            "edgetran-search",
            "EdgeTran / Search",
            "One CoDesignSearch: progress, the best candidate, the Pareto front, predictions.",
            choice("namespace", "Namespace", f"{known}}}", "namespace"),
            choice("name", "Search", f'{known},namespace="$namespace"}}', "name"),
        )
        .with_row(Row("Now"))
        .with_panel(state(_KIND, "State and reason of the search."))
        .with_panel(progress(_KIND, "Trials that ended, of those that there may be."))
        .with_panel(
            time_left(
                "Time until the stage that runs is done at its present pace; empty between stages."
            )
        )
        .with_panel(
            number(
                "Best accuracy",
                "Selection metric of the best feasible candidate on validation data.",
                "percentunit",
                (f"edgetran_search_best_accuracy_ratio{{{RUN}}}", "{{device}}"),
            )
        )
    )
    for measure in HARDWARE:
        board = board.with_panel(
            number(
                f"Its {measure.words}",
                f"{measure.description} of the best candidate on its device"
                f"{where_sensed(measure)}.",
                unit(measure),
                (f"edgetran_search_best_{measure.metric}{{{RUN}}}", "{{device}}"),
            )
        )
    return _trials(_found(board))


def _found(board: Dashboard) -> Dashboard:
    """What the search found."""
    board = (
        board.with_row(Row("Found"))
        .with_panel(
            scatter(
                "Pareto front",
                "Candidates that no other is better than in every measure: latency per sequence "
                "against accuracy; at most ten, spread along the front.",
                "rank",
                _column(LATENCY),
                _column(ACCURACY),
            )
        )
        .with_panel(
            rows(
                "Candidates of the front",
                "The same candidates with all of their measures.",
                "rank",
                ["rank", "device"],
                *map(_column, OBSERVED),
            )
        )
        .with_panel(
            lines(
                "Best so far: objective and accuracy",
                "Weighted objective and accuracy of the best candidate over time.",
                "percentunit",
                (f"edgetran_search_best_objective{{{RUN}}}", "objective"),
                (f"edgetran_search_best_accuracy_ratio{{{RUN}}}", "accuracy"),
                steps=True,
                least=None,
            )
        )
        .with_panel(
            lines(
                "Best so far: latency",
                "Latency per sequence of the best candidate over time.",
                unit(LATENCY),
                (f"edgetran_search_best_{LATENCY.metric}{{{RUN}}}", "{{device}}"),
                steps=True,
            )
        )
        .with_panel(
            lines(
                "Hypervolume",
                "Volume that the Pareto front dominates: it grows while the search finds better "
                "candidates, and its levelling off says that more trials bring little.",
                "none",
                (f"edgetran_search_hypervolume{{{RUN}}}", "hypervolume"),
                least=None,
                steps=True,
            )
        )
    )
    for measure in HARDWARE:
        board = board.with_panel(
            bars(
                f"{measure.title} per device",
                f"Least {measure.description[0].lower()}{measure.description[1:]} on the front, by "
                f"device{where_sensed(measure)}.",
                unit(measure),
                (
                    f"min by (device) (edgetran_pareto_{measure.metric}{{{_OF}}})",
                    "{{device}}",
                ),
            )
        )
    return board


def _column(measure: Measure) -> Column:
    return f"edgetran_pareto_{measure.metric}{{{_OF}}}", measure.title, unit(measure)


def _trials(board: Dashboard) -> Dashboard:
    """How its trials go, and what comes of the winner."""
    return (
        board.with_row(Row("Trials"))
        .with_panel(
            lines(
                "Trials by state",
                "Running, succeeded, failed; infeasible ones succeeded and break a constraint.",
                "short",
                (f"edgetran_trials{{{RUN}}}", "{{state}}"),
                steps=True,
            )
        )
        .with_panel(
            lines(
                "Failed trials",
                "Share of ended trials that failed.",
                "percentunit",
                (
                    (
                        f'edgetran_trials{{{RUN},state="failed"}} / ignoring (state) '
                        "(sum without (state) "
                        f'(edgetran_trials{{{RUN},state=~"succeeded|failed"}}) > 0)'
                    ),
                    "failed",
                ),
                most=1,
            )
        )
        .with_panel(
            lines(
                "Time spent on training",
                "Training time of all trials together, per second: how many trials train at once.",
                "short",
                (f"deriv(edgetran_worker_training_seconds{{{RUN}}}[15m])", "trials at once"),
            )
        )
        .with_row(Row("Predictions"))
        .with_panel(
            scatter_over_time(
                "Predicted against measured accuracy",
                "The method's prediction before a trial and what training gave, a point for each "
                "moment; on the diagonal it predicts well.",
                (
                    f"edgetran_worker_trial_predicted_accuracy_ratio{{{RUN}}}",
                    "Predicted",
                    "percentunit",
                ),
                (f"edgetran_worker_trial_accuracy_ratio{{{RUN}}}", "Measured", "percentunit"),
            )
        )
        .with_panel(
            lines(
                "Uncertainty",
                "Standard deviation of the method's prediction of the last trial, and how far off "
                "it was.",
                "percentunit",
                (
                    f"edgetran_worker_trial_predicted_accuracy_deviation_ratio{{{RUN}}}",
                    "standard deviation",
                ),
                (
                    (
                        f"abs(edgetran_worker_trial_predicted_accuracy_ratio{{{RUN}}}"
                        f" - edgetran_worker_trial_accuracy_ratio{{{RUN}}})"
                    ),
                    "error",
                ),
            )
        )
        .with_panel(
            bars(
                "Error of predicted cost",
                "Cross-validated relative error of each measure on the devices that this search "
                "profiles itself.",
                "percentunit",
                (
                    f"edgetran_profiling_surrogate_error_ratio{{{_JOBS}}}",
                    "{{name}} {{measure}}",
                ),
                thresholds=((None, "green"), (0.1, "orange"), (0.2, "red")),
            )
        )
        .with_row(Row("Refinement and results"))
        .with_panel(
            lines(
                "Models of the refinement",
                "Models that growing and pruning made of the winner.",
                "short",
                (
                    f"edgetran_gptran_models{{{_JOBS}}}",
                    "{{name}} {{state}}",
                ),
                steps=True,
            )
        )
        .with_panel(
            lines(
                "Results",
                "ConfigMaps that the results fill; there may be 1,000.",
                "short",
                (f"edgetran_resource_results_parts{{{_OF}}}", "parts"),
                steps=True,
            )
        )
        .with_panel(
            lines(
                "Storage",
                "Size and free space of the volume that checkpoints and models are kept on.",
                "bytes",
                (f"edgetran_worker_storage_free_bytes{{{RUN}}}", "free"),
                (f"edgetran_worker_storage_size_bytes{{{RUN}}}", "size"),
            )
        )
    )
