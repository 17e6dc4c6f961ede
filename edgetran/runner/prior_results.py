"""What a run takes over from other runs instead of measuring or searching itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgetran.profiling import Profile
from edgetran.runner.folder import RunFolder


class DependencyError(ValueError):
    """Results of another run that cannot be built on; the message says whose and why."""


@dataclass(frozen=True)
class PriorResults:
    """Results of other runs.

    Attributes:
        profiles: finished profiles by the name of their ProfilingJob; those devices are not
            measured again, not even at the end.
        search: folder of the finished search whose winner is refined; None where there is none.
        finalists: folder of the finished run whose finalists are measured, in the same way.
    """

    profiles: Mapping[str, Profile] = field(default_factory=dict)
    search: RunFolder | None = None
    finalists: RunFolder | None = None
