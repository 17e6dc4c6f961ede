"""Runs a resource, or a chain of them, on one machine, with progress and a result."""
