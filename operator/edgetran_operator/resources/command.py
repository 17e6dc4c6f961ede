"""What a worker's pod runs, with what the administrator allows it.

The allowance is a part of the command: unlike a file or a variable, nobody who may change
ConfigMaps or `spec.podTemplate` can add to it.
"""

from __future__ import annotations

from edgetran_operator.resources.run import Run


def worker_command(run: Run) -> list[str]:
    """The program and its arguments."""
    allow = run.settings.allow
    command = ["edgetran-worker", run.component]
    if allow.commands:
        command.append("--allow-commands")
    return command + [f"--allow-meter={address}" for address in allow.meters]
