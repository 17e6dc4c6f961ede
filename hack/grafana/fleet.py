"""The fleet: all runs and all boards at a glance."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from edgetran.api.measures import HARDWARE
from grafana.measures import ENERGY, LATENCY, unit, where_sensed
from grafana.panels import WIDTH, bars, choice, lines, number, page, rows

_HERE = 'namespace=~"$namespace"'
_GOES_ON = f'edgetran_resource_state{{{_HERE},state=~"running|waiting|suspended|stalled"}}'
_ID = "kind, namespace, name"


def fleet() -> Dashboard:
    """All runs and all boards."""
    board = (
        page(
            "edgetran-fleet",
            "EdgeTran / Fleet",
            "All profiling jobs, searches and refinements, and the boards that they need.",
            choice("namespace", "Namespace", "edgetran_resource_state", "namespace", several=True),
        )
        .with_row(Row("Runs"))
        .with_panel(
            number(
                "Runs by state",
                "Resources of all three kinds: running, waiting for something that comes by "
                "itself, suspended, stalled until somebody acts, succeeded or failed.",
                "short",
                (f"sum by (state) (edgetran_resource_state{{{_HERE}}})", "{{state}}"),
                width=12,
            )
        )
        .with_panel(
            number(
                "Alerts",
                "Alerts of EdgeTran that fire now.",
                "short",
                ('count(ALERTS{alertname=~"EdgeTran.+",alertstate="firing"}) or vector(0)', ""),
                thresholds=((None, "green"), (1, "red")),
            )
        )
        .with_panel(
            number(
                "Trials per hour",
                "Candidates trained in the last hour, over all searches.",
                "short",
                (
                    (
                        f'sum(delta(edgetran_trials{{{_HERE},state=~"succeeded|failed"}}[1h]))'
                        " or vector(0)"
                    ),
                    "",
                ),
            )
        )
        .with_panel(
            number(
                "Measurements per hour",
                "Architectures measured in the last hour, over all boards.",
                "short",
                (
                    (
                        f'sum(delta(edgetran_profiling_architectures{{{_HERE},state="measured"}}[1h]))'
                        " or vector(0)"
                    ),
                    "",
                ),
            )
        )
        .with_panel(
            lines(
                "Runs by state over time",
                "How many resources are in each state.",
                "short",
                (f"sum by (state) (edgetran_resource_state{{{_HERE}}})", "{{state}}"),
                stacked=True,
            )
        )
        .with_panel(
            bars(
                "Progress",
                "Steps done of all steps, of runs that have not ended.",
                "percentunit",
                (
                    (
                        f"(edgetran_resource_steps_done / (edgetran_resource_steps > 0)) "
                        f"and on ({_ID}) {_GOES_ON}"
                    ),
                    "{{kind}} {{namespace}}/{{name}}",
                ),
                most=1,
            )
        )
        .with_panel(
            bars(
                "Time left",
                "Time until the stage that runs is done at its present pace, as workers tell it.",
                "s",
                (
                    f"edgetran_worker_stage_left_seconds{{{_HERE}}}",
                    "{{kind}} {{namespace}}/{{name}}",
                ),
            )
        )
        .with_panel(
            rows(
                "Stalled and failed",
                "Runs that need somebody to act, with the reason; docs/operations.md says what "
                "each reason means and what helps.",
                "name",
                ["kind", "namespace", "name", "state", "reason"],
                (
                    f'edgetran_resource_state{{{_HERE},state=~"stalled|failed"}}',
                    "runs",
                    "short",
                ),
            )
        )
        .with_panel(
            lines(
                "Failures by reason",
                "Resources whose work failed or stalls, by the reason of their condition.",
                "short",
                (
                    (
                        "sum by (kind, reason) (edgetran_resource_state"
                        f'{{{_HERE},state=~"stalled|failed"}})'
                    ),
                    "{{kind}}: {{reason}}",
                ),
                width=12,
                stacked=True,
            )
        )
        .with_row(Row("Boards"))
        .with_panel(
            lines(
                "Queue per board",
                "Profiling jobs that wait for a board, by the device that they ask for; one is "
                "measured at a time.",
                "short",
                ("edgetran_board_queue_length", "{{device}}"),
                steps=True,
            )
        )
        .with_panel(
            lines(
                "Nodes per device",
                "Nodes labelled edgetran.io/device by whether they can be used.",
                "short",
                ("sum by (device, state) (edgetran_device_nodes)", "{{device}} {{state}}"),
                steps=True,
            )
        )
        .with_panel(
            bars(
                "Error of prediction per device",
                "Cross-validated relative error of predicted latency: mean of "
                "|predicted / measured − 1|.",
                "percentunit",
                (
                    f'edgetran_profiling_surrogate_error_ratio{{{_HERE},measure="{LATENCY.alias}"}}',
                    "{{namespace}}/{{name}}",
                ),
                thresholds=((None, "green"), (0.1, "orange"), (0.2, "red")),
            )
        )
    )
    for measure in HARDWARE:
        board = board.with_panel(
            bars(
                f"{measure.title} per device",
                f"{measure.description}, median over the architectures measured on each device"
                f"{where_sensed(measure)}.",
                unit(measure),
                (
                    f"edgetran_profiling_median_{measure.metric}{{{_HERE}}}",
                    "{{device}} ({{namespace}}/{{name}})",
                ),
            )
        )
    return board.with_panel(
        bars(
            "Least energy per device",
            "Least energy per sequence on each device, over the Pareto fronts of all searches.",
            unit(ENERGY),
            (f"min by (device) (edgetran_pareto_{ENERGY.metric}{{{_HERE}}})", "{{device}}"),
            width=WIDTH,
        )
    )
