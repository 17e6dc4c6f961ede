"""Panels that the dashboards of all kinds of runs share: how far the chosen one is."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import stat

from grafana.panels import number

RUN: Final = 'namespace="$namespace",name="$name"'
"""Selects the worker's series of the run that the dashboard's variables choose."""


def of(kind: str) -> str:
    """Selects the operator's series of that run, which is of this kind."""
    return f'kind="{kind}",{RUN}'


def state(kind: str, description: str) -> stat.Panel:
    """Its state and the reason of it."""
    query = f"edgetran_resource_state{{{of(kind)}}}"
    return number("State", description, "none", (query, "{{state}}: {{reason}}"), labels=True)


def progress(kind: str, description: str) -> stat.Panel:
    """Steps done of all steps."""
    done = f"edgetran_resource_steps_done{{{of(kind)}}}"
    query = f"{done} / (edgetran_resource_steps{{{of(kind)}}} > 0)"
    return number("Progress", description, "percentunit", (query, ""))


def time_left(description: str) -> stat.Panel:
    """Seconds until the stage that runs is done."""
    query = f"edgetran_worker_stage_left_seconds{{{RUN}}}"
    return number("Time left", description, "s", (query, ""))
