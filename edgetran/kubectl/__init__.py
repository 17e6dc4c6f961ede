"""`kubectl edgetran`: look at work in a cluster, through kubectl's plugin `kubectl-edgetran`."""

from edgetran.kubectl.app import app, main

__all__ = ["app", "main"]
