"""Resources that nobody should get away with: half of them by hand, half of them generated.

Every one has a mistake at a known place; what is missing beside it may be a mistake as well.
"""

from __future__ import annotations

import copy
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

PROFILING_JOB = {
    "apiVersion": "edgetran.io/v1alpha1",
    "kind": "ProfilingJob",
    "metadata": {"name": "board"},
    "spec": {
        "device": {"name": "pi", "nodeSelector": {"edgetran.io/device": "pi"}},
        "designSpace": {"preset": "tiny"},
    },
}
SEARCH = {
    "apiVersion": "edgetran.io/v1alpha1",
    "kind": "CoDesignSearch",
    "metadata": {"name": "search"},
    "spec": {
        "task": {"name": "movie-reviews"},
        "designSpace": {"preset": "tiny"},
        "devices": [
            {"name": "pi", "nodeSelector": {"edgetran.io/device": "pi"}},
            {"name": "jetson", "simulation": "jetson-nano-gpu"},
        ],
        "storage": {"newClaim": {"size": "1Gi"}},
    },
}
RUN = {
    "apiVersion": "edgetran.io/v1alpha1",
    "kind": "GPTranRun",
    "metadata": {"name": "refined"},
    "spec": {"searchRef": {"name": "search"}},
}
GOOD = {"ProfilingJob": PROFILING_JOB, "CoDesignSearch": SEARCH, "GPTranRun": RUN}

PJ, CDS, GPT = GOOD
INLINE = {"layers": [2], "hiddenSizes": [64], "heads": [2], "feedForwardWidths": [128]}
SHAPE = {"layers": 2, "hiddenSize": 64, "heads": 2, "feedForward": [128]}
LAYERS = {"l": 1, "h": [64], "f": [[128]], "o": [["sa_sdp_32", "c_5_32"]]}
LONG = "x" * 5000
HUGE = [f"m{number}" for number in range(5000)]
GONE = object()


@dataclass(frozen=True)
class Bad:
    """A resource with a mistake.

    Attributes:
        name: what is wrong, in a word or two, for the test's name.
        document: the resource.
        place: where the mistake is.
        unknown: whether the mistake is a field that does not exist, which an API server drops.
    """

    name: str
    document: dict[str, Any]
    place: str
    unknown: bool = False


# Kind, place, and what is put there.
_BY_HAND: list[tuple[str, str, Any]] = [
    # Names.
    (PJ, "metadata.name", "a" * 48),
    (PJ, "metadata.name", "a" * 254),
    (PJ, "metadata.name", "Board"),
    (PJ, "metadata.name", "board_1"),
    (PJ, "metadata.name", "board.one"),
    (PJ, "metadata.name", "-board"),
    (PJ, "metadata.name", "плата"),
    (PJ, "metadata.name", "board 🍓"),
    (CDS, "metadata.name", "a" * 27),
    (GPT, "metadata.name", "a" * 37),
    (PJ, "metadata.labels", {"a b": "c"}),
    (PJ, "metadata.labels", {"a": "c d"}),
    # Wrong types.
    (PJ, "spec", []),
    (PJ, "spec", "device"),
    (PJ, "spec", GONE),
    (PJ, "spec.device", "pi"),
    (PJ, "spec.device", GONE),
    (PJ, "spec.device", []),
    (PJ, "spec.device.name", 3),
    (PJ, "spec.device.nodeSelector", ["a=b"]),
    (PJ, "spec.device.nodeSelector", {"a": 1}),
    (PJ, "spec.device.tolerations", {"key": "a"}),
    (PJ, "spec.device.tolerations", ["a"]),
    (PJ, "spec.suspend", "yes"),
    (PJ, "spec.suspend", 1),
    (PJ, "spec.backoffLimit", "3"),
    (PJ, "spec.backoffLimit", 1.5),
    (PJ, "spec.backoffLimit", [3]),
    (PJ, "spec.sampling.targetError", "5%"),
    (PJ, "spec.sampling.targetError", True),
    (PJ, "spec.models", "m"),
    (PJ, "spec.seed", "zero"),
    (CDS, "spec.devices", {"name": "pi"}),
    (CDS, "spec.devices[0]", None),
    (CDS, "spec.task", "movie-reviews"),
    (CDS, "spec.task", 7),
    (CDS, "spec.objective.weights", [0.5, 0.5]),
    (CDS, "spec.constraints.latencyMs", 40),
    (CDS, "spec.podTemplate.spec", ["a"]),
    (CDS, "spec.podTemplate.metadata.labels", {"a": {"b": "c"}}),
    (GPT, "spec.searchRef", "search"),
    (GPT, "spec.stages", "pruneHeads"),
    (GPT, "spec.stages", [["pruneHeads"]]),
    # Fields that do not exist.
    (PJ, "spec.devise", {"name": "pi"}),
    (PJ, "spec.device.cpu", True),
    (PJ, "spec.device.nodeselector", {"a": "b"}),
    (PJ, "spec.workload.batch_size", 1),
    (PJ, "spec.command", "rm -rf /"),
    (CDS, "spec.search.maxtrials", 3),
    (CDS, "spec.devices[0].image", "evil"),
    (CDS, "spec.priority", 1),
    (GPT, "spec.searchRef.namespace", "other"),
    (GPT, "spec.cycle", 1),
    # Extreme numbers.
    (PJ, "spec.backoffLimit", -1),
    (PJ, "spec.backoffLimit", 101),
    (PJ, "spec.backoffLimit", 2**63),
    (PJ, "spec.activeDeadlineSeconds", 0),
    (PJ, "spec.activeDeadlineSeconds", 10**12),
    (PJ, "spec.ttlSecondsAfterFinished", -(2**40)),
    (PJ, "spec.seed", 2**31),
    (PJ, "spec.seed", -1),
    (PJ, "spec.workload.batchSize", 0),
    (PJ, "spec.workload.sequenceLength", 10**9),
    (PJ, "spec.sampling.targetError", 0),
    (PJ, "spec.sampling.targetError", 1e308),
    (PJ, "spec.measurement.maxDrift", -0.0001),
    (PJ, "spec.device.threads", 10**6),
    (CDS, "spec.search.maxTrials", 100_001),
    (CDS, "spec.search.maxTrials", -5),
    (CDS, "spec.objective.weights.latency", 101),
    (CDS, "spec.objective.normalisers.latencyMs", 0),
    (CDS, "spec.constraints.accuracy", {"min": 1.01}),
    (CDS, "spec.ray.gpusPerTrial", -0.5),
    (GPT, "spec.parallelTrials", 10**9),
    # Long and strange texts.
    (PJ, "spec.models[0]", "../../etc/passwd"),
    (PJ, "spec.models[0]", "a/../../b"),
    (PJ, "spec.models[0]", ""),
    (PJ, "spec.models[0]", LONG),
    (PJ, "spec.models[0]", "a\nb"),
    (PJ, "spec.models[0]", "a\u0000b"),
    (PJ, "spec.device.name", "a" * 21),
    (PJ, "spec.device.name", "ПИ"),
    (PJ, "spec.device.name", ""),
    (PJ, "spec.device.name", "pi\u202e"),
    (PJ, "spec.device.runtimeClassName", LONG),
    (PJ, "spec.device.nodeSelector", {"a": "🍓"}),
    (PJ, "spec.device.nodeSelector", {"a/b/c": "d"}),
    (PJ, "spec.device.nodeSelector", {"": "d"}),
    (PJ, "spec.device.nodeSelector", {}),
    (PJ, "spec.device.energy", {"source": "external", "meter": "gopher://x"}),
    (PJ, "spec.storage", {"uri": "s3://bucket/../other"}),
    (PJ, "spec.storage", {"uri": "not an address"}),
    (PJ, "spec.storage", {"uri": "s3://key:hunter2@bucket/folder"}),
    (PJ, "spec.storage", {"uri": "key:hunter2@bucket"}),
    (PJ, "spec.storage", {"uri": "gs://bucket/folder?token=hunter2"}),
    (PJ, "spec.storage", {"uri": "s3://bucket/%2e%2e/other"}),
    (PJ, "spec.storage", {"uri": "s3://bucket::file:///etc/passwd"}),
    (PJ, "spec.storage", {"uri": "file:///etc"}),
    (PJ, "spec.storage", {"uri": "http://169.254.169.254/latest"}),
    (PJ, "spec.models[0]", "a\\..\\..\\b"),
    (PJ, "spec.models[0]", "%2e%2e/a"),
    (PJ, "spec.models[0]", "https://me:hunter2@host/a"),
    (PJ, "spec.device.energy", {"source": "external", "meter": "http://me:hunter2@meter/"}),
    (PJ, "spec.device.energy", {"source": "external", "meter": "http://meter/a/../b"}),
    (PJ, "spec.device.energy", {"source": "external", "meter": "serial:/etc/passwd"}),
    (PJ, "spec.storage", {"newClaim": {"size": "much"}}),
    (PJ, "spec.storage", {"newClaim": {"size": "-1Gi"}}),
    (PJ, "spec.storage", {"claim": {"name": "../up"}}),
    (PJ, "spec.storage", {"claim": {"name": "c", "subPath": "../up"}}),
    (CDS, "spec.task", {"folder": "../secret"}),
    (CDS, "spec.task", {"files": {"train": "a.csv", "textColumn": ""}}),
    (CDS, "spec.ray", {"mode": "cluster", "address": "http://a b:1"}),
    (GPT, "spec.searchRef.name", "other/search"),
    (GPT, "spec.searchRef.name", LONG),
    # Choices.
    (PJ, "spec.device.engine", "tensorrt"),
    (PJ, "spec.device.precision", "FP32"),
    (PJ, "spec.measurement.mode", ""),
    (PJ, "spec.sampling.method", "random"),
    (CDS, "spec.search.method", "BOSHCODE"),
    (CDS, "spec.devices[1].simulation", "raspberry-pi-99"),
    (CDS, "spec.task", {"name": "imdb"}),
    (CDS, "spec.task", {"hub": "glue/ax"}),
    (GPT, "spec.importance", "random"),
    (GPT, "spec.targets", {"speedup": [1]}),
    (GPT, "spec.targets", {"speedup": [2, 2]}),
    (GPT, "spec.targets", {}),
    (GPT, "spec.stepsPerTarget", 5),
    (GPT, "spec.confidence", 1),
    (GPT, "spec.calibrationExamples", 7),
    (GPT, "spec.distillation.teacher", "bert"),
    # Huge and empty lists.
    (PJ, "spec.models", HUGE),
    (PJ, "spec.models", []),
    (PJ, "spec.models", ["m", "m"]),
    (PJ, "spec.device.tolerations", [{"key": "a"}] * 17),
    (PJ, "spec.device.nodeSelector", {f"k{number}": "v" for number in range(65)}),
    (CDS, "spec.devices", []),
    (CDS, "spec.devices", [{"name": f"d{n}", "simulation": "nvidia-a100"} for n in range(33)]),
    (CDS, "spec.devices", [{"name": "d", "simulation": "nvidia-a100"}] * 2),
    (CDS, "spec.designSpace", {**INLINE, "layers": list(range(1, 60))}),
    (CDS, "spec.designSpace", {**INLINE, "heads": [2, 2]}),
    (CDS, "spec.baseline", {"architecture": {"modelDict": {**LAYERS, "h": [64] * 49}}}),
    (GPT, "spec.stages", []),
    # Rules that span fields.
    (PJ, "spec.designSpace", GONE),
    (PJ, "spec.models", ["m"]),
    (PJ, "spec.device.host", True),
    (PJ, "spec.device.host", False),
    (PJ, "spec.device.nodeSelector", GONE),
    (PJ, "spec.device", {"name": "a", "engine": "openvino", "accelerator": "cuda", "host": True}),
    (PJ, "spec.device.precision", "fp16"),
    (PJ, "spec.device", {"name": "a", "simulation": "nvidia-a100", "threads": 4}),
    (PJ, "spec.device.quantization", {"method": "dynamic"}),
    (
        PJ,
        "spec.device",
        {"name": "a", "host": True, "precision": "int8", "quantization": {"method": "static"}},
    ),
    (PJ, "spec.device.energy", {"source": "external"}),
    (PJ, "spec.device.tolerations", [{"operator": "Exists", "value": "a"}]),
    (PJ, "spec.sampling", {"initial": 20, "maxMeasurements": 10}),
    (PJ, "spec.storage", {}),
    (PJ, "spec.storage", {"claim": {"name": "a"}, "uri": "s3://a"}),
    (PJ, "spec.storage", {"claim": {"name": "a"}, "secret": "s"}),
    (CDS, "spec.objective.weights", {"accuracy": 0}),
    (CDS, "spec.search", {"maxTrials": 3, "initialTrials": 4}),
    (CDS, "spec.search", {"maxTrials": 3, "parallelTrials": 4}),
    (CDS, "spec.constraints", {"latencyMs": {"min": 2, "max": 1}}),
    (CDS, "spec.constraints", {"latencyMs": {}}),
    (CDS, "spec.task", {"name": "movie-reviews", "folder": "a"}),
    (CDS, "spec.task", {"name": "movie-reviews", "glueTask": "rte"}),
    (CDS, "spec.task", {"name": "movie-reviews", "tokenizer": {}}),
    (CDS, "spec.designSpace", {"preset": "tiny", "layers": [2]}),
    (CDS, "spec.designSpace", {"layers": [2]}),
    (CDS, "spec.designSpace", {**INLINE, "heads": [128]}),
    (CDS, "spec.ray", {"mode": "cluster"}),
    (CDS, "spec.ray", {"address": "a:1"}),
    (CDS, "spec.devices[1].profileRef", {"name": "a"}),
    (CDS, "spec.baseline", {"architecture": {"modelDict": {**LAYERS, "l": 2}}}),
    (
        CDS,
        "spec.baseline",
        {"architecture": {"modelDict": {**LAYERS, "o": [["c_5_32", "c_5_64"]]}}},
    ),
    (CDS, "spec.baseline", {"architecture": {"homogeneous": {**SHAPE, "heads": 65}}}),
    (GPT, "spec.searchRef", GONE),
    (GPT, "spec.model", "m"),
    (GPT, "spec.task", {"name": "movie-reviews"}),
    (GPT, "spec.distillation", {"weight": 0, "hiddenWeight": 0}),
]


def by_hand() -> list[Bad]:
    """The mistakes that people make, and those that attackers try."""
    found = []
    for number, (kind, place, value) in enumerate(_BY_HAND):
        document = changed(GOOD[kind], place, value)
        name = f"{number}-{kind}-{place}"
        found.append(Bad(name, document, place, unknown=_is_unknown(place)))
    return found


_UNKNOWN = {
    *("spec.devise", "spec.device.cpu", "spec.device.nodeselector", "spec.workload.batch_size"),
    *("spec.command", "spec.search.maxtrials", "spec.devices[0].image", "spec.priority"),
    *("spec.searchRef.namespace", "spec.cycle"),
}


def _is_unknown(place: str) -> bool:
    return place in _UNKNOWN


def changed(document: Mapping[str, Any], place: str, value: Any) -> dict[str, Any]:
    """A copy with `value` at the place, such as `spec.devices[0].name`; GONE removes it."""
    copied = copy.deepcopy(dict(document))
    parts = [int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", place)]
    last = parts[-1]
    holder: Any = copied
    for part, after in pairwise(parts):
        if isinstance(part, str) and part not in holder:
            holder[part] = [] if isinstance(after, int) else {}
        holder = holder[part]
    if value is GONE:
        del holder[last]
    elif isinstance(last, int) and last == len(holder):
        holder.append(value)
    else:
        holder[last] = value
    return copied


def generated(schemas: Mapping[str, Mapping[str, Any]], count: int, seed: int = 0) -> list[Bad]:
    """As many mistakes made by chance, the same ones for the same seed.

    Args:
        schemas: the structural schema of each kind.
        count: how many.
        seed: of the choices.
    """
    rng = random.Random(seed)  # noqa: S311
    found: dict[tuple[str, str, str], Bad] = {}
    while len(found) < count:
        kind = rng.choice(sorted(schemas))
        spec = schemas[kind]["properties"]["spec"]
        place, schema = rng.choice([pair for pair in _places(spec, "spec") if "[" not in pair[0]])
        what, value = rng.choice(list(_mistakes(schema, rng)))
        where = f"{place}.{value[0]}" if what == "unknown" else place
        if _blocked(GOOD[kind], where):
            continue
        document = changed(GOOD[kind], where, value[1] if what == "unknown" else value)
        name = f"{len(found)}-{kind}-{place}-{what}"
        found.setdefault((kind, place, what), Bad(name, document, where, what == "unknown"))
    return list(found.values())


def _places(schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from _places(part, f"{path}.{name}")


def _blocked(document: Mapping[str, Any], place: str) -> bool:
    """Whether something that is no mapping stands in the way."""
    holder: Any = document
    for part in place.split(".")[:-1]:
        if not isinstance(holder, dict):
            return True
        holder = holder.get(part, {})
    return not isinstance(holder, dict)


def _mistakes(schema: Mapping[str, Any], rng: random.Random) -> Iterator[tuple[str, Any]]:
    """What goes wrong, and a value that does not fit the schema."""
    others = {
        "string": [7, True, {"a": 1}, ["a"]],
        "integer": ["7", 1.5, True, [7], {}],
        "number": ["1.0", False, [1.0], {}],
        "boolean": ["true", 1, []],
        "array": [{"a": 1}, "a", 3],
        "object": ["a", 3, [1]],
    }
    yield "type", rng.choice(others[schema["type"]])
    if "maximum" in schema:
        yield "large", schema["maximum"] * rng.choice([2, 10**6]) + 1
    if "minimum" in schema:
        yield "small", schema["minimum"] - rng.choice([1, 10**9])
    if "maxLength" in schema:
        yield "long", "a" * (schema["maxLength"] + rng.choice([1, 10**4]))
    if "pattern" in schema:
        yield "strange", rng.choice(["\u0007", "a\u0000", "\n"])
    if "enum" in schema and schema["type"] == "string":
        yield "choice", rng.choice(["", "Ä", schema["enum"][0].upper() + "-"])
    if schema["type"] == "array" and schema["items"]["type"] in ("string", "integer"):
        entry = "a" if schema["items"]["type"] == "string" else 1
        yield "huge", [entry] * (schema["maxItems"] + rng.choice([1, 1000]))
    if "properties" in schema:
        word = rng.choice(["x", "Name", "_", "ключ", "a" * 300])
        yield "unknown", (word, rng.choice([1, "a", {}, []]))
