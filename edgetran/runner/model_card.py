"""The README.md of a model that is handed over: what it is, how good, made from what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any, Final

from edgetran.artifacts import Artifact
from edgetran.devices import host_info
from edgetran.space import Architecture
from edgetran.training import EncodedTask

_NEEDS: Final = {
    "onnxruntime": "pip install numpy onnxruntime tokenizers",
    "openvino": "pip install numpy openvino tokenizers",
    "torch": 'pip install "edgetran[worker]"',
    "executorch": "pip install executorch torch tokenizers",
    "litert": "pip install ai-edge-litert numpy tokenizers",
}


def model_card(
    title: str,
    artifact: Artifact,
    architecture: Architecture,
    data: EncodedTask,
    figures: Mapping[str, Mapping[str, Any]],
    *,
    parent: str | None,
    files: Iterable[tuple[str, str]],
) -> str:
    """The card, in Markdown with the hub's front matter.

    Args:
        title: of the model.
        artifact: what is handed over.
        architecture: of the model.
        data: the task.
        figures: as result.json has them: accuracies and latency.
        parent: where its weights began; None for random ones.
        files: further files of the folder, each with what it is.
    """
    task = data.task
    kind = "regression" if task.is_regression else "text-classification"
    sizes = ", ".join(f"{len(part):,} {name}" for name, part in data.splits.items())
    use = (
        f"Texts like those of its data, up to {data.max_length} tokens, on a small device. It was "
        "judged only on the test part of this data: how it handles other texts, languages or "
        "labels is not known."
    )
    lines = [
        "---",
        "license: other",
        "library_name: edgetran",
        "pipeline_tag: text-classification",
        f"tags: [edgetran, flexibert, {artifact.engine}, {artifact.precision}]",
        "---",
        "",
        f"# {title}",
        "",
        f"A FlexiBERT for {kind}, found by EdgeTran and made for {artifact.words}.",
        "",
        "## Task and data",
        "",
        f"- Task: {task.name}",
        f"- Data: {task.source or 'not stated'}",
        f"- Examples: {sizes}",
        f"- Labels: {', '.join(task.label_names) if task.label_names else 'a number'}",
        f"- Longest text: {data.max_length} tokens",
        "",
        "## Figures",
        "",
        "| Figure | Value | Source |",
        "|---|---|---|",
        *_figure_rows(figures, data, artifact),
        "",
        "## Architecture",
        "",
        "```",
        *_drawing(architecture),
        "```",
        "",
        "## Intended use",
        "",
        use,
        "",
        "## Licences",
        "",
        f"- Data: {task.licence or 'not stated; ask whoever provided it'}",
        "- Weights it began with: "
        + ("random, so none" if parent is None else f"{parent}; its licence applies"),
        "",
        "## Use",
        "",
        f'`{_NEEDS[artifact.engine]}`, then `python example.py "a text"`.',
        "",
        *_shape(artifact),
        "| File | What it is |",
        "|---|---|",
        f"| `{artifact.path.name}` | the model, {artifact.words}, SHA-256 `{artifact.sha256}` |",
        *(f"| `{name}` | {words} |" for name, words in files),
        "",
    ]
    return "\n".join(lines)


def _shape(artifact: Artifact) -> Iterable[str]:
    if artifact.length is not None:
        yield f"The model takes one text at a time, padded to {artifact.length} tokens."
        yield ""


def _figure_rows(
    figures: Mapping[str, Mapping[str, Any]], data: EncodedTask, artifact: Artifact
) -> Iterable[str]:
    metric, host = data.task.selection_metric, host_info()
    through = f"this file in {artifact.engine}"
    names = {
        "accuracy": (f"{metric}, test part", through),
        "validationAccuracy": (f"{metric}, validation part", through),
        "fp32Accuracy": (f"{metric}, test part, as trained", "PyTorch in fp32"),
        "latencyMs": ("median latency, ms", f"{through}, {host.cpu_model}"),
    }
    for name, (words, how) in names.items():
        figure = figures.get(name)
        if figure is None:
            continue
        if figure["value"] is None:
            yield f"| {words} | – | {figure['reason']} |"
        else:
            yield f"| {words} | {figure['value']:.4g} | {figure['source']}: {how} |"


def _drawing(architecture: Architecture) -> Iterable[str]:
    """A line per layer: width, heads of each type, feed-forward widths."""
    yield "embeddings"
    for number, layer in enumerate(architecture.layers, start=1):
        heads = " + ".join(
            f"{len(list(some))} × {kind}" for kind, some in groupby(sorted(layer.head_types))
        )
        widths = " → ".join(map(str, layer.feed_forward))
        yield (
            f"layer {number:>2}  width {layer.hidden_size:>4} │ {heads} of {layer.head_dim} "
            f"│ feed-forward {widths}"
        )
    yield "classifier of the first token"


_COMMON: Final = '''\
"""Classify texts: python example.py "a text" ["another text" …]

Needs: {needs}
"""

import json
import sys
from pathlib import Path

import numpy as np
{imports}
HERE = Path(__file__).parent
config = json.loads((HERE / "config.json").read_text())
longest = json.loads((HERE / "tokenizer_config.json").read_text())["model_max_length"]
tokenizer = Tokenizer.from_file(str(HERE / "tokenizer.json"))
tokenizer.enable_truncation(longest)
{load}

def classify(text):
    encoded = tokenizer.encode(text)
    inputs = {{
        "input_ids": np.array([encoded.ids], dtype=np.int64),
        "attention_mask": np.array([encoded.attention_mask], dtype=np.int64),
        "token_type_ids": np.array([encoded.type_ids], dtype=np.int64),
    }}
    logits = {run}
    if len(logits) == 1:
        return float(logits[0])
    return config["id2label"][str(int(np.argmax(logits)))]


for text in sys.argv[1:] or ["a warm and witty film", "a dull mess"]:
    print(f"{{classify(text)}}\\t{{text}}")
'''

_ENGINES: Final = {
    "onnxruntime": {
        "imports": "import onnxruntime\nfrom tokenizers import Tokenizer\n",
        "load": "session = onnxruntime.InferenceSession(\n"
        '    str(HERE / "model.onnx"), providers=["CPUExecutionProvider"]\n)\n',
        "run": 'session.run(["logits"], inputs)[0][0]',
    },
    "openvino": {
        "imports": "import openvino\nfrom tokenizers import Tokenizer\n",
        "load": 'path = str(HERE / "model" / "model.xml")\n'
        'options = {"INFERENCE_PRECISION_HINT": "f32"}\n'
        'model = openvino.Core().compile_model(path, "CPU", options)\n',
        "run": 'model(inputs)["logits"][0]',
    },
    "torch": {
        "imports": "from tokenizers import Tokenizer\n\n"
        "from edgetran.artifacts import Artifact, open_artifact\n"
        "from edgetran.devices import engine\n",
        "load": "artifact = Artifact.load(HERE)  # checks the hash\n"
        'session = open_artifact(artifact, engine("torch", precision=artifact.precision), None)\n',
        "run": "session.run(inputs)[0]",
    },
    "executorch": {
        "imports": "import torch\nfrom executorch.runtime import Runtime\n"
        "from tokenizers import Tokenizer\n",
        "load": 'program = Runtime.get().load_program(str(HERE / "model.pte"))\n'
        'method = program.load_method("forward")\n'
        "length = method.metadata.input_tensor_meta(0).sizes()[1]\n"
        "tokenizer.enable_padding(length=length)\n",
        "run": "method.execute([torch.from_numpy(each) for each in inputs.values()])[0].numpy()[0]",
    },
    "litert": {
        "imports": "from ai_edge_litert.interpreter import Interpreter\n"
        "from tokenizers import Tokenizer\n",
        "load": 'interpreter = Interpreter(str(HERE / "model.tflite"))\n'
        "interpreter.allocate_tensors()\n"
        "run = interpreter.get_signature_runner()\n"
        'length = int(run.get_input_details()["input_ids"]["shape"][1])\n'
        "tokenizer.enable_padding(length=length)\n",
        "run": "next(iter(run(**{n: x.astype(np.int32) for n, x in inputs.items()}).values()))[0]",
    },
}


def example(artifact: Artifact) -> str:
    """A program that classifies texts with the artefact beside it, one at a time."""
    return _COMMON.format(needs=_NEEDS[artifact.engine], **_ENGINES[artifact.engine])
