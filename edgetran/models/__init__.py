"""FlexiBERT models for torch and `transformers`: heads, encoder, tops, import, transfer, export."""

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
)

from edgetran.models.config import FlexiBertConfig, ModelConfigError
from edgetran.models.modeling import (
    FlexiBertForMaskedLM,
    FlexiBertForSequenceClassification,
    FlexiBertModel,
    FlexiBertPreTrainedModel,
    InputError,
    WeightsError,
)

__all__ = [
    "FlexiBertConfig",
    "FlexiBertForMaskedLM",
    "FlexiBertForSequenceClassification",
    "FlexiBertModel",
    "FlexiBertPreTrainedModel",
    "InputError",
    "ModelConfigError",
    "WeightsError",
]

AutoConfig.register("flexibert", FlexiBertConfig, exist_ok=True)
AutoModel.register(FlexiBertConfig, FlexiBertModel, exist_ok=True)
AutoModelForMaskedLM.register(FlexiBertConfig, FlexiBertForMaskedLM, exist_ok=True)
AutoModelForSequenceClassification.register(
    FlexiBertConfig, FlexiBertForSequenceClassification, exist_ok=True
)
