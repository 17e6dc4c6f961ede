"""FlexiBERT models for torch and `transformers`: heads, encoder, tops, import, transfer, export."""

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
)

from edgetran.models.alignment import Alignment, LayerAlignment, align
from edgetran.models.bert import BertConversionError, from_bert, to_bert
from edgetran.models.checkpoint import Checkpoint, read_checkpoint
from edgetran.models.config import FlexiBertConfig, ModelConfigError
from edgetran.models.export import export_onnx
from edgetran.models.gating import Gates, gates, masked
from edgetran.models.modeling import (
    FlexiBertForMaskedLM,
    FlexiBertForSequenceClassification,
    FlexiBertModel,
    FlexiBertPreTrainedModel,
    InputError,
    WeightsError,
)
from edgetran.models.program import export_program
from edgetran.models.pruning import PruneError, PruneMap, prune, pruned_architecture
from edgetran.models.transfer import (
    TransferError,
    TransferReport,
    predicted_transfer_ratio,
    transfer_weights,
)
from edgetran.models.weights_files import CheckpointError

__all__ = [
    "Alignment",
    "BertConversionError",
    "Checkpoint",
    "CheckpointError",
    "FlexiBertConfig",
    "FlexiBertForMaskedLM",
    "FlexiBertForSequenceClassification",
    "FlexiBertModel",
    "FlexiBertPreTrainedModel",
    "Gates",
    "InputError",
    "LayerAlignment",
    "ModelConfigError",
    "PruneError",
    "PruneMap",
    "TransferError",
    "TransferReport",
    "WeightsError",
    "align",
    "export_onnx",
    "export_program",
    "from_bert",
    "gates",
    "masked",
    "predicted_transfer_ratio",
    "prune",
    "pruned_architecture",
    "read_checkpoint",
    "to_bert",
    "transfer_weights",
]

AutoConfig.register("flexibert", FlexiBertConfig, exist_ok=True)
AutoModel.register(FlexiBertConfig, FlexiBertModel, exist_ok=True)
AutoModelForMaskedLM.register(FlexiBertConfig, FlexiBertForMaskedLM, exist_ok=True)
AutoModelForSequenceClassification.register(
    FlexiBertConfig, FlexiBertForSequenceClassification, exist_ok=True
)
