"""SIGTERM stops the worker that it is sent to, and nothing else does."""

import signal
import subprocess
import sys

SCRIPT = """
import os, signal, sys, threading
from multiprocessing import get_context
import time
from edgetran_workers.stopping import on_sigterm

stopped = threading.Event()
on_sigterm(stopped.set)
child = get_context("fork").Process(target=time.sleep, args=(60,))
child.start()
child.terminate()
child.join(10)
print("child", child.exitcode, "stopped", stopped.is_set(), flush=True)
os.kill(os.getpid(), signal.SIGTERM)
print("stopped", stopped.wait(10), flush=True)
"""


def test_a_forked_child_that_is_terminated_does_not_stop_the_worker():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert lines == [f"child {-signal.SIGTERM} stopped False", "stopped True"], done.stderr
