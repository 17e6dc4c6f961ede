"""Resources and nodes as an API server would send them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console, RenderableType

NOW = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)


def ago(seconds: float) -> str:
    """A time before NOW, as Kubernetes writes it."""
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def a_condition(
    type_: str, status: str, reason: str, message: str = "", since: float = 60
) -> dict[str, Any]:
    """A metav1.Condition."""
    return {
        "type": type_, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": ago(since), "observedGeneration": 1,
    }  # fmt: skip


def a_search(name: str = "tickets", **status: Any) -> dict[str, Any]:
    """A CoDesignSearch that trains its seventh of twelve trials."""
    return {
        "apiVersion": "edgetran.io/v1alpha1",
        "kind": "CoDesignSearch",
        "metadata": {"name": name, "namespace": "text", "creationTimestamp": ago(720)},
        "spec": {
            "task": {"name": "movie-reviews"},
            "designSpace": {"preset": "tiny"},
            "devices": [
                {"name": "pi", "nodeSelector": {"edgetran.io/device": "pi"}},
                {"name": "nano", "simulation": "jetson-nano-gpu"},
            ],
            "search": {"maxTrials": 12},
        },
        "status": {
            "progress": "7/12",
            "succeeded": 6,
            "failed": 1,
            "conditions": [
                a_condition("Succeeded", "Unknown", "Running", "trial 7 of 12 is training"),
                a_condition("Reconciling", "True", "Running", "trial 7 of 12 is training"),
            ],
            "best": a_candidate(4, "pi", 0.8123),
            "paretoFront": [a_candidate(4, "pi", 0.8123), a_candidate(2, "nano", 0.79)],
            "paretoSize": 14,
            "devices": [
                {"name": "pi", "source": "measured", "profilingJob": "tickets-pi", "ready": True,
                 "latencyError": 0.043},
                {"name": "nano", "source": "simulated", "ready": True},
            ],
            "results": ["tickets-cds-results-0"],
        } | status,
    }  # fmt: skip


def a_candidate(number: int, device: str, accuracy: float) -> dict[str, Any]:
    """A CandidateSummary."""
    source = "simulated" if device == "nano" else "measured"
    return {
        "id": number, "architecture": "ab12", "device": device, "accuracy": accuracy,
        "latencyMs": {"value": 12.345, "source": source},
        "energyMj": {"source": source},
        "parameters": 2_140_000, "objective": 0.7,
    }  # fmt: skip


def a_job(
    name: str, *, device: str = "pi", created: float = 100, namespace: str = "text", **status: Any
) -> dict[str, Any]:
    """A ProfilingJob for the nodes of a device."""
    return {
        "apiVersion": "edgetran.io/v1alpha1",
        "kind": "ProfilingJob",
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": ago(created)},
        "spec": {
            "device": {"name": device, "nodeSelector": {"edgetran.io/device": device}},
            "designSpace": {"preset": "tiny"},
        },
        "status": status,
    }


def a_node(name: str, device: str, *, ready: bool = True, **spec: Any) -> dict[str, Any]:
    """A node that is a device."""
    return {
        "metadata": {
            "name": name,
            "labels": {"edgetran.io/device": device, "kubernetes.io/arch": "arm64"},
        },
        "spec": spec,
        "status": {"conditions": [{"type": "Ready", "status": "True" if ready else "Unknown"}]},
    }


def printed(view: RenderableType, columns: int = 120) -> str:
    """What a terminal of so many columns shows."""
    console = Console(width=columns, color_system=None, force_terminal=False)
    with console.capture() as captured:
        console.print(view)
    return captured.get()
