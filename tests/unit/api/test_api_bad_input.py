"""Every mistake is answered with its place, what was given and what it must be."""

import copy
import math

import pytest

from edgetran.api import SpecError, parse_resource

PROFILING_JOB = {
    "apiVersion": "edgetran.io/v1alpha1",
    "kind": "ProfilingJob",
    "metadata": {"name": "pj"},
    "spec": {"device": {"name": "here", "host": True}, "designSpace": {"preset": "tiny"}},
}
SEARCH = {
    "apiVersion": "edgetran.io/v1alpha1",
    "kind": "CoDesignSearch",
    "metadata": {"name": "cds"},
    "spec": {
        "task": {"name": "movie-reviews"},
        "designSpace": {"preset": "tiny"},
        "devices": [
            {"name": "here", "host": True},
            {"name": "pi", "simulation": "raspberry-pi-4-cpu"},
        ],
    },
}
RUN = {
    "apiVersion": "edgetran.io/v1alpha1",
    "kind": "GPTranRun",
    "metadata": {"name": "gpt"},
    "spec": {"searchRef": {"name": "cds"}},
}
INLINE = {"layers": [2], "hiddenSizes": [64], "heads": [2], "feedForwardWidths": [128]}
MISSING = object()


def changed(resource, path, value):
    data = copy.deepcopy(resource)
    holder = data
    *above, last = path
    for part in above:
        holder = holder.setdefault(part, {}) if isinstance(holder, dict) else holder[part]
    if value is MISSING:
        del holder[last]
    else:
        holder[last] = value
    return data


def problems(data):
    with pytest.raises(SpecError) as caught:
        parse_resource(data, "file.yaml")
    return str(caught.value).splitlines()


# Each: resource, path to set, value, where the message points, and what it must say.
CASES = [
    # The envelope.
    (
        SEARCH,
        ["apiVersion"],
        "edgetran.io/v1",
        "apiVersion",
        'supported values: "edgetran.io/v1alpha1"',
    ),
    (SEARCH, ["apiVersion"], MISSING, "apiVersion", "Required value: must be edgetran.io/v1alpha1"),
    (SEARCH, ["kind"], "CoDesignSerch", "kind", "did you mean CoDesignSearch?"),
    (
        SEARCH,
        ["kind"],
        "Job",
        "kind",
        'supported values: "ProfilingJob", "CoDesignSearch", "GPTranRun"',
    ),
    (SEARCH, ["kind"], 3, "kind", 'Unsupported value: 3: supported values: "ProfilingJob"'),
    (SEARCH, ["metadata"], MISSING, "metadata", "Required value: must be a mapping with name"),
    (SEARCH, ["metadata", "name"], "Upper", "metadata.name", "lower-case letters"),
    (SEARCH, ["metadata", "name"], "a.b", "metadata.name", 'Invalid value: "a.b": must be a name'),
    (SEARCH, ["metadata", "name"], "-a", "metadata.name", "begins and ends with a letter"),
    (SEARCH, ["metadata", "name"], "", "metadata.name", "1 to 63"),
    (SEARCH, ["metadata", "name"], "a" * 27, "metadata.name", "must have at most 26 characters"),
    (SEARCH, ["metadata", "name"], "a" * 64, "metadata.name", "1 to 63"),
    (PROFILING_JOB, ["metadata", "name"], "a" * 48, "metadata.name", "at most 47 characters"),
    (RUN, ["metadata", "name"], "a" * 37, "metadata.name", "at most 36 characters"),
    (SEARCH, ["metadata", "lables"], {}, "metadata.lables", "did you mean labels?"),
    (SEARCH, ["metadata", "labels"], {"a b": "c"}, "metadata.labels[a b]", "a label's key"),
    (SEARCH, ["metadata", "labels"], {"a": "c d"}, "metadata.labels.a", "a label's value"),
    (SEARCH, ["spec"], MISSING, "spec", "Required value: must be a mapping with"),
    (SEARCH, ["spec"], [], "spec", "Invalid value: []: must be a mapping with"),
    (SEARCH, ["sepc"], {}, "sepc", "did you mean spec?"),
    # What all kinds share.
    (
        SEARCH,
        ["spec", "suspend"],
        "maybe",
        "spec.suspend",
        'Invalid value: "maybe": must be true or false',
    ),
    (SEARCH, ["spec", "suspend"], 1, "spec.suspend", "Invalid value: 1: must be true or false"),
    (
        SEARCH,
        ["spec", "backoffLimit"],
        -1,
        "spec.backoffLimit",
        "Invalid value: -1: must be at least 0",
    ),
    (
        SEARCH,
        ["spec", "backoffLimit"],
        1.5,
        "spec.backoffLimit",
        "Invalid value: 1.5: must be a whole number from 0 to 100",
    ),
    (
        SEARCH,
        ["spec", "backoffLimit"],
        True,
        "spec.backoffLimit",
        "Invalid value: true: must be a whole number",
    ),
    (
        SEARCH,
        ["spec", "backoffLimit"],
        "3",
        "spec.backoffLimit",
        'Invalid value: "3": must be a whole number',
    ),
    (
        SEARCH,
        ["spec", "activeDeadlineSeconds"],
        0,
        "spec.activeDeadlineSeconds",
        "must be at least 1",
    ),
    (
        SEARCH,
        ["spec", "ttlSecondsAfterFinished"],
        -1,
        "spec.ttlSecondsAfterFinished",
        "must be at least 0",
    ),
    (SEARCH, ["spec", "podTemplate"], {"kind": "Pod"}, "spec.podTemplate.kind", "metadata, spec"),
    (SEARCH, ["spec", "storage"], {}, "spec.storage", "exactly one of claim, newClaim and uri"),
    (
        SEARCH,
        ["spec", "storage"],
        {"uri": "s3://b/f", "newClaim": {"size": "1Gi"}},
        "spec.storage",
        "Invalid value: {newClaim, uri}: must set exactly one of",
    ),
    (SEARCH, ["spec", "storage"], {"uri": "/tmp"}, "spec.storage.uri", "s3://bucket/folder"),  # noqa: S108
    (SEARCH, ["spec", "storage"], {"uri": "s3://b/../c"}, "spec.storage.uri", "no '..'"),
    (
        SEARCH,
        ["spec", "storage"],
        {"newClaim": {"size": "lots"}},
        "spec.storage.newClaim.size",
        "a quantity such as 10Gi",
    ),
    (
        SEARCH,
        ["spec", "storage"],
        {"claim": {"name": "c", "subPath": "../x"}},
        "spec.storage.claim.subPath",
        'Invalid value: "../x": must be a path with no',
    ),
    (
        SEARCH,
        ["spec", "storage"],
        {"newClaim": {"size": "1Gi"}, "secret": "s"},
        "spec.storage.secret",
        "Forbidden: may only be set together with uri",
    ),
    (SEARCH, ["spec", "seed"], -1, "spec.seed", "must be at least 0"),
    (
        SEARCH,
        ["spec", "ray"],
        {"mode": "slurm"},
        "spec.ray.mode",
        'Unsupported value: "slurm": supported values: "local", "cluster", "kuberay"',
    ),
    (
        SEARCH,
        ["spec", "ray"],
        {"mode": "cluster"},
        "spec.ray.address",
        "Required value: must be set",
    ),
    (
        SEARCH,
        ["spec", "ray"],
        {"address": "head:6379"},
        "spec.ray.address",
        "Forbidden: may only be set with mode cluster",
    ),
    (
        SEARCH,
        ["spec", "ray"],
        {"mode": "cluster", "address": "http://head"},
        "spec.ray.address",
        "HOST:PORT or ray://HOST:PORT",
    ),
    (SEARCH, ["spec", "ray"], {"cpusPerTrial": 0}, "spec.ray.cpusPerTrial", "above 0"),
    # Devices.
    (
        SEARCH,
        ["spec", "devices"],
        [],
        "spec.devices",
        "Invalid value: []: must have at least 1 entry",
    ),
    (
        SEARCH,
        ["spec", "devices"],
        {"name": "x"},
        "spec.devices",
        "Invalid value: {name}: must be a list of 1 to 32 entries",
    ),
    (SEARCH, ["spec", "devices", 0, "name"], "pi", "spec.devices[1].name", 'Duplicate value: "pi"'),
    (SEARCH, ["spec", "devices", 0, "name"], "a" * 21, "spec.devices[0].name", "1 to 20"),
    (
        SEARCH,
        ["spec", "devices", 0, "host"],
        MISSING,
        "spec.devices[0]",
        "Required value: must set exactly one of host, simulation and nodeSelector",
    ),
    (
        SEARCH,
        ["spec", "devices", 0, "host"],
        False,
        "spec.devices[0].host",
        "Unsupported value: false: supported values: true",
    ),
    (
        SEARCH,
        ["spec", "devices", 0, "nodeSelector"],
        {"a": "b"},
        "spec.devices[0]",
        "Invalid value: {host, nodeSelector}: must set exactly one of",
    ),
    (
        SEARCH,
        ["spec", "devices", 0, "nodeSelector"],
        {},
        "spec.devices[0].nodeSelector",
        "Invalid value: {}: must have at least 1 entry",
    ),
    (
        SEARCH,
        ["spec", "devices", 0, "nodeSelector"],
        {"edge": True},
        "spec.devices[0].nodeSelector.edge",
        "written in quotes",
    ),
    (
        SEARCH,
        ["spec", "devices", 1, "simulation"],
        "raspberry-pi-3",
        "spec.devices[1].simulation",
        '"raspberry-pi-4-cpu", "raspberry-pi-5-cpu"',
    ),
    (SEARCH, ["spec", "devices", 1, "threads"], 2, "spec.devices[1].threads", "simulation"),
    (
        SEARCH,
        ["spec", "devices", 1, "profileRef"],
        {"name": "x"},
        "spec.devices[1].profileRef",
        "Forbidden: may not be set together with simulation",
    ),
    (SEARCH, ["spec", "devices", 1, "engine"], "openvino", "spec.devices[1].engine", "simulation"),
    (
        SEARCH,
        ["spec", "devices", 0, "engine"],
        "tflite",
        "spec.devices[0].engine",
        'supported values: "torch", "onnxruntime", "openvino"',
    ),
    (
        SEARCH,
        ["spec", "devices", 0, "precision"],
        "fp64",
        "spec.devices[0].precision",
        'supported values: "fp32", "fp16", "bf16", "int8", "int4"',
    ),
    (
        SEARCH,
        ["spec", "devices", 0, "precision"],
        "fp16",
        "spec.devices[0].precision",
        'Invalid value: "fp16": must be fp32, bf16 or int8 with torch on cpu',
    ),
    (
        SEARCH,
        ["spec", "devices", 0],
        {"name": "here", "host": True, "engine": "openvino", "accelerator": "cuda"},
        "spec.devices[0].accelerator",
        'Invalid value: "cuda": must be cpu or cuda with torch',
    ),
    (
        SEARCH,
        ["spec", "devices", 0, "threads"],
        0,
        "spec.devices[0].threads",
        "Invalid value: 0: must be at least 1",
    ),
    (
        SEARCH,
        ["spec", "devices", 0, "energy"],
        {"source": "guess"},
        "spec.devices[0].energy.source",
        'Unsupported value: "guess": supported values: "auto", "none", "rapl"',
    ),
    (
        SEARCH,
        ["spec", "devices", 0, "energy"],
        {"source": "external"},
        "spec.devices[0].energy.meter",
        "Required value: must be set with source external",
    ),
    (
        SEARCH,
        ["spec", "devices", 0, "energy"],
        {"source": "rapl", "meter": "http://meter"},
        "spec.devices[0].energy.meter",
        "Forbidden: may only be set with source external",
    ),
    (
        SEARCH,
        ["spec", "devices", 0, "energy"],
        {"source": "external", "meter": "ftp://meter"},
        "spec.devices[0].energy.meter",
        "http://ADDRESS[#JSON.PATH]",
    ),
    (
        SEARCH,
        ["spec", "devices", 0, "tolerations"],
        [{"key": "a", "operator": "Exists"}],
        "spec.devices[0].tolerations",
        "Forbidden: may not be set together with host",
    ),
    # The task.
    (SEARCH, ["spec", "task"], MISSING, "spec.task", "Required value: must be a mapping with name"),
    (SEARCH, ["spec", "task"], {}, "spec.task", "exactly one of name, folder, files and hub"),
    (
        SEARCH,
        ["spec", "task", "hub"],
        "glue/sst2",
        "spec.task",
        "Invalid value: {name, hub}: must set exactly one",
    ),
    (SEARCH, ["spec", "task"], {"name": "movies"}, "spec.task.name", "movie-reviews"),
    (SEARCH, ["spec", "task"], {"hub": "glue/xnli"}, "spec.task.hub", '"glue/cola", "glue/sst2"'),
    (SEARCH, ["spec", "task"], {"folder": "../x"}, "spec.task.folder", "no '..' in it"),
    (SEARCH, ["spec", "task"], {"folder": "a\nb"}, "spec.task.folder", "a path of 1 to 1024"),
    (
        SEARCH,
        ["spec", "task"],
        {"files": {}},
        "spec.task.files.train",
        "Required value: must be a path",
    ),
    (
        SEARCH,
        ["spec", "task"],
        {"files": {"train": "a.csv", "lableColumn": "y"}},
        "spec.task.files.lableColumn",
        "did you mean labelColumn",
    ),
    (SEARCH, ["spec", "task", "glueTask"], "rte", "spec.task.glueTask", "together with folder"),
    (
        SEARCH,
        ["spec", "task", "tokenizer"],
        {"folder": "a", "vocabSize": 4096},
        "spec.task.tokenizer",
        "exactly one of folder and vocabSize",
    ),
    (
        SEARCH,
        ["spec", "task", "tokenizer"],
        {"vocabSize": 1},
        "spec.task.tokenizer.vocabSize",
        "Invalid value: 1: must be at least 64",
    ),
    # The design space.
    (SEARCH, ["spec", "designSpace", "preset"], "small", "spec.designSpace.preset", "tiny"),
    (
        SEARCH,
        ["spec", "designSpace"],
        {},
        "spec.designSpace",
        "either preset, elastic, or at least layers",
    ),
    (
        SEARCH,
        ["spec", "designSpace"],
        {"preset": "tiny", **INLINE},
        "spec.designSpace",
        "Invalid value: {preset, layers, hiddenSizes, heads, feedForwardWidths}: must set either",
    ),
    (
        SEARCH,
        ["spec", "designSpace"],
        {"layers": [2]},
        "spec.designSpace",
        "Invalid value: {layers}: must set either preset, elastic, or at least layers",
    ),
    (
        SEARCH,
        ["spec", "designSpace"],
        {**INLINE, "hiddenSizes": [8, 64], "heads": [2, 12]},
        "spec.designSpace.heads[1]",
        "Invalid value: 12: must be at most the smallest of hiddenSizes",
    ),
    (
        SEARCH,
        ["spec", "designSpace"],
        {**INLINE, "layers": [0]},
        "spec.designSpace.layers[0]",
        "Invalid value: 0: must be at least 1",
    ),
    (
        SEARCH,
        ["spec", "designSpace"],
        {**INLINE, "layers": [2, 2]},
        "spec.designSpace.layers[1]",
        "Duplicate value: 2",
    ),
    (
        SEARCH,
        ["spec", "designSpace"],
        {**INLINE, "headTypes": ["sdp"]},
        "spec.designSpace.headTypes[0]",
        '"sa_sdp", "sa_wma", "l_dft", "l_dct", "c_5", "c_9", "c_13"',
    ),
    # The objective, constraints and search.
    (
        SEARCH,
        ["spec", "objective"],
        {"weights": {"accuracy": 0}},
        "spec.objective.weights",
        "Invalid value: 0: must have at least one of accuracy, latency, energy, peakPower and ",
    ),
    (
        SEARCH,
        ["spec", "objective"],
        {"weights": {"accuracy": -1}},
        "spec.objective.weights.accuracy",
        "Invalid value: -1: must be at least 0",
    ),
    (
        SEARCH,
        ["spec", "objective"],
        {"normalisers": {"latencyMs": 0}},
        "spec.objective.normalisers.latencyMs",
        "Invalid value: 0: must be above 0",
    ),
    (
        SEARCH,
        ["spec", "constraints"],
        {"latencyMs": {"min": 60, "max": 50}},
        "spec.constraints.latencyMs.min",
        "Invalid value: 60: must be at most max",
    ),
    (
        SEARCH,
        ["spec", "constraints"],
        {"latencyMs": {}},
        "spec.constraints.latencyMs",
        "at least one of min and max",
    ),
    (
        SEARCH,
        ["spec", "constraints"],
        {"latency": {"max": 5}},
        "spec.constraints.latency",
        "did you mean latencyMs?",
    ),
    (
        SEARCH,
        ["spec", "constraints"],
        {"accuracy": {"min": 80}},
        "spec.constraints.accuracy.min",
        "Invalid value: 80: must be at most 1",
    ),
    (
        SEARCH,
        ["spec", "constraints"],
        {"parameters": {"max": 1.5}},
        "spec.constraints.parameters.max",
        "a whole number from 0",
    ),
    (
        SEARCH,
        ["spec", "search"],
        {"method": "Grid Search"},
        "spec.search.method",
        "the name of an installed search method, such as bayesian",
    ),
    (
        SEARCH,
        ["spec", "objective"],
        {"pareto": ["latency", "energy"]},
        "spec.objective.pareto",
        "accuracy and one or more costs",
    ),
    (
        SEARCH,
        ["spec", "objective"],
        {"pareto": ["accuracy", "latency", "latency"]},
        "spec.objective.pareto[2]",
        'Duplicate value: "latency"',
    ),
    (
        SEARCH,
        ["spec", "objective"],
        {"pareto": ["accuracy", "latency"], "pick": "budget"},
        "spec.objective.budget",
        "Required value: must be set with pick budget",
    ),
    (
        SEARCH,
        ["spec", "search"],
        {"maxTrials": 4, "initialTrials": 6},
        "spec.search.initialTrials",
        "Invalid value: 6: must be at most maxTrials",
    ),
    (SEARCH, ["spec", "search"], {"maxTrials": 0}, "spec.search.maxTrials", "must be at least 1"),
    (
        SEARCH,
        ["spec", "training"],
        {"learningRate": 2},
        "spec.training.learningRate",
        "Invalid value: 2: must be at most 1",
    ),
    (SEARCH, ["spec", "training"], {"epoch": 2}, "spec.training.epoch", "did you mean epochs"),
    (
        SEARCH,
        ["spec", "baseline"],
        {"architecture": {}},
        "spec.baseline.architecture",
        "exactly one of homogeneous and modelDict",
    ),
    (
        SEARCH,
        ["spec", "baseline"],
        {
            "architecture": {
                "homogeneous": {"layers": 1, "hiddenSize": 4, "heads": 8, "feedForward": [8]}
            }
        },
        "spec.baseline.architecture.homogeneous.heads",
        "Invalid value: 8: must be at most hiddenSize",
    ),
    (
        SEARCH,
        ["spec", "baseline"],
        {"architecture": {"modelDict": {"l": 2, "h": [64], "f": [[64]] * 2, "o": [["c_5_8"]] * 2}}},
        "spec.baseline.architecture.modelDict.h",
        "Invalid value: [1 entry]: must have one entry per layer",
    ),
    (
        SEARCH,
        ["spec", "baseline"],
        {"architecture": {"modelDict": {"l": 1, "h": [64], "f": [[64]], "o": [["c_7_8"]]}}},
        "spec.baseline.architecture.modelDict.o[0][0]",
        "TYPE one of sa_sdp, sa_wma",
    ),
    (
        SEARCH,
        ["spec", "baseline"],
        {
            "architecture": {
                "modelDict": {"l": 1, "h": [64], "f": [[64]], "o": [["c_5_8", "c_5_9"]]}
            }
        },
        "spec.baseline.architecture.modelDict.o[0]",
        'Invalid value: "c_5_8, c_5_9": must have heads of one dimension within a layer',
    ),
    # Profiling.
    (PROFILING_JOB, ["spec", "device"], MISSING, "spec.device", "Required value"),
    (
        PROFILING_JOB,
        ["spec", "designSpace"],
        MISSING,
        "spec",
        "one of designSpace, models and finalistsOf",
    ),
    (
        PROFILING_JOB,
        ["spec", "finalistsOf"],
        {"searchRef": {"name": "s"}},
        "spec",
        "Invalid value: {designSpace, finalistsOf}: must set exactly one",
    ),
    (
        PROFILING_JOB,
        ["spec"],
        {
            "device": {"name": "here", "host": True},
            "finalistsOf": {"searchRef": {"name": "s"}, "refinementRef": {"name": "r"}},
        },
        "spec.finalistsOf",
        "exactly one of searchRef and refinementRef",
    ),
    (
        PROFILING_JOB,
        ["spec", "models"],
        ["a"],
        "spec",
        "Invalid value: {designSpace, models}: must set exactly one",
    ),
    (
        PROFILING_JOB,
        ["spec", "workload"],
        {"batchSize": 0},
        "spec.workload.batchSize",
        "must be at least 1",
    ),
    (
        PROFILING_JOB,
        ["spec", "measurement"],
        {"mode": "fast"},
        "spec.measurement.mode",
        'supported values: "quick", "standard", "reference"',
    ),
    (
        PROFILING_JOB,
        ["spec", "sampling"],
        {"initial": 30, "maxMeasurements": 20},
        "spec.sampling.initial",
        "Invalid value: 30: must be at most maxMeasurements",
    ),
    (
        PROFILING_JOB,
        ["spec", "sampling"],
        {"targetError": 0},
        "spec.sampling.targetError",
        "Invalid value: 0: must be above 0",
    ),
    (
        PROFILING_JOB,
        ["spec", "device", "profileRef"],
        {"name": "x"},
        "spec.device.profileRef",
        "unknown field",
    ),
    # Refining.
    (RUN, ["spec", "searchRef"], MISSING, "spec", "exactly one of searchRef and model"),
    (
        RUN,
        ["spec", "model"],
        "folder",
        "spec",
        "Invalid value: {searchRef, model}: must set exactly one",
    ),
    (
        RUN,
        ["spec"],
        {"model": "folder", "device": {"name": "here", "host": True}},
        "spec.task",
        "Required value: must be set with model",
    ),
    (
        RUN,
        ["spec", "task"],
        {"name": "movie-reviews"},
        "spec.task",
        "Forbidden: may not be set together with searchRef",
    ),
    (
        RUN,
        ["spec", "stages"],
        ["growHead"],
        "spec.stages[0]",
        'supported values: "growHeads", "growFeedForwards"',
    ),
    (RUN, ["spec", "stages"], [], "spec.stages", "Invalid value: []: must have at least 1 entry"),
    (
        RUN,
        ["spec", "importance"],
        "l2",
        "spec.importance",
        'supported values: "secondOrder", "fisher"',
    ),
    (RUN, ["spec", "searchRef"], {"name": "x", "kind": "y"}, "spec.searchRef.kind", "name"),
    (RUN, ["spec", "confidence"], 1, "spec.confidence", "Invalid value: 1: must be below 1"),
    (
        RUN,
        ["spec", "searchRef"],
        "cds",
        "spec.searchRef",
        'Invalid value: "cds": must be a mapping with name',
    ),
    (RUN, ["spec", "minimumSizes"], {"heads": 1}, "spec.minimumSizes.heads", "feedForward"),
    (
        RUN,
        ["spec", "distillation"],
        {"weight": 0, "hiddenWeight": 0},
        "spec.distillation",
        "Invalid value: 0: must have weight or hiddenWeight above 0",
    ),
    # Values that no field takes.
    (
        SEARCH,
        ["spec", "seed"],
        math.nan,
        "spec.seed",
        "Invalid value: nan: must be a finite number",
    ),
    (
        SEARCH,
        ["spec", "seed"],
        10**400,
        "spec.seed",
        "more than 70 digits: must have at most 70 digits",
    ),
    (SEARCH, ["spec", "seed"], b"1", "spec.seed", 'Invalid value: "<bytes>": must be text'),
    (SEARCH, ["spec", "task"], {"folder": "\ud800"}, "spec.task.folder", "must be Unicode text"),
    (SEARCH, ["spec", "task"], {1: 2}, "spec.task", "Invalid value: 1: must be text, as every key"),
    (SEARCH, ["spec", "max_trials"], 3, "spec.max_trials", "unknown field"),
    (SEARCH, ["spec", "design_space"], {}, "spec.design_space", "did you mean designSpace?"),
]


@pytest.mark.parametrize(
    ("resource", "path", "value", "place", "words"),
    CASES,
    ids=[f"{number}-{case[3]}" for number, case in enumerate(CASES)],
)
def test_a_mistake_is_answered_with_its_place_and_what_it_must_be(
    resource, path, value, place, words
):
    lines = problems(changed(resource, path, value))
    matching = [line for line in lines if f": {place}: " in line and words in line]
    assert matching, lines
    assert len(lines) == 1, lines
    assert "pydantic" not in lines[0].lower()
    assert "Input should" not in lines[0]


def test_the_table_is_long_enough():
    assert len(CASES) >= 60


def test_a_line_names_the_file_the_resource_the_place_and_both_sides():
    (line,) = problems(changed(SEARCH, ["spec", "search"], {"maxTrials": 0}))
    assert line == (
        "file.yaml: CoDesignSearch/cds: spec.search.maxTrials: Invalid value: 0: must be at least 1"
    )


def test_all_mistakes_are_told_at_once():
    data = copy.deepcopy(SEARCH)
    data["metadata"]["name"] = "Big"
    data["spec"]["seed"] = "zero"
    data["spec"]["constraints"] = {"latencyMs": {"min": 2, "max": 1}, "energyMj": {"max": -1}}
    data["spec"]["devices"] = [
        {"name": "a", "hots": True},
        {"name": "a", "host": True, "nodeSelector": {"x": "y"}, "threads": 0},
    ]
    text = "\n".join(problems(data))
    for place in (
        'metadata.name: Invalid value: "Big"',
        'spec.seed: Invalid value: "zero"',
        "spec.constraints.latencyMs.min: Invalid value: 2",
        "spec.constraints.energyMj.max: Invalid value: -1",
        "spec.devices[0].hots: Forbidden: unknown field; did you mean host?",
        "spec.devices[1]: Invalid value: {host, nodeSelector}",
        "spec.devices[1].threads: Invalid value: 0: must be at least 1",
        'spec.devices[1].name: Duplicate value: "a"',
    ):
        assert place in text, text


def test_a_rule_stays_silent_where_one_of_its_own_fields_is_wrong():
    data = changed(SEARCH, ["spec", "devices", 0, "host"], "yes")
    assert problems(data) == [
        (
            'file.yaml: CoDesignSearch/cds: spec.devices[0].host: Unsupported value: "yes": '
            "supported values: true"
        )
    ]


def test_messages_stay_on_one_line_and_short_whatever_was_given():
    (line,) = problems(changed(SEARCH, ["spec", "task", "name"], "a\nb\x1b[31m" * 1000))
    assert line.isprintable()
    assert len(line) < 300


def test_a_thousand_mistakes_are_summed_up():
    lines = problems(changed(SEARCH, ["spec", "devices"], [{"nam": 1}] * 32 + [3] * 500))
    assert len(lines) <= 101


def test_null_counts_as_not_given():
    assert parse_resource(changed(SEARCH, ["spec", "seed"], None)).spec.seed == 0
    (line,) = problems(changed(SEARCH, ["spec", "task"], None))
    assert "spec.task: Required value: must be" in line


@pytest.mark.parametrize("data", [None, 3, "x", [], [1], True])
def test_what_is_no_mapping_is_no_resource(data):
    (line,) = problems(data)
    assert "must be a mapping with apiVersion, kind, metadata and spec" in line


def test_two_wrong_entries_of_a_list_do_not_hide_other_mistakes():
    data = changed(SEARCH, ["spec", "designSpace"], {**INLINE, "layers": ["a", "b"], "heads": [99]})
    text = "\n".join(problems(data))
    assert 'spec.designSpace.layers[0]: Invalid value: "a"' in text
    assert 'spec.designSpace.layers[1]: Invalid value: "b"' in text
    assert (
        "spec.designSpace.heads[0]: Invalid value: 99: must be at most the smallest of hiddenSizes"
        in text
    )
    assert text.count("\n") == 2
