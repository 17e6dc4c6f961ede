"""EdgeTran: the best transformer and the best edge device for a task, measured and refined."""

from edgetran import environment as environment  # first: it holds for whatever is imported later

__version__ = "0.1.0"
