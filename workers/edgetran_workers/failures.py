"""From what went wrong to how the worker ends: exit status, and one sentence for its pod."""

from __future__ import annotations

import contextlib
import errno
import json
import re
from pathlib import Path
from typing import Final

from edgetran.api import ExitCode, Reason, SpecError, reason_of
from edgetran.api.wire import Termination
from edgetran.devices import DeviceError, EngineError
from edgetran.gptran import BudgetError, GPTranError
from edgetran.profiling import ProfilingError
from edgetran.records import RecordError
from edgetran.runner.folder import RunFolderError
from edgetran.runner.inputs import ContentError
from edgetran.runner.prior_results import DependencyError
from edgetran.runner.run import NoWinnerError
from edgetran.search import InfeasibleSearchError, SearchError, SearchFailedError
from edgetran.space import ArchitectureError, DesignSpaceError
from edgetran.training import PlanError, RayClusterError, TaskError
from edgetran_workers.storage import StorageError, StorageSpecError
from edgetran_workers.work import WorkError


class MissingPackageError(RuntimeError):
    """A package that the work needs and the image has not."""


_CODES: Final[tuple[tuple[type[BaseException], ExitCode], ...]] = (
    (DependencyError, ExitCode.DEPENDENCY_FAILED),
    (InfeasibleSearchError, ExitCode.NO_FEASIBLE_CANDIDATE),
    (NoWinnerError, ExitCode.NO_FEASIBLE_CANDIDATE),
    (SearchFailedError, ExitCode.MAX_FAILED_TRIALS_REACHED),
    (EngineError, ExitCode.DEVICE_UNUSABLE),
    (ProfilingError, ExitCode.DEVICE_UNUSABLE),
    (MissingPackageError, ExitCode.DEVICE_UNUSABLE),
    (StorageSpecError, ExitCode.SPEC_INVALID),
    (StorageError, ExitCode.STORAGE_UNAVAILABLE),
    (ContentError, ExitCode.SPEC_INVALID),
    (RunFolderError, ExitCode.STORAGE_UNAVAILABLE),
    (RecordError, ExitCode.STORAGE_UNAVAILABLE),
    (RayClusterError, ExitCode.RAY_UNAVAILABLE),
    (SpecError, ExitCode.SPEC_INVALID),
    (WorkError, ExitCode.SPEC_INVALID),
    (TaskError, ExitCode.SPEC_INVALID),
    (PlanError, ExitCode.SPEC_INVALID),
    (SearchError, ExitCode.SPEC_INVALID),
    (DesignSpaceError, ExitCode.SPEC_INVALID),
    (ArchitectureError, ExitCode.SPEC_INVALID),
    (DeviceError, ExitCode.SPEC_INVALID),
    (BudgetError, ExitCode.SPEC_INVALID),
)
"""The first type that fits decides; GPTranError and all others are UNEXPECTED and tried again."""

_STORAGE_ERRNOS: Final = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.EACCES, errno.EPERM}
)
_MESSAGE_BYTES: Final = 1500
"""A kubelet keeps 4096 bytes of a termination message, in JSON that may double their number."""


def exit_code_of(error: BaseException) -> ExitCode:
    """How the worker ends because of `error`."""
    if isinstance(error, OSError) and error.errno in _STORAGE_ERRNOS:
        return ExitCode.STORAGE_UNAVAILABLE
    return next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.UNEXPECTED)


def sentence_of(error: BaseException) -> str:
    """One line for people; the type is named where the error is not one of ours."""
    lines = [line.strip() for line in _plain(str(error)).splitlines() if line.strip()]
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    if type(error).__module__.startswith("edgetran") and lines:
        return "; ".join(lines)
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def is_foreseen(error: BaseException) -> bool:
    """Whether its sentence says enough without a traceback."""
    return exit_code_of(error) is not ExitCode.UNEXPECTED or isinstance(error, GPTranError)


def write_termination(path: Path, code: int, message: str, reason: Reason | None = None) -> None:
    """Leave `{"reason", "message"}` for the pod's status; one that cannot be written is let be."""
    cut = message.encode()[:_MESSAGE_BYTES].decode(errors="ignore")
    ended = Termination(reason=str(reason or reason_of(code)), message=cut)
    text = json.dumps(ended.model_dump(by_alias=True))
    with contextlib.suppress(OSError):  # not in a pod: the exit status says what matters most
        path.write_text(text, encoding="utf-8")


def _plain(text: str) -> str:
    """The text without the colours that Ray's errors have."""
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
