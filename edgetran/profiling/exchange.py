"""A profile as one plain file, so that a fleet measures each kind of board once.

JSON: the conditions that all records share, the records, and a SHA-256 of all of it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from edgetran.profiling.measurement import Measurement
from edgetran.profiling.plan import ProfilingError, ProfilingPlan
from edgetran.profiling.profile import Profile, key_to_dict
from edgetran.records import write_atomically

FORMAT: Final = "edgetran-profile"
SCHEMA_VERSION: Final = 1
MOST_BYTES: Final = 64 * 2**20
"""The largest file that is read: more than any profile has."""

_HASH: Final = "sha256"


def export_profile(
    profile: Profile, path: str | os.PathLike[str], *, kind: Mapping[str, Any] | None = None
) -> str:
    """Write a profile's counting records to a file, whole or not at all; its SHA-256.

    Args:
        profile: what was measured.
        path: the file.
        kind: which kind of device it was, such as its board and processor.
    """
    data: dict[str, Any] = {
        "format": FORMAT,
        "schemaVersion": SCHEMA_VERSION,
        "conditions": {**key_to_dict(profile.key), "kind": dict(kind or {})},
        "records": [{**each.to_dict(), "raw_samples": None} for each in profile.measurements],
    }
    data[_HASH] = _content_sha256(data)
    write_atomically(path, json.dumps(data, indent=1, allow_nan=False) + "\n")
    digest: str = data[_HASH]
    return digest


def import_profile(path: str | os.PathLike[str], *, seed: int = 0) -> Profile:
    """The profile that a file holds, its content checked by hash.

    Args:
        path: what `export_profile` wrote.
        seed: of cross-validation.

    Raises:
        ProfilingError: one sentence on why it is none, or is not as it was written.
        OSError: it cannot be read.
    """
    path = Path(path)
    if path.stat().st_size > MOST_BYTES:
        raise ProfilingError(f"{path}: is not a profile: it has more than {MOST_BYTES >> 20} MiB")
    try:
        data = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ProfilingError(
            f"{path}: is not an exported profile; allowed is a file of `edgetran profile export`"
        )
    if data.get("schemaVersion") != SCHEMA_VERSION:
        raise ProfilingError(
            f"{path}: schemaVersion {data.get('schemaVersion')!r} given; this version of edgetran "
            f"reads {SCHEMA_VERSION}"
        )
    if data.get(_HASH) != _content_sha256(data):
        raise ProfilingError(
            f"{path}: its content is not what its SHA-256 says; it was changed since it was "
            "exported, or was cut off"
        )
    return _profile(path, data, seed)


def check_prior(prior: Profile, plan: ProfilingPlan, source: str) -> None:
    """Refuse an imported profile that says nothing of what a plan measures.

    Another device, other threads, other versions are what priors are for; the engine, the
    precision, the batch and the length decide what is computed.

    Raises:
        ProfilingError: naming the first condition that differs.
    """
    key = prior.key
    for name, given, wanted in (
        ("engine", key.engine, plan.engine),
        ("precision", key.precision, plan.precision),
        ("batch", key.workload.batch_size, plan.workload.batch_size),
        ("length", key.workload.sequence_length, plan.workload.sequence_length),
    ):
        if given != wanted:
            raise ProfilingError(
                f"{source}: was measured with {name} {given}, and {plan.device} is measured with "
                f"{wanted}; allowed is the same in both"
            )


def _profile(path: Path, data: Mapping[str, Any], seed: int) -> Profile:
    try:
        records = [Measurement.from_dict(record) for record in data["records"]]
        if not records:
            raise ProfilingError(f"{path}: holds no measurement")
        key = records[-1].key
        told = {name: value for name, value in data["conditions"].items() if name != "kind"}
    except ProfilingError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ProfilingError(f"{path}: {error}") from None
    if told != json.loads(json.dumps(key_to_dict(key))) or any(r.key != key for r in records):
        raise ProfilingError(f"{path}: not all of its records were made in its conditions")
    with TemporaryDirectory(prefix="edgetran-profile-") as folder:
        log = Path(folder) / "profile.jsonl"
        log.write_text("".join(json.dumps(record.to_dict()) + "\n" for record in records))
        profile = Profile.load(log, key=key, seed=seed)
    _ = profile.surrogate  # what cannot predict is no prior
    return profile


def _content_sha256(data: Mapping[str, Any]) -> str:
    """Of everything but the hash itself, whatever the order of keys and the spaces are."""
    rest = {name: value for name, value in data.items() if name != _HASH}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
