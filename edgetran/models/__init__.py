"""FlexiBERT models for torch and `transformers`: heads, encoder, tops, import, transfer, export."""

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
)

from edgetran.models.alignment import Alignment, LayerAlignment, align
from edgetran.models.config import FlexiBertConfig, ModelConfigError
from edgetran.models.modeling import (
    FlexiBertForMaskedLM,
    FlexiBertForSequenceClassification,
    FlexiBertModel,
    FlexiBertPreTrainedModel,
    InputError,
    WeightsError,
)
from edgetran.models.transfer import (
    TransferError,
    TransferReport,
    predicted_transfer_ratio,
    transfer_weights,
)

__all__ = [
    "Alignment",
    "FlexiBertConfig",
    "FlexiBertForMaskedLM",
    "FlexiBertForSequenceClassification",
    "FlexiBertModel",
    "FlexiBertPreTrainedModel",
    "InputError",
    "LayerAlignment",
    "ModelConfigError",
    "TransferError",
    "TransferReport",
    "WeightsError",
    "align",
    "predicted_transfer_ratio",
    "transfer_weights",
]

AutoConfig.register("flexibert", FlexiBertConfig, exist_ok=True)
AutoModel.register(FlexiBertConfig, FlexiBertModel, exist_ok=True)
AutoModelForMaskedLM.register(FlexiBertConfig, FlexiBertForMaskedLM, exist_ok=True)
AutoModelForSequenceClassification.register(
    FlexiBertConfig, FlexiBertForSequenceClassification, exist_ok=True
)
