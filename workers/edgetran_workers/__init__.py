"""What runs in pods: workers that measure, search and refine, and report their results."""

from edgetran import environment as environment  # first: it holds for whatever is imported later
