"""FlexiBERT written in ONNX's standard operators, straight from a model's weights.

torch's exporter needs tens of seconds for what this writes in milliseconds, since it has to find
out which sizes are symbolic: here only batch and length are. Layer by layer it follows `modeling`
and `heads`; shapes as there, heads before positions: (B, n, S, d). A test holds both together for
every head type, at many batches and lengths.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from torch import Tensor, nn

from edgetran.models.config import ModelConfigError
from edgetran.models.heads import BLOCK, ConvolutionHeads, CosineHeads, FourierHeads, ScoreHeads
from edgetran.models.modeling import (
    FlexiBertAttention,
    FlexiBertEmbeddings,
    FlexiBertLayer,
    FlexiBertMaskedLMHead,
    FlexiBertModel,
)

if TYPE_CHECKING:
    import onnx

OPSET: Final = 20
IR_VERSION: Final = 9
"""The oldest that has this operator set: older runtimes read it too."""

INPUT_NAMES: Final = ("input_ids", "attention_mask", "token_type_ids")

_LOWEST: Final = np.finfo(np.float32).min
"""Added to forbidden scores: an example of padding alone stays finite."""

ACTIVATIONS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "gelu": ("Gelu", {}),
    "gelu_new": ("Gelu", {"approximate": "tanh"}),
    "gelu_fast": ("Gelu", {"approximate": "tanh"}),
    "gelu_pytorch_tanh": ("Gelu", {"approximate": "tanh"}),
    "relu": ("Relu", {}),
    "tanh": ("Tanh", {}),
    "sigmoid": ("Sigmoid", {}),
    "leaky_relu": ("LeakyRelu", {"alpha": 0.01}),
    "mish": ("Mish", {}),
    "linear": ("Identity", {}),
}
"""ONNX's operator, and its attributes, for an activation by transformers' name."""


class OnnxWriter:
    """Collects the nodes of a graph whose inputs are those of `INPUT_NAMES`.

    Tensors are known by their names; `op` adds a node and gives back its output's.
    """

    def __init__(self, activation: str) -> None:
        if activation not in (*ACTIVATIONS, "silu", "swish"):
            raise ModelConfigError(
                f"hidden_act: {activation!r} cannot be written as ONNX; allowed are "
                f"{', '.join([*ACTIVATIONS, 'silu', 'swish'])}"
            )
        self._activation = activation
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._shared: dict[object, str] = {}
        self._scope: list[str] = []

    # --- nodes and constants

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Names of nodes and weights inside begin with it."""
        self._scope.append(name)
        yield
        self._scope.pop()

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """The output of a new node."""
        return self._add(kind, inputs, 1, attributes)[0]

    def weight(self, name: str, value: Tensor | np.ndarray) -> str:
        """A constant of the model, in fp32."""
        from onnx import numpy_helper

        array = value.detach().float().cpu().numpy() if isinstance(value, Tensor) else value
        full = ".".join([*self._scope, name])
        tensor = numpy_helper.from_array(np.array(array, order="C"), full)
        self._initializers[full] = tensor
        return full

    def integers(self, *values: int) -> str:
        """A constant list of integers, once for the whole graph."""
        return self._once(("int", values), "integers", np.array(values, dtype=np.int64))

    def number(self, value: float) -> str:
        """A constant number, once for the whole graph."""
        return self._once(("float", value), "number", np.array(value, dtype=np.float32))

    def shared(self, key: object, output: str | None = None) -> str | None:
        """What several layers need and the first of them has made."""
        if output is not None:
            self._shared[key] = output
        return self._shared.get(key)

    def _once(self, key: object, stem: str, array: np.ndarray) -> str:
        if key not in self._shared:
            scope, self._scope = self._scope, []
            self._shared[key] = self.weight(f"{stem}.{len(self._shared)}", array)
            self._scope = scope
        return self._shared[key]

    def _add(
        self, kind: str, inputs: Sequence[str], outputs: int, attributes: dict[str, Any]
    ) -> list[str]:
        from onnx import helper

        name = "/".join([*self._scope, f"{kind}_{len(self._nodes)}"])
        names = [name if i == 0 else f"{name}.{i}" for i in range(outputs)]
        self._nodes.append(helper.make_node(kind, list(inputs), names, name=name, **attributes))
        return names

    # --- what layers are made of

    def reshape(self, x: str, *shape: int) -> str:
        """With 0 where a size stays, −1 where it follows."""
        return self.op("Reshape", x, self.integers(*shape))

    def transpose(self, x: str, *order: int) -> str:
        """Axes in another order."""
        return self.op("Transpose", x, perm=list(order))

    def slice(self, x: str, axis: int, start: str, end: str) -> str:
        """A range of one axis."""
        return self.op("Slice", x, start, end, self.integers(axis))

    def split(self, x: str, axis: int, sizes: Sequence[int]) -> list[str | None]:
        """Parts of an axis; None for one of size 0."""
        there = [size for size in sizes if size]
        if len(there) == 1:
            return [x if size else None for size in sizes]
        parts = iter(self._add("Split", [x, self.integers(*there)], len(there), {"axis": axis}))
        return [next(parts) if size else None for size in sizes]

    def linear(self, x: str, name: str, layer: nn.Linear) -> str:
        """A product with a (in, out) matrix, and the bias."""
        with self.scope(name):
            return self.affine(x, layer.weight.T, layer.bias)

    def affine(self, x: str, matrix: Tensor, bias: Tensor | None) -> str:
        """The product x · matrix, and the bias."""
        product = self.op("MatMul", x, self.weight("weight", matrix))
        return product if bias is None else self.op("Add", product, self.weight("bias", bias))

    def norm(self, x: str, layer: nn.LayerNorm) -> str:
        """A LayerNorm over the last axis."""
        with self.scope("LayerNorm"):
            weights = self.weight("weight", layer.weight), self.weight("bias", layer.bias)
            return self.op("LayerNormalization", x, *weights, axis=-1, epsilon=layer.eps)

    def activate(self, x: str) -> str:
        """The activation of the configuration."""
        if self._activation in ("silu", "swish"):
            return self.op("Mul", x, self.op("Sigmoid", x))
        kind, attributes = ACTIVATIONS[self._activation]
        return self.op(kind, x, **attributes)

    # --- sizes and masks, made when first needed

    def length(self) -> str:
        """[S]."""
        known = self.shared("length")
        return known or str(self.shared("length", self.op("Shape", INPUT_NAMES[0], start=1, end=2)))

    def score_mask(self) -> str:
        """(B, 1, 1, S): 0 where a position may be attended to, the lowest number elsewhere."""
        known = self.shared("score mask")
        if known is None:
            keep = self.op("Cast", INPUT_NAMES[1], to=9)  # 9: bool
            bias = self.op("Where", keep, self.number(0.0), self.number(float(_LOWEST)))
            known = self.op("Unsqueeze", bias, self.integers(1, 2))
            self.shared("score mask", known)
        return known

    def tokens(self) -> str:
        """(B, S, 1, 1): 0 at padding, 1 elsewhere."""
        known = self.shared("tokens")
        if known is None:
            keep = self.op("Cast", self.op("Cast", INPUT_NAMES[1], to=9), to=1)  # 1: float
            known = self.op("Unsqueeze", keep, self.integers(2, 3))
            self.shared("tokens", known)
        return known

    def model(self, outputs: dict[str, tuple[str, list[str | int]]]) -> onnx.ModelProto:
        """The graph, with outputs by name: a tensor and its shape."""
        from onnx import TensorProto, helper

        for name, (tensor, _) in outputs.items():
            self._nodes.append(helper.make_node("Identity", [tensor], [name], name=name))
        used = {name for node in self._nodes for name in node.input}
        graph = helper.make_graph(
            self._nodes,
            "flexibert",
            [
                helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
                for name in INPUT_NAMES
            ],
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
                for name, (_, shape) in outputs.items()
            ],
            [tensor for name, tensor in self._initializers.items() if name in used],
        )
        opset = [helper.make_operatorsetid("", OPSET)]
        return helper.make_model(
            graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="edgetran"
        )


def write_encoder(w: OnnxWriter, model: FlexiBertModel) -> str:
    """(B, S, h) of the last layer."""
    with w.scope("embeddings"):
        hidden = _embeddings(w, model.embeddings)
    for index, layer in enumerate(model.layers):
        assert isinstance(layer, FlexiBertLayer)  # noqa: S101 - what the encoder holds
        with w.scope(f"layers.{index}"):
            hidden = _layer(w, layer, hidden, model)
    return hidden


def write_pooler(w: OnnxWriter, model: FlexiBertModel, hidden: str) -> str | None:
    """(B, h): tanh Linear of token 0; None without a pooler."""
    if model.pooler is None:
        return None
    first = w.op("Gather", hidden, _scalar(w), axis=1)
    return w.op("Tanh", w.linear(first, "pooler", model.pooler))


def write_lm_head(w: OnnxWriter, head: FlexiBertMaskedLMHead, hidden: str) -> str:
    """(B, S, vocab_size)."""
    with w.scope("head"):
        mixed = w.norm(w.activate(w.linear(hidden, "dense", head.dense)), head.LayerNorm)
        return w.linear(mixed, "decoder", head.decoder)


def _scalar(w: OnnxWriter) -> str:
    return w._once("zero", "zero", np.array(0, dtype=np.int64))


def _embeddings(w: OnnxWriter, module: FlexiBertEmbeddings) -> str:
    words = w.op("Gather", w.weight("words", module.word_embeddings.weight), INPUT_NAMES[0])
    types = w.op("Gather", w.weight("types", module.token_type_embeddings.weight), INPUT_NAMES[2])
    added = w.op("Add", words, types)
    if hasattr(module, "position_embeddings"):
        table = w.weight("positions", module.position_embeddings.weight)
        added = w.op("Add", added, w.slice(table, 0, w.integers(0), w.length()))
    return w.norm(added, module.LayerNorm)


def _layer(w: OnnxWriter, layer: FlexiBertLayer, hidden: str, model: FlexiBertModel) -> str:
    attention, feed_forward = layer.attention, layer.feed_forward
    with w.scope("attention"):
        mixed = w.linear(_mix(w, attention, hidden, model), "output", attention.output)
        hidden = w.norm(w.op("Add", mixed, hidden), attention.LayerNorm)
    with w.scope("feed_forward"):
        mixed, last = hidden, len(feed_forward.dense) - 1
        for index, dense in enumerate(feed_forward.dense):
            assert isinstance(dense, nn.Linear)  # noqa: S101 - what the stack holds
            mixed = w.linear(mixed, f"dense.{index}", dense)
            mixed = mixed if index == last else w.activate(mixed)
        hidden = w.norm(w.op("Add", mixed, hidden), feed_forward.LayerNorm)
    return (
        w.linear(hidden, "projection", layer.projection) if hasattr(layer, "projection") else hidden
    )


def _mix(w: OnnxWriter, module: FlexiBertAttention, hidden: str, model: FlexiBertModel) -> str:
    """The heads' outputs beside each other, (B, S, n·d)."""
    dim, blocks = module.head_dim, module.blocks
    matrix: Tensor = module.query_key_value.weight.T
    bias: Tensor = module.query_key_value.bias
    if module.num_scores:  # scaled once, in the weights: q/√d instead of every score
        columns, scale = module.num_scores * dim, dim**-0.5
        matrix, bias = matrix.detach().clone(), bias.detach().clone()
        matrix[:, :columns] *= scale
        bias[:columns] *= scale
    with w.scope("query_key_value"):
        projected = w.affine(hidden, matrix, bias)
    projected = w.reshape(projected, 0, 0, sum(blocks), dim)
    sa_q, c_q, sa_k, c_k, sa_v, dft_v, dct_v, c_v = w.split(projected, 2, blocks)
    outputs: list[str] = []
    if sa_q is not None and sa_k is not None and sa_v is not None:
        with w.scope("scores"):
            outputs.append(_scores(w, module.scores, sa_q, sa_k, sa_v))
    if dft_v is not None:
        with w.scope("fourier"):
            outputs.append(_fourier(w, module.fourier, dft_v, module.num_dft, model))
    if dct_v is not None:
        with w.scope("cosine"):
            outputs.append(_cosine(w, module.cosine, dct_v, module.num_dct, model))
    if c_q is not None and c_k is not None and c_v is not None:
        with w.scope("convolution"):
            outputs.append(_convolution(w, module.convolution, c_q, c_k, c_v))
    mixed = outputs[0] if len(outputs) == 1 else w.op("Concat", *outputs, axis=2)
    return w.reshape(mixed, 0, 0, module.output.in_features)


def _scores(w: OnnxWriter, module: ScoreHeads, query: str, key: str, value: str) -> str:
    query, value = w.transpose(query, 0, 2, 1, 3), w.transpose(value, 0, 2, 1, 3)
    if module.weighted:
        weighting, others = w.weight("weighting", module.weighting), module.weighting.shape[0]
        plain, weighted = w.split(query, 1, (module.num_sdp, others))
        assert weighted is not None  # noqa: S101 - there are others
        weighted = w.op("MatMul", weighted, weighting)
        query = weighted if plain is None else w.op("Concat", plain, weighted, axis=1)
    scores = w.op("MatMul", query, w.transpose(key, 0, 2, 3, 1))  # (B, n, S, S)
    if module.distances:
        scores = w.op("Add", scores, _relative_scores(w, module, query))
    scores = w.op("Softmax", w.op("Add", scores, w.score_mask()), axis=-1)
    return w.transpose(w.op("MatMul", scores, value), 0, 2, 1, 3)


def _relative_scores(w: OnnxWriter, module: ScoreHeads, query: str) -> str:
    """q·R[i−j], (B, n, S, S); the trick with rows as in `ScoreHeads`."""
    length, distances = w.length(), w.integers(module.distances)
    one = w.integers(1)
    table = w.weight("distances", module.distance_embeddings.T)  # (d, 2·distances − 1)
    end = w.op("Sub", w.op("Add", distances, length), one)
    table = w.slice(table, 1, w.op("Sub", distances, length), end)
    scores = w.op("MatMul", query, table)  # (B, n, S, 2S − 1)
    scores = w.op("Pad", scores, w.integers(0, 0, 0, 0, 0, 0, 0, 1))
    scores = w.reshape(scores, 0, 0, -1)
    start = w.op("Sub", length, one)
    row = w.op("Add", start, length)
    scores = w.slice(scores, 2, start, w.op("Add", start, w.op("Mul", length, row)))
    shape = w.op("Concat", w.integers(0, 0), length, w.integers(-1), axis=0)
    return w.slice(w.op("Reshape", scores, shape), 3, w.integers(0), length)


def _masked(w: OnnxWriter, value: str) -> str:
    return w.op("Mul", value, w.tokens())


def _fourier(
    w: OnnxWriter, module: FourierHeads, value: str, heads: int, model: FlexiBertModel
) -> str:
    dim = module.basis.shape[0]
    positions = w.shared("dft")
    if positions is None:
        table = w.weight("positions", model.transforms.dft.transpose(0, 1))  # (T, 2, T)
        table = w.slice(table, 0, w.integers(0), w.length())
        table = w.slice(table, 2, w.integers(0), w.length())
        positions = w.reshape(table, 0, -1)  # (S, 2·S)
        w.shared("dft", positions)
    parts = w.op("MatMul", _masked(w, value), w.weight("basis", module.basis))
    parts = w.transpose(w.reshape(parts, 0, 0, heads, 2, dim), 0, 3, 1, 2, 4)
    mixed = w.op("MatMul", positions, w.reshape(parts, 0, -1, heads * dim))
    return w.reshape(mixed, 0, 0, heads, dim)


def _cosine(
    w: OnnxWriter, module: CosineHeads, value: str, heads: int, model: FlexiBertModel
) -> str:
    dim = module.basis.shape[0]
    positions = w.shared("dct")
    if positions is None:
        table = w.weight("positions", model.transforms.dct)
        table = w.slice(table, 0, w.integers(0), w.length())
        positions = w.slice(table, 1, w.integers(0), w.length())
        w.shared("dct", positions)
    flat = w.reshape(_masked(w, value), 0, 0, heads * dim)
    mixed = w.reshape(w.op("MatMul", positions, flat), 0, 0, heads, dim)
    return w.op("MatMul", mixed, w.weight("basis", module.basis.T))


def _convolution(w: OnnxWriter, module: ConvolutionHeads, query: str, key: str, value: str) -> str:
    heads, dim = module.pointwise.shape[:2]
    span = module.longest
    depthwise, kernel, kernel_bias = module._spread()
    key = w.transpose(w.reshape(_masked(w, key), 0, 0, heads * dim), 0, 2, 1)  # (B, n·d, S)
    mixed = w.op(
        "Conv",
        key,
        w.weight("depthwise", depthwise.transpose(1, 2).reshape(heads * dim, 1, span)),
        group=heads * dim,
        kernel_shape=[span],
        pads=[span // 2, span // 2],
    )
    mixed = w.transpose(w.reshape(mixed, 0, heads, dim, -1), 0, 1, 3, 2)  # (B, n, S, d)
    query, value = w.transpose(query, 0, 2, 1, 3), w.transpose(value, 0, 2, 1, 3)
    with w.scope("pointwise"):
        mixed = w.affine(mixed, module.pointwise, module.pointwise_bias[:, None])
    with w.scope("kernel"):
        logits = w.affine(w.op("Mul", mixed, query), kernel.transpose(1, 2), kernel_bias[:, None])
    kernels = w.op("Softmax", logits, axis=-1)
    with w.scope("value"):
        values = w.affine(value, module.value, module.value_bias[:, None])
    values = w.op("Mul", values, w.transpose(w.tokens(), 0, 2, 1, 3))
    return w.transpose(_banded_product(w, kernels, values, heads, dim, span), 0, 2, 1, 3)


def _banded_product(
    w: OnnxWriter, kernels: str, values: str, heads: int, dim: int, span: int
) -> str:
    """As `heads.banded_product`: kernels (B, n, S, k), values (B, n, S, d) → (B, n, S, d)."""
    halo = span - 1
    value_pads, kernel_pads = _band_pads(w, span)
    windows = w.reshape(w.op("Pad", values, value_pads), 0, heads, -1, BLOCK, dim)
    here = w.slice(windows, 2, w.integers(0), w.integers(-1))
    ahead = w.slice(windows, 2, w.integers(1), w.integers(2**31))
    ahead = w.slice(ahead, 3, w.integers(0), w.integers(halo))
    windows = w.op("Concat", here, ahead, axis=3)
    band = w.reshape(w.op("Pad", kernels, kernel_pads), 0, heads, -1, BLOCK * (BLOCK + span))
    band = w.slice(band, 3, w.integers(0), w.integers(BLOCK * (BLOCK + halo)))
    band = w.reshape(band, 0, heads, -1, BLOCK, BLOCK + halo)
    out = w.reshape(w.op("MatMul", band, windows), 0, heads, -1, dim)
    return w.slice(out, 2, w.integers(0), w.length())


def _band_pads(w: OnnxWriter, span: int) -> tuple[str, str]:
    """Pads of values and of kernels that fill whole blocks, and what the last one reads on."""
    known = w.shared(("value pads", span)), w.shared(("kernel pads", span))
    if known[0] is not None and known[1] is not None:
        return known[0], known[1]
    block, front = w.integers(BLOCK), (span - 1) // 2
    blocks = w.op("Div", w.op("Add", w.length(), w.integers(BLOCK - 1)), block)
    missing = w.op("Sub", w.op("Mul", blocks, block), w.length())
    behind = w.op("Add", missing, w.integers(BLOCK - front))
    value_pads = w.op("Concat", w.integers(0, 0, front, 0, 0, 0), behind, w.integers(0), axis=0)
    kernel_pads = w.op("Concat", w.integers(0, 0, 0, 0, 0, 0), missing, block, axis=0)
    w.shared(("value pads", span), value_pads)
    w.shared(("kernel pads", span), kernel_pads)
    return value_pads, kernel_pads
