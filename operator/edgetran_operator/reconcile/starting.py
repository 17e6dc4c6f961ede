"""Why a pod does not start, in the words of the scheduler, the kubelet or a volume controller."""

from __future__ import annotations

import re
from typing import Any, Final

from edgetran.api import Reason
from edgetran_operator.snapshot import PodView, Snapshot

_IMAGE: Final = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "InvalidImageName",
        "ImageInspectError",
        "RegistryUnavailable",
    }
)
_CLAIM: Final = "persistentvolumeclaim"
_AFFINITY: Final = re.compile(r"didn't match (Pod's )?node (affinity|selector)")
"""How schedulers, older ones too, say that nodes are not of the asked kind."""
_NO_GPU: Final = "Insufficient nvidia.com/gpu"


def cause(seen: Snapshot, pod: PodView) -> tuple[Reason, str] | None:
    """What keeps a pod from starting; None where nothing is known to."""
    if pod.unschedulable:
        return _unscheduled(seen, pod)
    if pod.waiting:
        image = pod.waiting.partition(":")[0] in _IMAGE
        reason = Reason.ERR_IMAGE_PULL if image else Reason.CREATE_CONTAINER_ERROR
        return reason, f"pod {pod.name} does not start: {pod.waiting}"
    word, said = seen.pod_trouble
    if pod.phase == "Pending" and pod.node and said:
        message = f"pod {pod.name} waits on node {pod.node} for a volume: {said}"
        return Reason(word), message
    return None


def _unscheduled(seen: Snapshot, pod: PodView) -> tuple[Reason, str]:
    text = pod.unschedulable
    if _CLAIM in text.lower():
        _, said = seen.claim_trouble
        known = said if said and "not found" not in text else text
        return Reason.CLAIM_PENDING, f"pod {pod.name} waits for its claim: {known}"
    if _NO_GPU in text:
        return Reason.NO_GPU, f"no node has as many free GPUs as pod {pod.name} asks for: {text}"
    said = f"no node has room for pod {pod.name}: {text}"
    if _AFFINITY.search(text) and _keeps_off_boards(seen):
        said += (
            "; training stays off boards, which are nodes with the label edgetran.io/device; add "
            "another node, or set spec.trainOnBoards: true"
        )
    return Reason.UNSCHEDULABLE, said


def _keeps_off_boards(seen: Snapshot) -> bool:
    resource: Any = seen.resource or seen.first
    return resource is not None and not getattr(resource.spec, "train_on_boards", True)
