"""EdgeTran: the best transformer and the best edge device for a task, measured and refined."""

__version__ = "0.1.0"
