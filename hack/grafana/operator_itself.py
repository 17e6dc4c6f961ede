"""The operator itself: whether it keeps up."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from grafana.panels import choice, lines, number, page

_JOB = 'job=~"$job"'
_RATE = "[$__rate_interval]"


def operator_itself() -> Dashboard:
    """The operator itself."""
    return (
        page(
            "edgetran-operator",
            "EdgeTran / Operator",
            "The operator itself: reconciliations, errors, lag, requests, memory.",
            choice("job", "Job", "edgetran_build_info", "job", several=True),
        )
        .with_row(Row("Now"))
        .with_panel(
            number(
                "Version",
                "Version of the operator that is scraped.",
                "none",
                (f"edgetran_build_info{{{_JOB}}}", "{{version}}"),
                labels=True,
            )
        )
        .with_panel(
            number(
                "Up",
                "Operators that Prometheus can scrape.",
                "short",
                (f"sum(up{{{_JOB}}} * on (job, instance) group_left edgetran_build_info)", ""),
                thresholds=((None, "red"), (1, "green"), (2, "orange")),
            )
        )
        .with_panel(
            number(
                "Uptime",
                "Time since the operator started.",
                "s",
                (
                    (
                        f"time() - (process_start_time_seconds{{{_JOB}}}"
                        " and on (job, instance) edgetran_build_info)"
                    ),
                    "",
                ),
            )
        )
        .with_panel(
            number(
                "Resources",
                "Resources of each kind.",
                "short",
                ("sum by (kind) (edgetran_resource_state)", "{{kind}}"),
                width=8,
            )
        )
        .with_panel(
            number(
                "Errors in an hour",
                "Reconciliations that failed and are retried.",
                "short",
                (f"sum(increase(edgetran_reconcile_errors_total{{{_JOB}}}[1h])) or vector(0)", ""),
                thresholds=((None, "green"), (1, "orange"), (100, "red")),
            )
        )
        .with_row(Row("Reconciling"))
        .with_panel(
            lines(
                "Reconciliations",
                "Reconciliations per second by kind.",
                "ops",
                (f"sum by (kind) (rate(edgetran_reconcile_total{{{_JOB}}}{_RATE}))", "{{kind}}"),
            )
        )
        .with_panel(
            lines(
                "Results",
                "What reconciliations ended in: unchanged ones call nothing; outdated ones are "
                "repeated with newer news.",
                "ops",
                (
                    f"sum by (result) (rate(edgetran_reconcile_total{{{_JOB}}}{_RATE}))",
                    "{{result}}",
                ),
                stacked=True,
            )
        )
        .with_panel(
            lines(
                "Errors",
                "Reconciliations per second that failed.",
                "ops",
                (
                    f"sum by (kind) (rate(edgetran_reconcile_errors_total{{{_JOB}}}{_RATE}))",
                    "{{kind}}",
                ),
            )
        )
        .with_panel(
            lines(
                "Duration",
                "Time of a reconciliation, the API server's included: median and 99th percentile.",
                "s",
                *_quantiles("edgetran_reconcile_duration_seconds"),
            )
        )
        .with_panel(
            lines(
                "Lag of the event loop",
                "How late the loop is: median and 99th percentile. What lags long is restarted "
                "by its liveness probe.",
                "s",
                *_quantiles("edgetran_loop_lag_seconds"),
            )
        )
        .with_panel(
            lines(
                "Queue",
                "Resources that wait to be reconciled.",
                "short",
                (f"edgetran_workqueue_depth{{{_JOB}}}", "waiting"),
            )
        )
        .with_row(Row("API server and process"))
        .with_panel(
            lines(
                "Requests",
                "Requests to the API server per second, by verb; none for resources at rest.",
                "reqps",
                (
                    f"sum by (verb) (rate(edgetran_api_requests_total{{{_JOB}}}{_RATE}))",
                    "{{verb}}",
                ),
            )
        )
        .with_panel(
            lines(
                "Memory",
                "Resident memory of the process.",
                "bytes",
                (
                    (
                        f"process_resident_memory_bytes{{{_JOB}}}"
                        " and on (job, instance) edgetran_build_info"
                    ),
                    "resident",
                ),
            )
        )
        .with_panel(
            lines(
                "CPU",
                "Processor time per second.",
                "percentunit",
                (
                    (
                        f"rate(process_cpu_seconds_total{{{_JOB}}}{_RATE})"
                        " and on (job, instance) edgetran_build_info"
                    ),
                    "CPU",
                ),
            )
        )
        .with_panel(
            lines(
                "Conditions",
                "Resources by each of their conditions that is true.",
                "short",
                (
                    f'sum by (kind, condition) (edgetran_resources{{{_JOB},status="True"}})',
                    "{{kind}} {{condition}}",
                ),
                width=12,
                stacked=True,
            )
        )
        .with_panel(
            lines(
                "Workers",
                "Workers that Prometheus scrapes, by kind of their resource.",
                "short",
                ("count by (kind) (edgetran_worker_info)", "{{kind}}"),
                width=12,
                steps=True,
            )
        )
    )


def _quantiles(metric: str) -> list[tuple[str, str]]:
    return [
        (
            f"histogram_quantile({quantile}, sum by (le) (rate({metric}_bucket{{{_JOB}}}{_RATE})))",
            legend,
        )
        for quantile, legend in ((0.5, "median"), (0.99, "99th percentile"))
    ]
