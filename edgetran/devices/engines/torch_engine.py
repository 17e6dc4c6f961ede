"""PyTorch in eager mode: fp32, bf16 and dynamic int8 on processors; fp32, fp16, bf16 on CUDA."""

from __future__ import annotations

import copy
import importlib.metadata
import importlib.util
import inspect
import warnings
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from edgetran.devices.engines.engine import Arrays, Engine, EngineError, Session, check_inputs

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from edgetran.devices.figures import Workload


class TorchEngine(Engine):
    """Runs a `torch.nn.Module` under inference mode."""

    name: ClassVar[str] = "torch"
    reads = "module"
    precisions: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "cpu": ("fp32", "bf16", "int8"),
        "cuda": ("fp32", "fp16", "bf16"),
    }

    def available(self) -> str | None:
        """Needs torch, and a CUDA device where that is the target."""
        if importlib.util.find_spec("torch") is None:
            return 'torch is not installed; pip install "edgetran[worker]"'
        if self.target == "cuda":
            import torch

            if not torch.cuda.is_available():
                return "torch sees no CUDA device"
        return None

    def versions(self) -> dict[str, str]:
        """Version of torch."""
        return {"torch": importlib.metadata.version("torch")}

    def load(self, model: Any, workload: Workload | None = None) -> Session:  # noqa: ARG002
        """Copy the module to the target in the precision asked for; its shapes stay free."""
        self.require()
        import torch

        if not isinstance(model, torch.nn.Module):
            raise EngineError(f"torch: {type(model).__name__} given; allowed is a torch.nn.Module")
        try:
            return _TorchSession(self._converted(model), self)
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise EngineError(f"torch: the model does not fit in memory: {error}") from None

    def _converted(self, model: torch.nn.Module) -> torch.nn.Module:
        import torch

        if self.precision == "int8":
            return quantized_linear_layers(model)
        copied = copy.deepcopy(model).eval()
        dtypes = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
        return copied.to(device=self.target, dtype=dtypes[self.precision])


class _TorchSession(Session):
    def __init__(self, model: torch.nn.Module, engine: TorchEngine) -> None:
        self._model = model
        self._threads = engine.threads
        self._target = engine.target
        parameters = inspect.signature(model.forward).parameters
        self._allowed = [
            name
            for name, parameter in parameters.items()
            if parameter.kind != parameter.VAR_KEYWORD
        ]
        self._accepts_any = len(self._allowed) < len(parameters)
        self.arithmetic = engine.precision

    def accepts(self, name: str) -> bool:
        return self._accepts_any or name in self._allowed

    def run(self, inputs: Arrays) -> np.ndarray:
        import torch

        if not self._accepts_any:
            check_inputs(inputs, (), self._allowed)
        threads_before = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        try:
            with torch.inference_mode():
                tensors = {
                    name: torch.from_numpy(array).to(self._target) for name, array in inputs.items()
                }
                logits = self._model(**tensors).logits
                return np.asarray(logits.float().cpu().numpy())
        except torch.OutOfMemoryError as error:
            raise EngineError(f"torch: the batch does not fit in memory: {error}") from None
        finally:
            torch.set_num_threads(threads_before)


def quantized_linear_layers(model: torch.nn.Module) -> torch.nn.Module:
    """A copy whose linear layers have int8 weights; activations are quantised as they come.

    Layers that are quantised already stay as they are.
    """
    import torch

    choose_int8_kernels()
    with warnings.catch_warnings():
        # torch announces that torchao replaces this; its eager int8 is the fast one on processors.
        warnings.simplefilter("ignore")
        quantized: torch.nn.Module = torch.ao.quantization.quantize_dynamic(
            copy.deepcopy(model).eval(), {torch.nn.Linear}, dtype=torch.qint8
        )
    return quantized


def choose_int8_kernels() -> None:
    """Take the kernels of Arm where those of x86 are not built in."""
    import torch

    if "qnnpack" in torch.backends.quantized.supported_engines and (
        "x86" not in torch.backends.quantized.supported_engines
    ):
        torch.backends.quantized.engine = "qnnpack"
