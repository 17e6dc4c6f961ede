"""A real Kubernetes on one machine, without a Docker engine or an image registry.

Only Python's standard library is used, so that `hack/cluster` runs before anything is installed.
"""
