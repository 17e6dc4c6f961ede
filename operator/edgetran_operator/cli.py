"""`edgetran-operator`: run the operator."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from edgetran import __version__
from edgetran_operator.settings import SettingsError, load_settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the operator until it is stopped; the process's exit status."""
    parser = argparse.ArgumentParser(
        prog="edgetran-operator",
        description="Reconcile ProfilingJobs, CoDesignSearches and GPTranRuns.",
    )
    parser.add_argument("--config", type=Path, help="YAML file of settings")
    parser.add_argument(
        "--kubeconfig", type=Path, help="kubeconfig, where the operator runs outside a cluster"
    )
    parser.add_argument("--version", action="version", version=__version__)
    given = parser.parse_args(arguments)
    try:
        settings = load_settings(given.config, os.environ)
    except SettingsError as error:
        print(f"edgetran-operator: {error}", file=sys.stderr)  # noqa: T201 - a command's answer
        return 2
    from kubernetes.aio.config import ConfigException

    from edgetran_operator.app import run_operator
    from edgetran_operator.kube.lease import LeaseLostError
    from edgetran_operator.logs import set_up_logs

    set_up_logs(settings.log_level)
    _spare_collections()
    try:
        asyncio.run(run_operator(settings, given.kubeconfig))
    except (OSError, ConfigException, LeaseLostError) as error:
        print(f"edgetran-operator: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _spare_collections() -> None:
    """Let the garbage collector pause the event loop less often, and for less long.

    Modules stay for good, so full collections need not walk them; and what thousands of resources
    take stays too, so that collecting all of it is worth its tenths of a second only now and then.
    """
    gc.freeze()
    gc.set_threshold(10_000, 10, 50)


if __name__ == "__main__":
    sys.exit(main())
