"""The command line: `edgetran`.

Exit status: 0 done, 1 a run that failed, 2 bad input, 130 interrupted by Ctrl-C.
"""

from edgetran.cli.app import app, main

__all__ = ["app", "main"]
