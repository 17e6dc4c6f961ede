"""What a worker's pod runs, with what the administrator allows it.

The allowance is a part of the command: unlike a file or a variable, nobody who may change
ConfigMaps or `spec.podTemplate` can add to it.
"""

from __future__ import annotations

from edgetran.api.wire import ALLOW_COMMANDS, ALLOW_METER, ALLOW_TRACKER, WORKER_PROGRAM
from edgetran_operator.resources.run import Run


def worker_command(run: Run) -> list[str]:
    """The program and its arguments."""
    allow = run.settings.allow
    command = [WORKER_PROGRAM, run.component]
    if allow.commands:
        command.append(ALLOW_COMMANDS)
    command += [f"{ALLOW_METER}={address}" for address in allow.meters]
    return command + [f"{ALLOW_TRACKER}={address}" for address in allow.trackers]
