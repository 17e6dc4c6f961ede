"""Which of several operators acts: the one that holds a Lease, by kubernetes' own election."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Any, Final

from kubernetes.aio.client import ApiException
from kubernetes.aio.leaderelection.electionconfig import Config
from kubernetes.aio.leaderelection.leaderelection import LeaderElection
from kubernetes.aio.leaderelection.leaderelectionrecord import LeaderElectionRecord
from kubernetes.aio.leaderelection.resourcelock.baselock import BaseLock

from edgetran_operator.kube.client import UNREACHABLE, ApiError, Client

LEASE_SECONDS: Final = 15
"""How long others wait for a holder that says nothing."""
RENEW_SECONDS: Final = 8
"""How long a holder tries to renew its Lease before it ends."""
RETRY_SECONDS: Final = 2
"""Time between two attempts to get or to renew it."""
REQUEST_SECONDS: Final = 2
"""Longest time of one of the two requests of an attempt."""
LONGEST_SECONDS: Final = RETRY_SECONDS + RENEW_SECONDS + 2 * REQUEST_SECONDS
"""How long a holder goes on after it last renewed: a pause, then attempts, the last of which begins
just in time. It is less than the Lease's own time, so that it ends before another one begins."""

_log = logging.getLogger(__name__)


class LeaseLostError(Exception):
    """Another operator may act from now on: this one must end at once."""


class Leadership:
    """Holds a Lease of coordination.k8s.io, or waits for it.

    Attributes:
        held: set once this operator is the one that acts.
    """

    def __init__(self, client: Client, namespace: str, name: str, identity: str) -> None:
        self.held = asyncio.Event()
        self._client = client
        self._lock = _Lock(client, namespace, name, identity)

    async def keep(self) -> None:
        """Wait for the Lease, then renew it for ever; gives it back where it is cancelled.

        Raises:
            LeaseLostError: it could not be renewed in time.
        """
        lock = self._lock
        # The library's own lines are of single attempts, with tracebacks of what is no accident.
        logging.getLogger("kubernetes.aio.leaderelection").setLevel(logging.CRITICAL)
        config = Config(lock, LEASE_SECONDS, RENEW_SECONDS, RETRY_SECONDS, self._begin, _nothing)
        _log.info("%s waits for Lease/%s in %s", lock.identity, lock.name, lock.namespace)
        try:
            await LeaderElection(config).run()
        except asyncio.CancelledError:
            await self._give_back()
            raise
        raise LeaseLostError(
            f"Lease/{lock.name} in {lock.namespace} could not be renewed for {RENEW_SECONDS} s; "
            "another operator may act now"
        )

    async def _begin(self) -> None:
        _log.info("%s holds Lease/%s and acts", self._lock.identity, self._lock.name)
        self.held.set()

    async def _give_back(self) -> None:
        """Let the next one begin at once, where the Lease is still this operator's."""
        if not self.held.is_set():
            return
        place = ("Lease", self._lock.namespace, self._lock.name)
        try:
            lease = await self._client.read(*place)
            if lease.get("spec", {}).get("holderIdentity") != self._lock.identity:
                return
            version = {"resourceVersion": lease["metadata"]["resourceVersion"]}
            patch = {"metadata": version, "spec": {"holderIdentity": None}}
            await self._client.merge(*place, patch)
        except (ApiError, *UNREACHABLE) as error:
            _log.debug("the Lease was not released: %s", error)


class _Lock(BaseLock):
    """The Lease as the election takes it.

    The library's own lock of this kind cannot make a Lease with the library's own client (version
    37), and an API server that gives no answer is an accident to it; here it is a failed attempt.
    """

    def __init__(self, client: Client, namespace: str, name: str, identity: str) -> None:
        super().__init__(name, namespace, identity)
        self._client = client
        self._version = ""

    async def get(self, name: str, namespace: str) -> tuple[bool, Any]:
        """Whether the Lease could be read, and what is in it, or why it could not."""
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                lease = await self._client.read("Lease", namespace, name)
        except (ApiError, *UNREACHABLE) as error:
            status = error.status if isinstance(error, ApiError) else 0
            refused = ApiException(status=status, reason=str(error) or type(error).__name__)
            refused.body = json.dumps({"code": status})
            return False, refused
        self._version = lease["metadata"]["resourceVersion"]
        spec = lease.get("spec", {})
        return True, LeaderElectionRecord(
            spec.get("holderIdentity") or None,
            spec.get("leaseDurationSeconds"),
            spec.get("acquireTime"),
            spec.get("renewTime"),
        )

    async def create(
        self, name: str, namespace: str, election_record: LeaderElectionRecord
    ) -> bool:
        """Make the Lease; whether nobody was quicker."""
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": name},
            "spec": _spec(election_record),
        }
        return await self._done(self._client.create("Lease", namespace, body))

    async def update(self, name: str, namespace: str, updated_record: LeaderElectionRecord) -> bool:
        """Write the Lease; whether nobody did since it was read."""
        version = {"resourceVersion": self._version}
        patch = {"metadata": version, "spec": _spec(updated_record)}
        return await self._done(self._client.merge("Lease", namespace, name, patch))

    async def _done(self, call: Awaitable[Any]) -> bool:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                await call
        except (ApiError, *UNREACHABLE) as error:
            _log.debug("Lease/%s was not written: %s", self.name, error)
            return False
        return True


def _spec(record: LeaderElectionRecord) -> dict[str, Any]:
    return {
        "holderIdentity": record.holder_identity,
        "leaseDurationSeconds": int(record.lease_duration or LEASE_SECONDS),
        "acquireTime": _micro_time(record.acquire_time),
        "renewTime": _micro_time(record.renew_time),
    }


def _micro_time(text: str | None) -> str | None:
    """A metav1.MicroTime; the library's own texts are local times without a zone."""
    if text is None:
        return None
    return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


async def _nothing() -> None:
    """What is to be done after the loss is done by whoever waits for `keep`."""
