"""What kopf is told: to watch the three kinds, and to hand each event on to the engine."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, cast

import kopf

from edgetran.api import GROUP, KINDS, VERSION
from edgetran_operator.engine import Engine
from edgetran_operator.kopf_session import session
from edgetran_operator.settings import Settings

_WATCH_MARGIN_SECONDS: Final = 30.0
_LIST_CHUNK: Final = 50
"""kopf takes a page in as a whole, and resources may be large."""
_PARALLEL_EVENTS: Final = 20


class ForEver:
    """Pauses between attempts of a request, in seconds: an outage of any length is waited out."""

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((1.0, 2.0, 4.0, 8.0), itertools.repeat(15.0))


class NoDiffBase(kopf.DiffBaseStorage):
    """Keeps nothing on objects, and spares kopf the copies that only change handlers need."""

    def build(
        self,
        *,
        body: kopf.Body,  # noqa: ARG002 - kopf's signature
        extra_fields: Iterable[Any] | None = None,  # noqa: ARG002
    ) -> kopf.BodyEssence:
        """Nothing of an object."""
        return cast("kopf.BodyEssence", {})

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:  # noqa: ARG002
        """Nothing was kept."""
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Keep nothing."""


def kopf_settings(settings: Settings) -> kopf.OperatorSettings:
    """Kopf's settings: watches that cannot hang, nothing stored on objects, no peering."""
    found = kopf.OperatorSettings()
    found.watching.server_timeout = settings.watch_timeout_seconds
    found.watching.client_timeout = settings.watch_timeout_seconds + _WATCH_MARGIN_SECONDS
    found.watching.connect_timeout = _WATCH_MARGIN_SECONDS
    found.watching.inactivity_timeout = settings.watch_timeout_seconds + _WATCH_MARGIN_SECONDS
    found.watching.chunk_size = _LIST_CHUNK
    found.networking.request_timeout = _WATCH_MARGIN_SECONDS
    found.networking.error_backoffs = ForEver()
    # An event is only noted here, so few need to be in hand at a time, and none for long: thousands
    # of them at once would keep the loop from everything else.
    found.queueing.worker_limit = _PARALLEL_EVENTS
    found.queueing.idle_timeout = 0.001
    found.persistence.diffbase_storage = NoDiffBase()
    found.posting.enabled = False
    found.peering.standalone = True
    # Without rights on the whole cluster, neither namespaces nor definitions can be watched.
    found.scanning.disabled = bool(settings.namespaces)
    return found


def register(registry: kopf.OperatorRegistry, engine: Engine) -> None:
    """Register the handlers of the three kinds, and how kopf logs in.

    What exists at the start is not learnt from kopf: its indices let all objects wait for one
    another, which takes the square of their number.
    """
    kopf.on.login(registry=registry, id="login")(_login(engine))
    for kind, model in KINDS.items():
        place = (GROUP, VERSION, model.PLURAL)
        kopf.on.event(*place, registry=registry, id=f"event-{model.PLURAL}")(_note(engine, kind))


def _login(engine: Engine) -> Any:
    async def login(**kwargs: Any) -> kopf.AiohttpSession | None:
        found = kopf.login_with_service_account(**kwargs)
        if found is None:
            found = kopf.login_with_kubeconfig(**kwargs)
        else:
            found = dataclasses.replace(found, server=api_server_of_pods())
        return session(found, engine.skipped) if found is not None else None

    return login


def api_server_of_pods() -> str:
    """Where a pod finds the API server whether or not the cluster's names can be resolved.

    kopf takes the name alone, which an outage of the cluster's DNS would make useless.
    """
    host = os.environ.get("KUBERNETES_SERVICE_HOST", "kubernetes.default.svc")
    port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def _note(engine: Engine, kind: str) -> Any:
    async def note(event: Mapping[str, Any], **_: Any) -> None:
        engine.observe_resource(kind, event["object"], gone=event["type"] == "DELETED")

    return note
