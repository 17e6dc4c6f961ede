"""The optimiser, its schedule, and the state that lets an interrupted training go on.

Source: AdamW, Loshchilov and Hutter (arXiv 1711.05101); linear warm-up and decay as in BERT.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from edgetran.records import sync_file
from edgetran.training.disk import safetensors_errors


class TrainingDiverged(ArithmeticError):  # noqa: N818 - says what happened, not that it is an error
    """The loss or the weights are no longer finite numbers."""


def adamw(
    network: nn.Module, *, learning_rate: float, weight_decay: float, beta2: float
) -> torch.optim.AdamW:
    """AdamW without decay on biases, LayerNorms and every other vector."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, beta2), eps=1e-8, fused=True)


def linear_schedule(fraction: float, warmup: float) -> float:
    """Share of the highest learning rate at `fraction` of the budget: up to 1, then down to 0."""
    if fraction < warmup:
        return fraction / warmup
    return max(0.0, (1.0 - fraction) / (1.0 - warmup)) if warmup < 1 else 1.0


def set_learning_rate(optimiser: torch.optim.Optimizer, learning_rate: float) -> None:
    """Give every group the same learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = learning_rate


def own_tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    """The module's persistent tensors by name, each storage once although weights may be tied."""
    seen: set[int] = set()
    tensors = {}
    for name, tensor in module.state_dict().items():
        if tensor.data_ptr() not in seen or tensor.numel() == 0:
            seen.add(tensor.data_ptr())
            tensors[name] = tensor
    return tensors


def copy_tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    """A copy on the CPU of `own_tensors`."""
    return {name: t.detach().to("cpu", copy=True) for name, t in own_tensors(module).items()}


def restore_tensors(module: nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    """Put `copy_tensors`' values back.

    Raises:
        KeyError: a tensor of the module is missing.
    """
    with torch.no_grad():
        for name, tensor in own_tensors(module).items():
            tensor.copy_(tensors[name])


def save_state(
    path: Path,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    best: dict[str, torch.Tensor],
    facts: dict[str, Any],
) -> None:
    """Write everything that training needs to go on to one safetensors file, atomically.

    Raises:
        OSError: the file cannot be written, e.g. no space is left on the disk.
    """
    tensors = {f"network.{name}": t for name, t in copy_tensors(network).items()}
    tensors |= {f"best.{name}": t for name, t in best.items()}
    for index, parameter in enumerate(_parameters(optimiser)):
        for key, value in optimiser.state.get(parameter, {}).items():
            tensors[f"optimiser.{index}.{key}"] = value.detach().to("cpu", copy=True)
    tensors["rng.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["rng.cuda"] = torch.cuda.get_rng_state()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with safetensors_errors(path):
            save_file(tensors, temporary, metadata={"facts": json.dumps(facts)})
        sync_file(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_facts(path: Path) -> dict[str, Any] | None:
    """The facts that `save_state` was given; None where there is no readable state."""
    try:
        with safe_open(path, framework="pt") as file:
            facts: dict[str, Any] = json.loads((file.metadata() or {})["facts"])
            return facts
    except (OSError, SafetensorError, KeyError, ValueError):
        return None


def load_state(
    path: Path, network: nn.Module, optimiser: torch.optim.Optimizer
) -> dict[str, torch.Tensor]:
    """Put network, optimiser and random generators back as they were saved; returns `best`."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    restore_tensors(network, _under(tensors, "network."))
    for index, parameter in enumerate(_parameters(optimiser)):
        state = _under(tensors, f"optimiser.{index}.")
        optimiser.state[parameter] = {
            key: value if key == "step" and parameter.device.type == "cpu" else value.to(parameter)
            for key, value in state.items()
        }
    torch.set_rng_state(tensors["rng.cpu"])
    if torch.cuda.is_available() and "rng.cuda" in tensors:
        torch.cuda.set_rng_state(tensors["rng.cuda"])
    return _under(tensors, "best.")


def _parameters(optimiser: torch.optim.Optimizer) -> Iterable[torch.Tensor]:
    return (parameter for group in optimiser.param_groups for parameter in group["params"])


def _under(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
