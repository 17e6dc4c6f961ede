"""PyTorch artefacts: a folder with `config.json` and `model.safetensors` in their own precision.

int8 layers are stored as what they compute with: `NAME.weight_int8` (out, in), one scale and zero
point per layer (float64, int64), and the bias in fp32. Activations are quantised as they come.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgetran.artifacts.artifact import ArtifactError

if TYPE_CHECKING:
    import torch

    from edgetran.models import FlexiBertForSequenceClassification

WEIGHTS: Final = "model.safetensors"
QUANTIZATION: Final = {
    "method": "dynamic",
    "weights": "int8, one scale per layer",
    "activations": "uint8, ranges as they come",
    "tool": "torch.ao.quantization",
}

_VALUES, _SCALE, _ZERO = ".weight_int8", ".weight_scale", ".weight_zero_point"
_BIAS = ".bias"


def write_torch_folder(
    model: FlexiBertForSequenceClassification, folder: Path, precision: str
) -> None:
    """Write a model in fp32, fp16, bf16 or int8; the model given is left as it is."""
    import torch
    from safetensors.torch import save_file

    from edgetran.devices.engines.torch_engine import quantized_linear_layers

    dtypes = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
    if precision == "int8":
        tensors = _int8_tensors(quantized_linear_layers(model))
    else:
        tensors = {
            name: tensor.to(dtypes[precision]) if tensor.is_floating_point() else tensor
            for name, tensor in model.state_dict().items()
        }
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(model.config.to_json_string(), encoding="utf-8")
    save_file(
        {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()},
        folder / WEIGHTS,
        metadata={"format": "pt"},
    )


def read_torch_folder(folder: Path) -> torch.nn.Module:
    """The model of a folder that `write_torch_folder` wrote, in evaluation mode.

    Numbers of half precision come back in fp32, unchanged; int8 layers as they compute.

    Raises:
        ArtifactError: the folder holds no such model.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from edgetran.models import FlexiBertConfig, FlexiBertForSequenceClassification

    try:
        config = FlexiBertConfig.from_json_file(folder / "config.json")
        tensors = load_file(folder / WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise ArtifactError(f"{folder}: holds no PyTorch artefact: {error}") from None
    layers = [name.removesuffix(_VALUES) for name in tensors if name.endswith(_VALUES)]
    packed: dict[str, dict[str, torch.Tensor | None]] = {
        layer: {
            _VALUES: tensors.pop(layer + _VALUES),
            _SCALE: tensors.pop(layer + _SCALE),
            _ZERO: tensors.pop(layer + _ZERO),
            _BIAS: tensors.pop(layer + _BIAS) if layer + _BIAS in tensors else None,
        }
        for layer in layers
    }
    with torch.random.fork_rng(devices=[]):
        model = FlexiBertForSequenceClassification(config)
    outcome = model.load_state_dict(tensors, strict=False)
    absent = {n for n in outcome.missing_keys if n.rpartition(".")[0] not in packed}
    if absent or outcome.unexpected_keys:
        wrong = sorted(absent) or outcome.unexpected_keys
        raise ArtifactError(f"{folder}: {wrong[0]} does not fit its config.json")
    for layer, parts in packed.items():
        parent, _, name = layer.rpartition(".")
        setattr(model.get_submodule(parent), name, _int8_layer(parts))
    model.eval()  # type: ignore[no-untyped-call]  # transformers' own
    return model


def _int8_tensors(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    import torch
    from torch.ao.nn.quantized.dynamic import Linear

    tensors: dict[str, torch.Tensor] = {}
    layers = []
    for name, module in model.named_modules():
        if not isinstance(module, Linear):
            continue
        layers.append(f"{name}.")
        weight, bias = module.weight(), module.bias()
        tensors[name + _VALUES] = weight.int_repr()
        tensors[name + _SCALE] = torch.tensor(weight.q_scale(), dtype=torch.float64)
        tensors[name + _ZERO] = torch.tensor(weight.q_zero_point(), dtype=torch.int64)
        if bias is not None:
            tensors[name + _BIAS] = bias
    rest = {
        name: value
        for name, value in model.state_dict().items()
        if not name.startswith(tuple(layers))
    }
    return rest | tensors


def _int8_layer(parts: dict[str, Any]) -> torch.nn.Module:
    import torch
    from torch.ao.nn.quantized.dynamic import Linear

    from edgetran.devices.engines.torch_engine import choose_int8_kernels

    choose_int8_kernels()
    values = parts[_VALUES]
    layer = Linear(
        values.shape[1], values.shape[0], bias_=parts[_BIAS] is not None, dtype=torch.qint8
    )
    weight = torch._make_per_tensor_quantized_tensor(
        values, float(parts[_SCALE]), int(parts[_ZERO])
    )
    layer.set_weight_bias(weight, parts[_BIAS])
    return layer
