"""Objects that cannot be read: counted each time, and said once."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final

from edgetran_operator.kube.border import UnreadableError, unreadable

_REMEMBERED: Final = 2000
_log = logging.getLogger(__name__)


class Skipped:
    """Tells of objects that are passed over, or read in part.

    Args:
        count: counts one, by collection and reason.
    """

    def __init__(self, count: Callable[[str, str], None]) -> None:
        self._count = count
        self._said: OrderedDict[tuple[str, str, str], tuple[str, str]] = OrderedDict()

    def say(self, collection: str, body: Mapping[str, Any], error: Exception) -> None:
        """An object of a collection could not be read.

        It is counted once for each of its versions, and said once until it can be read again.
        """
        found = unreadable(error)
        place = (collection, *place_of(body))
        metadata = body.get("metadata")
        version = str(metadata.get("resourceVersion")) if isinstance(metadata, Mapping) else ""
        before = self._said.get(place, ("", ""))
        if before == (version, found.reason):
            return
        self._count(collection, found.reason)
        self._said[place] = (version, found.reason)
        self._said.move_to_end(place)
        if len(self._said) > _REMEMBERED:
            self._said.popitem(last=False)
        if before[1] != found.reason:
            self._tell(collection, place, found)

    def _tell(self, collection: str, place: tuple[str, str, str], found: UnreadableError) -> None:
        _, namespace, name = place
        which = f"{namespace}/{name}" if name else "one whose name is not known"
        _log.warning(
            "of %s, %s cannot be read, or not all of it: it %s",
            collection,
            which,
            found,
            extra={"namespace": namespace, "reason": found.reason},
        )

    def readable(self, collection: str, body: Mapping[str, Any]) -> None:
        """An object could be read, or is gone."""
        if self._said:
            self._said.pop((collection, *place_of(body)), None)


def place_of(body: Mapping[str, Any]) -> tuple[str, str]:
    """Namespace and name of an object that may be anything; empty where it has none."""
    metadata = body.get("metadata")
    if not isinstance(metadata, Mapping):
        return "", ""
    namespace, name = metadata.get("namespace"), metadata.get("name")
    return (
        namespace if isinstance(namespace, str) else "",
        name if isinstance(name, str) else "",
    )
