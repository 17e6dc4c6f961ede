"""What kopf does for the operator: the process, its signals, its end, and the login it asks for.

It watches nothing: see docs/adr/0002-one-way-to-watch.md.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Iterator
from typing import Any, Final

import kopf

_REQUEST_SECONDS: Final = 30.0


class ForEver:
    """Pauses between attempts of a request, in seconds: an outage of any length is waited out."""

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((1.0, 2.0, 4.0, 8.0), itertools.repeat(15.0))


def process_settings() -> kopf.OperatorSettings:
    """Kopf's settings: nothing is posted, scanned or asked of other operators."""
    found = kopf.OperatorSettings()
    found.networking.request_timeout = _REQUEST_SECONDS
    found.networking.error_backoffs = ForEver()
    found.posting.enabled = False
    found.peering.standalone = True
    found.scanning.disabled = True
    return found


def process_registry() -> kopf.OperatorRegistry:
    """Kopf's registry: how it logs in, and no handler of any resource."""
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry, id="login")(_login)
    return registry


async def _login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    found = kopf.login_with_service_account(**kwargs)
    if found is None:
        return kopf.login_with_kubeconfig(**kwargs)
    return dataclasses.replace(found, server=api_server_of_pods())


def api_server_of_pods() -> str:
    """Where a pod finds the API server whether or not the cluster's names can be resolved.

    kopf takes the name alone, which an outage of the cluster's DNS would make useless.
    """
    host = os.environ.get("KUBERNETES_SERVICE_HOST", "kubernetes.default.svc")
    port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
