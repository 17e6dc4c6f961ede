"""One pure function per kind: what is seen of a resource, and what is to be done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from edgetran_operator.plan import Plan
from edgetran_operator.reconcile.gptran import reconcile_gptran
from edgetran_operator.reconcile.profiling import reconcile_profiling
from edgetran_operator.reconcile.search import reconcile_search
from edgetran_operator.snapshot import Snapshot

RECONCILERS: Final[Mapping[str, Callable[[Snapshot], Plan]]] = {
    "ProfilingJob": reconcile_profiling,
    "CoDesignSearch": reconcile_search,
    "GPTranRun": reconcile_gptran,
}

__all__ = ["RECONCILERS", "reconcile"]


def reconcile(seen: Snapshot) -> Plan:
    """What is to be done for a resource: the same for the same snapshot."""
    return RECONCILERS[seen.kind](seen)
