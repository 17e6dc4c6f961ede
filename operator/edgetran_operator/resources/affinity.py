"""Affinities that are added to one another, so that none of them is lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"
_TERM_FIELDS: Final = ("matchExpressions", "matchFields")


def joined(first: Mapping[str, Any], second: Any) -> Any:
    """`second`, with all that `first` requires required too.

    What is not as a corev1.Affinity is comes back as it is, for the API server to refuse.
    """
    if second is None:
        return dict(first)
    if not isinstance(second, Mapping):
        return second
    result = dict(second)
    node = first.get("nodeAffinity", {}).get(REQUIRED)
    if node is not None:
        result["nodeAffinity"] = _joined_node(node, second.get("nodeAffinity"))
    for part in ("podAffinity", "podAntiAffinity"):
        terms = first.get(part, {}).get(REQUIRED)
        if terms:
            result[part] = _joined_pods(terms, second.get(part))
    return result


def _joined_pods(terms: list[Any], second: Any) -> Any:
    if second is None:
        return {REQUIRED: terms}
    if not isinstance(second, Mapping):
        return second
    more = second.get(REQUIRED) or []
    if not isinstance(more, list):
        return second
    return {**second, REQUIRED: [*terms, *(term for term in more if term not in terms)]}


def _joined_node(required: Mapping[str, Any], second: Any) -> Any:
    if second is None:
        return {REQUIRED: required}
    if not isinstance(second, Mapping):
        return second
    more = second.get(REQUIRED)
    if more is None or more == required:
        return {**second, REQUIRED: required}
    terms = more.get("nodeSelectorTerms") if isinstance(more, Mapping) else None
    if not isinstance(terms, list) or not all(isinstance(term, Mapping) for term in terms):
        return second
    own = required["nodeSelectorTerms"]
    both = [_both(ours, theirs) for ours in own for theirs in terms] or own
    return {**second, REQUIRED: {**more, "nodeSelectorTerms": both}}


def _both(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """A node fits a term where it fits all in it, and any of the terms."""
    term = {}
    for field in _TERM_FIELDS:
        wanted = [*ours.get(field, ()), *(theirs.get(field) or ())]
        if wanted:
            term[field] = wanted
    return {**theirs, **term}
