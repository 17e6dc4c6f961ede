"""The configuration of a FlexiBERT model: an architecture and what surrounds it."""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig
from transformers.activations import ACT2FN

from edgetran.space import Architecture

BERT_MINI = Architecture.homogeneous(
    num_layers=4, hidden_size=256, num_heads=4, feed_forward=[1024]
)
"""The architecture of a configuration that names none."""

POSITION_EMBEDDING_TYPES = ("absolute", "relative_key")


class ModelConfigError(ValueError):
    """A configuration that cannot be built; the message says what was given and is allowed."""


class FlexiBertConfig(PretrainedConfig):
    """Configuration of `FlexiBertModel` and its tops.

    Args:
        architecture: the published model dict `{"l": …, "h": …, "f": …, "o": …}`; BERT-Mini if
            None.
        vocab_size: number of tokens.
        max_position_embeddings: the longest sequence.
        type_vocab_size: number of token types.
        transform_length: length T of the `l` heads' transforms over positions. It is a constant
            of the model, so that an output does not depend on how its batch was padded;
            `max_position_embeddings` if None.
        position_embedding_type: `absolute` (added to the word embeddings) or `relative_key`
            (the scores of `sa` heads gain q·R[i−j] in every layer; no position is added).
        hidden_act: activation between feed-forward matrices, a name `transformers` knows;
            FlexiBERT's is the exact GELU.
        hidden_dropout_prob: dropout after embeddings, attention and feed-forward.
        attention_probs_dropout_prob: dropout on the scores of `sa` heads.
        classifier_dropout: dropout before the classifier; `hidden_dropout_prob` if None.
        initializer_range: standard deviation of linear and embedding weights.
        layer_norm_eps: epsilon of every LayerNorm.
        pad_token_id: id of the padding token. Its embedding is an ordinary one: padding is
            excluded by the attention mask alone.
        tie_word_embeddings: whether the masked-LM decoder shares the word embeddings.
        **kwargs: what `transformers.PretrainedConfig` takes (`num_labels`, `id2label`, …).

    Raises:
        edgetran.space.ArchitectureError: for an architecture that cannot exist.
        ModelConfigError: for the other values.

    Example:
        >>> from edgetran.models import FlexiBertConfig, FlexiBertModel
        >>> config = FlexiBertConfig(architecture={
        ...     "l": 2, "h": [64, 128], "f": [[128], [256, 256]],
        ...     "o": [["sa_sdp_32", "l_dct_32"], ["sa_wma_64", "c_5_64"]]})
        >>> FlexiBertModel(config).config.to_architecture().num_layers
        2
    """

    model_type = "flexibert"

    def __init__(
        self,
        architecture: dict[str, Any] | None = None,
        vocab_size: int = 30522,
        max_position_embeddings: int = 512,
        type_vocab_size: int = 2,
        transform_length: int | None = None,
        position_embedding_type: str = "absolute",
        hidden_act: str = "gelu",
        hidden_dropout_prob: float = 0.1,
        attention_probs_dropout_prob: float = 0.1,
        classifier_dropout: float | None = None,
        initializer_range: float = 0.02,
        layer_norm_eps: float = 1e-12,
        pad_token_id: int | None = 0,
        tie_word_embeddings: bool = True,
        **kwargs: Any,
    ) -> None:
        model_dict = BERT_MINI.to_model_dict() if architecture is None else architecture
        self.architecture = Architecture.from_model_dict(model_dict).to_model_dict()
        self.vocab_size = vocab_size
        self.max_position_embeddings = max_position_embeddings
        self.type_vocab_size = type_vocab_size
        self.transform_length = transform_length or max_position_embeddings
        self.position_embedding_type = position_embedding_type
        self.hidden_act = hidden_act
        self.hidden_dropout_prob = hidden_dropout_prob
        self.attention_probs_dropout_prob = attention_probs_dropout_prob
        self.classifier_dropout = classifier_dropout
        self.initializer_range = initializer_range
        self.layer_norm_eps = layer_norm_eps
        self.pad_token_id = pad_token_id
        self.tie_word_embeddings = tie_word_embeddings
        self._check()
        super().__init__(**kwargs)

    def _check(self) -> None:
        for name in ("vocab_size", "max_position_embeddings", "type_vocab_size"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ModelConfigError(f"{name}: {value!r} is not a positive integer")
        if self.transform_length < self.max_position_embeddings:
            raise ModelConfigError(
                f"transform_length: {self.transform_length} is shorter than the longest sequence; "
                f"allowed is max_position_embeddings ({self.max_position_embeddings}) or more"
            )
        if self.hidden_act not in ACT2FN:
            raise ModelConfigError(
                f"hidden_act: {self.hidden_act!r} is unknown; allowed are 'gelu' and the other "
                "activations that transformers knows"
            )
        if self.position_embedding_type not in POSITION_EMBEDDING_TYPES:
            raise ModelConfigError(
                f"position_embedding_type: {self.position_embedding_type!r} is unknown; "
                f"allowed are {', '.join(POSITION_EMBEDDING_TYPES)}"
            )

    @classmethod
    def from_architecture(cls, architecture: Architecture, **kwargs: Any) -> FlexiBertConfig:
        """The configuration of an architecture; `kwargs` as in the class."""
        return cls(architecture=architecture.to_model_dict(), **kwargs)

    def to_architecture(self) -> Architecture:
        """The architecture, heads in their own order."""
        return Architecture.from_model_dict(self.architecture)

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """As in `transformers`, but a configuration of another model family raises.

        Raises:
            ModelConfigError: when `model_type` is there and is not `flexibert`.
        """
        given = config_dict.get("model_type", cls.model_type)
        if given != cls.model_type:
            raise ModelConfigError(
                f"model_type: a checkpoint of the family {given!r} was given, allowed is "
                f"{cls.model_type!r}; a BERT checkpoint becomes one by edgetran.models.from_bert"
            )
        return super().from_dict(config_dict, **kwargs)

    @property
    def num_hidden_layers(self) -> int:
        """Number of encoder layers l."""
        return len(self.architecture["h"])

    @property
    def hidden_size(self) -> int:
        """Width of the last layer, which the tops read."""
        return int(self.architecture["h"][-1])
