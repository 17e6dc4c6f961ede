"""FlexiBERT's speed and memory, as ratios to BertModel and to a loop over heads.

    python benchmarks/models.py [SECTION …] [--repeats N] [--threads N]

Sections: homogeneous, mixed, loading, memory, gpu. Both sides of a ratio run in one process,
interleaved, in evaluation mode without gradients, at 128 tokens; figures are medians.

The reference is the tests' (tests/unit/models/models_reference.py): loops over examples, heads and
positions, written from the formulas. The loop over heads is the strongest opponent that still
loops: each head has its own projections and torch's fastest textbook operations, and everything
outside the heads is shared with the model. Results go to benchmarks/results/models-HARDWARE.json.
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import math
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertConfig, BertModel

from edgetran.devices.host import host_info
from edgetran.models import FlexiBertConfig, FlexiBertModel
from edgetran.models.heads import dct_matrix
from edgetran.models.layout import HeadLayout, span
from edgetran.space import HEAD_TYPES, Architecture, Layer, macs

LENGTH = 128
VOCABULARY = 30522
SHAPES = {  # layers, hidden size, heads, feed-forward
    "BERT-Mini": (4, 256, 4, 1024),
    "MiniLM-L6": (6, 384, 12, 1536),
    "BERT-Base": (12, 768, 12, 3072),
}
MIXED = {  # layers, hidden size, heads (all seven types, then from the first again), feed-forward
    "4 × 256, 8 heads": (4, 256, 8, 1024),
    "6 × 512, 8 heads": (6, 512, 8, 2048),
    "6 × 768, 12 heads": (6, 768, 12, 3072),
}
RESULTS = Path(__file__).parent / "results"
REFERENCE = Path(__file__).parents[1] / "tests" / "unit" / "models"


class LoopOverHeads(nn.Module):
    """The attention of one layer, head after head, from the same weights."""

    def __init__(self, attention: nn.Module, layer: Layer, transform_length: int) -> None:
        super().__init__()
        layout, dim = HeadLayout.of(layer), layer.head_dim
        self.layer, self.length, self.dim = layer, transform_length, dim
        self.heads = nn.ModuleList()
        self.register_buffer("dct", dct_matrix(transform_length).float())
        self.register_buffer("dct_dim", dct_matrix(dim).float())
        weight, bias = attention.query_key_value.weight, attention.query_key_value.bias
        for head in range(layer.num_heads):
            parts = nn.ModuleDict()
            starts = {"value": 2 * layout.num_queries + layout.slots[head]}
            if (slot := layout.query_slot(head)) is not None:
                starts |= {"query": slot, "key": layout.num_queries + slot}
            for name, start in starts.items():
                rows = slice(start * dim, (start + 1) * dim)
                parts[name] = nn.Linear(layer.hidden_size, dim)
                parts[name].weight.copy_(weight[rows])
                parts[name].bias.copy_(bias[rows])
            if (slot := layout.weighting_slot(head)) is not None:
                parts["weighting"] = nn.Linear(dim, dim, bias=False)
                parts["weighting"].weight.copy_(attention.scores.weighting[slot].T)
            if (slot := layout.convolution_slot(head)) is not None:
                self._convolution(parts, attention.convolution, slot, layout)
            self.heads.append(parts)
        order = list(layout.slots)
        columns = attention.output.weight.unflatten(1, (layer.num_heads, dim))[:, order]
        self.output = nn.Linear(layer.inner_size, layer.hidden_size)
        self.output.weight.copy_(columns.flatten(1))
        self.output.bias.copy_(attention.output.bias)
        self.LayerNorm = attention.LayerNorm

    @staticmethod
    def _convolution(
        parts: nn.ModuleDict, source: nn.Module, slot: int, layout: HeadLayout
    ) -> None:
        dim, k = layout.head_dim, layout.spans[slot]
        taps = slice(layout.first_tap(slot), layout.first_tap(slot) + k)
        parts["depthwise"] = nn.Conv1d(dim, dim, k, padding=k // 2, groups=dim, bias=False)
        parts["depthwise"].weight.copy_(source.depthwise[taps].T[:, None])
        parts["pointwise"] = nn.Conv1d(dim, dim, 1)
        parts["pointwise"].weight.copy_(source.pointwise[slot].T[:, :, None])
        parts["pointwise"].bias.copy_(source.pointwise_bias[slot])
        parts["kernel"] = nn.Linear(dim, k)
        parts["kernel"].weight.copy_(source.kernel[taps])
        parts["kernel"].bias.copy_(source.kernel_bias[taps])
        parts["content"] = nn.Linear(dim, dim)
        parts["content"].weight.copy_(source.value[slot].T)
        parts["content"].bias.copy_(source.value_bias[slot])

    def forward(
        self, hidden: Tensor, mask: Tensor | None, tokens: Tensor | None, *_: Any
    ) -> tuple[Tensor, None]:
        keep = None if tokens is None else tokens[:, :, 0]
        outputs = [
            self._head(parts, head, hidden, mask, keep)
            for parts, head in zip(self.heads, self.layer.head_types, strict=True)
        ]
        mixed = self.output(torch.cat(outputs, -1))
        return self.LayerNorm(mixed + hidden), None

    def _head(
        self,
        parts: nn.ModuleDict,
        head: str,
        hidden: Tensor,
        mask: Tensor | None,
        keep: Tensor | None,
    ) -> Tensor:
        value = parts["value"](hidden)
        length = hidden.shape[1]
        if head.startswith("l"):
            value = value if keep is None else value * keep
            padded = functional.pad(value, (0, 0, 0, self.length - length))
            if head == "l_dft":
                return torch.fft.fft2(padded, norm="ortho").real[:, :length]
            return (self.dct @ padded)[:, :length] @ self.dct_dim.T
        query, key = parts["query"](hidden), parts["key"](hidden)
        if head.startswith("sa"):
            query = parts["weighting"](query) if head == "sa_wma" else query
            scores = query @ key.transpose(1, 2) / math.sqrt(self.dim)
            scores = scores if mask is None else scores.masked_fill(~mask[:, 0], -math.inf)
            return scores.softmax(-1) @ value
        k = span(head)
        key = key if keep is None else key * keep
        mixed = parts["pointwise"](parts["depthwise"](key.transpose(1, 2))).transpose(1, 2) * query
        kernels = parts["kernel"](mixed).softmax(-1)
        content = parts["content"](value)
        content = content if keep is None else content * keep
        windows = functional.pad(content, (0, 0, k // 2, k // 2)).unfold(1, k, 1)  # (B, S, d, k)
        return (windows @ kernels[..., None])[..., 0]


@torch.no_grad()
def loop_model(model: FlexiBertModel) -> FlexiBertModel:
    """The same model with a loop over heads in every layer."""
    looped = copy.deepcopy(model)
    architecture = model.config.to_architecture()
    for module, layer in zip(looped.layers, architecture.layers, strict=True):
        module.attention = LoopOverHeads(module.attention, layer, model.config.transform_length)
    return looped.eval()


def flexibert(architecture: Architecture, **settings: Any) -> FlexiBertModel:
    return FlexiBertModel(FlexiBertConfig.from_architecture(architecture, **settings)).eval()


def bert_config(shape: tuple[int, int, int, int]) -> BertConfig:
    layers, hidden, heads, width = shape
    return BertConfig(
        num_hidden_layers=layers,
        hidden_size=hidden,
        num_attention_heads=heads,
        intermediate_size=width,
        vocab_size=VOCABULARY,
        attn_implementation="sdpa",
    )


def homogeneous_of(shape: tuple[int, int, int, int]) -> Architecture:
    layers, hidden, heads, width = shape
    return Architecture.homogeneous(
        num_layers=layers, hidden_size=hidden, num_heads=heads, feed_forward=[width]
    )


def mixed_of(shape: tuple[int, int, int, int]) -> Architecture:
    layers, hidden, heads, width = shape
    types = tuple(HEAD_TYPES[head % len(HEAD_TYPES)] for head in range(heads))
    return Architecture((Layer(hidden, types, hidden // heads, (width,)),) * layers)


def of_equal_macs(architecture: Architecture) -> Architecture:
    """The `sa_sdp` architecture whose feed-forward width brings it to the same MACs."""
    layer = architecture.layers[0]
    heads = ("sa_sdp",) * layer.num_heads

    def with_width(width: int) -> Architecture:
        same = Layer(layer.hidden_size, heads, layer.head_dim, (width,))
        return Architecture((same,) * architecture.num_layers)

    wanted = macs(architecture, LENGTH)
    return min(
        map(with_width, range(8, 3 * layer.feed_forward[0], 8)),
        key=lambda candidate: abs(macs(candidate, LENGTH) - wanted),
    )


def inputs(batch: int, padded: bool = False) -> dict[str, Tensor]:
    ids = torch.randint(0, VOCABULARY, (batch, LENGTH), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    if padded:
        mask[::2, LENGTH // 2 :] = 0
    return {"input_ids": ids, "attention_mask": mask}


def interleaved(runs: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median seconds of each run, one after the other in turn, in changing order."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for _ in range(2):
        for run in runs.values():
            run()
    for repeat in range(repeats):
        for name in names if repeat % 2 else reversed(names):
            begun = time.perf_counter()
            runs[name]()
            seconds[name].append(time.perf_counter() - begun)
    return {name: statistics.median(values) for name, values in seconds.items()}


def forward(model: nn.Module, batch: dict[str, Tensor], calls: int) -> Callable[[], None]:
    @torch.inference_mode()
    def run() -> None:
        for _ in range(calls):
            model(**batch)

    return run


def row(
    what: str, target: str, ratio: float, seconds: dict[str, float], calls: int = 1
) -> dict[str, Any]:
    return {
        "what": what,
        "target": target,
        "ratio": round(ratio, 3),
        "met": ratio <= float(target[1:]) if target[0] == "≤" else ratio >= float(target[1:]),
        "median_ms": {name: round(value / calls * 1e3, 3) for name, value in seconds.items()},
    }


def homogeneous(repeats: int) -> list[dict[str, Any]]:
    rows = []
    for name, shape in SHAPES.items():
        ours, theirs = flexibert(homogeneous_of(shape)), BertModel(bert_config(shape)).eval()
        for batch in (1, 32):
            if batch > 1 and name == "BERT-Base":
                continue  # ten seconds a call on a small CPU, and nothing that MiniLM does not show
            calls = max(1, round(8 / batch))
            for padded in (False, True):
                given = inputs(batch, padded)
                seconds = interleaved(
                    {
                        "FlexiBERT": forward(ours, given, calls),
                        "BertModel": forward(theirs, given, calls),
                    },
                    repeats,
                )
                ratio = seconds["FlexiBERT"] / seconds["BertModel"]
                what = f"sa_sdp ÷ BertModel, {name}, batch {batch}{', padded' * padded}"
                rows.append(row(what, "≤1.00", ratio, seconds, calls))
    return rows


def mixed(repeats: int) -> list[dict[str, Any]]:
    rows = [against_the_reference(repeats)]
    for name, shape in MIXED.items():
        architecture = mixed_of(shape)
        ours = flexibert(architecture)
        looped, plain = loop_model(ours), flexibert(of_equal_macs(architecture))
        check_agreement(ours, looped)
        for batch in (1, 32):
            calls = max(1, round(8 / batch))
            given = inputs(batch, padded=batch > 1)
            runs = {
                "all seven types": forward(ours, given, calls),
                "loop over heads": forward(looped, given, calls),
                "sa_sdp of equal MACs": forward(plain, given, calls),
            }
            seconds = interleaved(runs, repeats)
            mine = seconds["all seven types"]
            for other, target in (("loop over heads", "≥1.00"), ("sa_sdp of equal MACs", "≥0.85")):
                ratio = seconds[other] / mine
                pair = {key: seconds[key] for key in ("all seven types", other)}
                what = f"speed against {other}, {name}, batch {batch}"
                rows.append(row(what, target, ratio, pair, calls))
    return rows


def against_the_reference(repeats: int) -> dict[str, Any]:
    sys.path.insert(0, str(REFERENCE))
    from models_reference import encode

    name = next(iter(MIXED))
    model = flexibert(mixed_of(MIXED[name]))
    given = inputs(1)
    ids, mask = given["input_ids"], given["attention_mask"]

    @torch.inference_mode()
    def reference() -> None:
        encode(model, ids, mask, torch.zeros_like(ids))

    runs = {"all seven types": forward(model, given, 1), "reference": reference}
    seconds = interleaved(runs, repeats)
    ratio = seconds["reference"] / seconds["all seven types"]
    return row(f"speed against the reference, {name}, batch 1", "≥3.00", ratio, seconds)


def check_agreement(ours: nn.Module, looped: nn.Module) -> None:
    with torch.inference_mode():
        results = [model(**inputs(4, padded=True)).last_hidden_state for model in (ours, looped)]
    assert (results[0] - results[1]).abs().max() < 1e-4, "the loop computes something else"


def loading(repeats: int) -> list[dict[str, Any]]:
    shape = SHAPES["BERT-Base"]
    config = bert_config(shape)
    ours = FlexiBertConfig.from_architecture(homogeneous_of(shape))
    building = interleaved(
        {"FlexiBERT": lambda: FlexiBertModel(ours), "BertModel": lambda: BertModel(config)}, repeats
    )
    with tempfile.TemporaryDirectory() as folder:
        for name, model in (("ours", FlexiBertModel(ours)), ("theirs", BertModel(config))):
            model.save_pretrained(f"{folder}/{name}")
        reading = interleaved(
            {
                "FlexiBERT": lambda: FlexiBertModel.from_pretrained(f"{folder}/ours"),
                "BertModel": lambda: BertModel.from_pretrained(f"{folder}/theirs"),
            },
            repeats,
        )
    return [
        row(f"{what} ÷ BertModel, BERT-Base", "≤1.00", s["FlexiBERT"] / s["BertModel"], s)
        for what, s in (("building", building), ("loading safetensors", reading))
    ]


def memory(repeats: int) -> list[dict[str, Any]]:
    rows = []
    for batch in (1, 32):
        peaks: dict[str, list[float]] = {"FlexiBERT": [], "BertModel": []}
        for _ in range(max(3, repeats // 4)):
            for name, values in peaks.items():
                command = [sys.executable, __file__, "--peak", name, "--batch", str(batch)]
                output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                values.append(float(output))
        medians = {name: statistics.median(values) for name, values in peaks.items()}
        ratio = medians["FlexiBERT"] / medians["BertModel"]
        result = row(f"peak memory ÷ BertModel, MiniLM-L6, batch {batch}", "≤1.05", ratio, {})
        result["median_mib"] = {name: round(value, 1) for name, value in medians.items()}
        rows.append(result)
    return rows


def print_peak(name: str, batch: int) -> None:
    """Resident MiB at the highest point of a forward pass, the weights included."""
    shape = SHAPES["MiniLM-L6"]
    model: nn.Module = (
        flexibert(homogeneous_of(shape))
        if name == "FlexiBERT"
        else BertModel(bert_config(shape)).eval()
    )
    given = inputs(batch, padded=True)
    empty = status("VmRSS") - sum(p.numel() * p.element_size() for p in model.parameters()) / 2**20
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    forward(model, given, 1)()
    print(status("VmHWM") - empty)


def status(field: str) -> float:
    """A field of /proc/self/status in MiB."""
    line = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert line is not None
    return int(line[1]) / 1024


def gpu(repeats: int) -> list[dict[str, Any]]:
    if not torch.cuda.is_available():
        return [
            {
                "what": "GPU, float16 and bfloat16",
                "target": "≥5.00",
                "ratio": None,
                "met": None,
                "reason": "no GPU",
            }
        ]
    rows = []
    for dtype in (torch.float16, torch.bfloat16):
        kind = str(dtype).removeprefix("torch.")
        for batch in (1, 32):
            given = {key: value.cuda() for key, value in inputs(batch, padded=True).items()}
            shape = SHAPES["BERT-Base"]
            theirs = BertModel(bert_config(shape)).eval().to("cuda", dtype)
            ours = flexibert(homogeneous_of(shape)).to("cuda", dtype)
            seconds = interleaved(
                {"FlexiBERT": synchronised(ours, given), "BertModel": synchronised(theirs, given)},
                repeats,
            )
            ratio = seconds["FlexiBERT"] / seconds["BertModel"]
            rows.append(row(f"{kind}, ÷ BertModel, batch {batch}", "≤1.00", ratio, seconds))
            mixture = flexibert(mixed_of(SHAPES["BERT-Base"]))
            looped = loop_model(mixture).cuda()
            seconds = interleaved(
                {
                    "all seven types": synchronised(mixture.to("cuda", dtype), given),
                    # torch has no half-precision FFT of any length: the loop stays in float32.
                    "loop over heads": synchronised(looped, given),
                },
                repeats,
            )
            ratio = seconds["loop over heads"] / seconds["all seven types"]
            rows.append(row(f"{kind}, against the loop, batch {batch}", "≥5.00", ratio, seconds))
    return rows


def synchronised(model: nn.Module, given: dict[str, Tensor]) -> Callable[[], None]:
    run = forward(model, given, 1)

    def call() -> None:
        run()
        torch.cuda.synchronize()

    return call


SECTIONS: dict[str, Callable[[int], list[dict[str, Any]]]] = {
    "homogeneous": homogeneous,
    "mixed": mixed,
    "loading": loading,
    "memory": memory,
    "gpu": gpu,
}


def show(rows: list[dict[str, Any]]) -> None:
    table = Table("what", "target", "ratio", "met", "median ms (or MiB)")
    for entry in rows:
        figures = entry.get("median_mib") or entry.get("median_ms") or {}
        table.add_row(
            entry["what"],
            entry["target"],
            entry.get("reason") or f"{entry['ratio']:.3f}",
            {True: "yes", False: "no", None: "–"}[entry["met"]],
            ", ".join(f"{name} {value:g}" for name, value in figures.items()),
        )
    Console(width=160).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], default=[])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--peak", choices=("FlexiBERT", "BertModel"), help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, default=1, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    transformers.utils.logging.disable_progress_bar()
    if arguments.peak:
        print_peak(arguments.peak, arguments.batch)
        return
    torch.manual_seed(0)
    host = host_info()
    hardware = f"{host.cpu_model}, {arguments.threads} threads"
    path = arguments.results or RESULTS / f"models-{slug(host.cpu_model)}.json"
    kept = json.loads(path.read_text())["sections"] if path.exists() else {}
    for name in arguments.sections or SECTIONS:
        kept[name] = SECTIONS[name](arguments.repeats)
        show(kept[name])
        path.parent.mkdir(exist_ok=True)
        result = {
            "benchmark": "models",
            "hardware": hardware,
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "transformers": transformers.__version__,
            },
            "length": LENGTH,
            "repeats": arguments.repeats,
            "sections": kept,
        }
        path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


def slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


if __name__ == "__main__":
    main()
