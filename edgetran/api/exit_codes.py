"""How a worker's process ends, and what that says about the work."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from edgetran.api.reasons import Reason


class ExitCode(IntEnum):
    """Exit statuses of a worker; every other one is read as UNEXPECTED."""

    DONE = 0
    """All work is done and its results are stored."""
    UNEXPECTED = 1
    """An error that nothing foresaw; the worker is started again."""
    SPEC_INVALID = 10
    """The spec breaks a rule that shows only where the work is done, such as a missing file."""
    NO_FEASIBLE_CANDIDATE = 11
    """No candidate meets the constraints."""
    MAX_FAILED_TRIALS_REACHED = 12
    """More trials failed than `spec.search.maxFailedTrials` allows."""
    DEVICE_UNUSABLE = 13
    """The device cannot do the work: an engine, a precision or a power source is missing."""
    STORAGE_UNAVAILABLE = 14
    """The storage cannot be reached or is full; the worker is started again."""
    RAY_UNAVAILABLE = 15
    """The Ray cluster cannot be reached; the worker is started again."""
    DEPENDENCY_FAILED = 16
    """Results of a resource that the work builds on cannot be used."""
    STOPPED = 143
    """SIGTERM came and the state was saved; the worker is started again."""


TERMINAL: Final = frozenset(
    {
        ExitCode.SPEC_INVALID,
        ExitCode.NO_FEASIBLE_CANDIDATE,
        ExitCode.MAX_FAILED_TRIALS_REACHED,
        ExitCode.DEVICE_UNUSABLE,
        ExitCode.DEPENDENCY_FAILED,
    }
)
"""The exit statuses after which another attempt would end in the same way."""

_REASONS: Final = {
    ExitCode.DONE: Reason.SUCCEEDED,
    ExitCode.SPEC_INVALID: Reason.SPEC_INVALID,
    ExitCode.NO_FEASIBLE_CANDIDATE: Reason.NO_FEASIBLE_CANDIDATE,
    ExitCode.MAX_FAILED_TRIALS_REACHED: Reason.MAX_FAILED_TRIALS_REACHED,
    ExitCode.STORAGE_UNAVAILABLE: Reason.STORAGE_UNAVAILABLE,
    ExitCode.RAY_UNAVAILABLE: Reason.RAY_UNAVAILABLE,
    ExitCode.DEPENDENCY_FAILED: Reason.DEPENDENCY_FAILED,
    ExitCode.STOPPED: Reason.WORKER_RETRIED,
}


def reason_of(status: int) -> Reason:
    """The reason of a condition about a worker that ended with `status`; ChildFailed for others.

    Example:
        >>> str(reason_of(11)), str(reason_of(137))
        ('NoFeasibleCandidate', 'ChildFailed')
    """
    return next(
        (reason for code, reason in _REASONS.items() if code == status), Reason.CHILD_FAILED
    )
