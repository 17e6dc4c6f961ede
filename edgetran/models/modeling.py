"""FlexiBERT 2.0 (arXiv 2205.11656, 2303.13745) as `transformers` models.

A post-LayerNorm BERT encoder whose layers differ in width, in the number and types of their
heads and in their feed-forward stacks. Shapes: B examples, S positions, h width, n heads of
dimension d.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import (
    BaseModelOutputWithPooling,
    MaskedLMOutput,
    SequenceClassifierOutput,
)

from edgetran.models.config import FlexiBertConfig
from edgetran.models.heads import (
    ConvolutionHeads,
    CosineHeads,
    FourierHeads,
    PositionTransforms,
    ScoreHeads,
)
from edgetran.models.layout import HeadLayout
from edgetran.space import Layer

Transforms = tuple[Tensor | None, Tensor | None]


class InputError(ValueError):
    """An input that the model cannot take; the message says what was given and is allowed."""


class WeightsError(ValueError):
    """A checkpoint whose weights are not those of the model."""


class FlexiBertEmbeddings(nn.Module):
    """LN(word + token type + position), width h of the first layer."""

    def __init__(self, config: FlexiBertConfig) -> None:
        super().__init__()
        width = config.architecture["h"][0]
        # No padding index: with another vocabulary, id 0 is an ordinary token (RoBERTa's <s>).
        self.word_embeddings = nn.Embedding(config.vocab_size, width)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, width)
        if config.position_embedding_type == "absolute":
            self.position_embeddings = nn.Embedding(config.max_position_embeddings, width)
        self.LayerNorm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self,
        input_ids: Tensor | None,
        inputs_embeds: Tensor | None,
        token_type_ids: Tensor | None,
        position_ids: Tensor | None,
    ) -> Tensor:
        """Embed; inputs as in `FlexiBertModel`, (B, S, h)."""
        words = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        if token_type_ids is None:
            added = self.token_type_embeddings.weight[0]
        else:
            added = self.token_type_embeddings(token_type_ids)
        if hasattr(self, "position_embeddings"):
            if position_ids is None:
                added = added + self.position_embeddings.weight[: words.shape[1]]
            else:
                added = added + self.position_embeddings(position_ids)
        states: Tensor = self.dropout(self.LayerNorm(words + added))
        return states


class FlexiBertAttention(nn.Module):
    """All heads of a layer, concatenated, projected, added to the input and normalised."""

    def __init__(self, config: FlexiBertConfig, layer: Layer) -> None:
        super().__init__()
        layout = HeadLayout.of(layer)
        self.head_dim = dim = layer.head_dim
        self.num_scores, self.num_convolutions = layout.num_scores, len(layout.spans)
        self.num_dft, self.num_dct = layout.count("l_dft"), layout.count("l_dct")
        # Heads of each block of rows below: queries and keys of sa and c, values of sa, l and c.
        blocks = self.num_scores, self.num_convolutions
        self.blocks = (*blocks, *blocks, self.num_scores, self.num_dft, self.num_dct, blocks[1])
        # Rows: queries, keys (of the heads that have them), values of all heads.
        self.query_key_value = nn.Linear(layer.hidden_size, sum(self.blocks) * dim)
        if self.num_scores:
            self.scores = ScoreHeads(
                layout.count("sa_sdp"),
                layout.count("sa_wma"),
                dim,
                config.attention_probs_dropout_prob,
                config.max_position_embeddings
                if config.position_embedding_type == "relative_key"
                else 0,
            )
        if self.num_dft:
            self.fourier = FourierHeads(dim)
        if self.num_dct:
            self.cosine = CosineHeads(dim)
        if self.num_convolutions:
            self.convolution = ConvolutionHeads(layout.spans, dim)
        self.output = nn.Linear(layer.inner_size, layer.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.LayerNorm = nn.LayerNorm(layer.hidden_size, eps=config.layer_norm_eps)

    def forward(
        self,
        hidden: Tensor,
        mask: Tensor | None,
        tokens: Tensor | None,
        transforms: Transforms,
        explicit: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """Mix positions; arguments as in `FlexiBertLayer`."""
        concatenated, probabilities = self._mix(hidden, mask, tokens, transforms, explicit)
        mixed = self.dropout(self.output(concatenated))
        return self.LayerNorm(mixed + hidden), probabilities

    def _mix(
        self,
        hidden: Tensor,
        mask: Tensor | None,
        tokens: Tensor | None,
        transforms: Transforms,
        explicit: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """The heads' outputs beside each other, (B, S, n·d), and the probabilities."""
        batch, length, _ = hidden.shape
        projected = self.query_key_value(hidden).view(batch, length, -1, self.head_dim)
        sa_query, c_query, sa_key, c_key, sa_value, dft_value, dct_value, c_value = projected.split(
            self.blocks, 2
        )  # each (B, S, its heads, d)
        outputs: list[Tensor] = []
        probabilities = None
        if self.num_scores:
            output, probabilities = self.scores(sa_query, sa_key, sa_value, mask, explicit)
            outputs.append(output)
        if self.num_dft:
            outputs.append(self.fourier(_masked(dft_value, tokens), transforms[0]))
        if self.num_dct:
            outputs.append(self.cosine(_masked(dct_value, tokens), transforms[1]))
        if self.num_convolutions:
            outputs.append(self.convolution(c_query, c_key, c_value, tokens))
        concatenated = outputs[0] if len(outputs) == 1 else torch.cat(outputs, 2)
        return concatenated.flatten(2), probabilities


def _masked(value: Tensor, tokens: Tensor | None) -> Tensor:
    """Zero where there is padding."""
    return value if tokens is None else value * tokens


class FlexiBertFeedForward(nn.Module):
    """Linear(h → f₁), GELU, …, Linear(f_k → h), added to the input and normalised."""

    def __init__(self, config: FlexiBertConfig, layer: Layer) -> None:
        super().__init__()
        widths = (layer.hidden_size, *layer.feed_forward, layer.hidden_size)
        self.dense = nn.ModuleList(
            nn.Linear(inputs, outputs) for inputs, outputs in itertools.pairwise(widths)
        )
        self.activation = ACT2FN[config.hidden_act]
        self.is_gelu = config.hidden_act == "gelu"
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.LayerNorm = nn.LayerNorm(layer.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, S, h) → (B, S, h)."""
        mixed = hidden
        for dense in self.dense[:-1]:
            mixed = self._activate(dense(mixed))
        states: Tensor = self.LayerNorm(self.dropout(self.dense[-1](mixed)) + hidden)
        return states

    def _activate(self, mixed: Tensor) -> Tensor:
        # The widest tensor of the model: without gradients nobody needs it a second time, and a
        # CPU spends longer on getting fresh memory for it than on the GELU.
        if self.is_gelu and not torch.is_grad_enabled() and not torch.compiler.is_compiling():
            activated: Tensor = torch.ops.aten.gelu_(mixed)
        else:
            activated = self.activation(mixed)
        return activated


class FlexiBertLayer(GradientCheckpointingLayer):
    """Attention and feed-forward, then a projection where the next layer has another width."""

    def __init__(self, config: FlexiBertConfig, layer: Layer, next_width: int) -> None:
        super().__init__()
        self.attention = FlexiBertAttention(config, layer)
        self.feed_forward = FlexiBertFeedForward(config, layer)
        if next_width != layer.hidden_size:
            self.projection = nn.Linear(layer.hidden_size, next_width)

    def forward(
        self,
        hidden: Tensor,
        mask: Tensor | None,
        tokens: Tensor | None,
        transforms: Transforms,
        explicit: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """Encode.

        Args:
            hidden: (B, S, h).
            mask: (B, 1, 1, S), True where a position may be attended to, or None.
            tokens: (B, S, 1, 1), 0 at padding and 1 elsewhere, or None.
            transforms: what `PositionTransforms` gives.
            explicit: whether to return the attention probabilities.

        Returns:
            (B, S, width of the next layer) and the `sa` heads' probabilities or None.
        """
        hidden, probabilities = self.attention(hidden, mask, tokens, transforms, explicit)
        hidden = self.feed_forward(hidden)
        return (self.projection(hidden) if hasattr(self, "projection") else hidden), probabilities


class FlexiBertPreTrainedModel(PreTrainedModel):
    """What all FlexiBERT models share: initialisation and strict loading."""

    config_class = FlexiBertConfig
    base_model_prefix = "flexibert"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _no_split_modules = ["FlexiBertEmbeddings", "FlexiBertLayer"]  # noqa: RUF012

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)  # type: ignore[no-untyped-call]  # transformers' own
        std = self.config.initializer_range
        if isinstance(module, ScoreHeads):
            if hasattr(module, "weighting"):
                # Near the identity a sa_wma head starts as a sa_sdp head.
                noise = torch.randn_like(module.weighting) * std
                identity = torch.eye(module.head_dim, device=noise.device, dtype=noise.dtype)
                init.copy_(module.weighting, identity + noise)
            if module.distances:
                init.normal_(module.distance_embeddings, std=std)
        elif isinstance(module, ConvolutionHeads):
            for name, parameter in module.named_parameters():
                if name.endswith("bias"):
                    init.zeros_(parameter)
                else:
                    init.normal_(parameter, std=std)
        if isinstance(module, ConvolutionHeads | CosineHeads | FourierHeads | PositionTransforms):
            module.reset_buffers()

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: Any,
        *model_args: Any,
        strict: bool = True,
        **kwargs: Any,
    ) -> Any:
        """As in `transformers`, but weights that are missing or not used raise.

        Args:
            pretrained_model_name_or_path: folder or hub name of a FlexiBERT checkpoint.
            *model_args: passed on.
            strict: False to initialise what is missing and drop what is not used, as
                `transformers` does. To start one architecture or top from another use
                `edgetran.models.transfer_weights`.
            **kwargs: passed on.

        Raises:
            WeightsError: when the checkpoint's weights are not exactly the model's.
            ModelConfigError: when the checkpoint is of another model family.
        """
        path = pretrained_model_name_or_path
        wants_info = kwargs.pop("output_loading_info", False)
        ignore_sizes = kwargs.pop("ignore_mismatched_sizes", False)
        loaded: Any = super().from_pretrained(
            path, *model_args, output_loading_info=True, ignore_mismatched_sizes=True, **kwargs
        )
        model, info = loaded
        faults = [
            f"{kind} {', '.join(sorted(map(str, info[key])))}"
            for kind, key in (("missing", "missing_keys"), ("not used", "unexpected_keys"))
            if info[key]
        ]
        if info["mismatched_keys"] and not ignore_sizes:
            name, given, allowed = min(info["mismatched_keys"])
            others = len(info["mismatched_keys"]) - 1
            raise WeightsError(
                f"{path}: config.json and the weights disagree about sizes: {name} of shape "
                f"{tuple(given)} given, allowed is {tuple(allowed)}"
                + (f" (and {others} more)" if others else "")
            )
        if strict and faults:
            raise WeightsError(
                f"{path}: the weights are not those of {cls.__name__}: {'; '.join(faults)}"
            )
        return (model, info) if wants_info else model


class FlexiBertModel(FlexiBertPreTrainedModel):
    """The encoder, with a pooler (tanh Linear of token 0) unless told otherwise.

    Args:
        config: the configuration.
        add_pooling_layer: whether to have the pooler.

    Example:
        >>> import torch
        >>> from edgetran.models import FlexiBertConfig, FlexiBertModel
        >>> model = FlexiBertModel(FlexiBertConfig(vocab_size=100)).eval()
        >>> model(input_ids=torch.tensor([[2, 7, 9]])).last_hidden_state.shape
        torch.Size([1, 3, 256])
    """

    def __init__(self, config: FlexiBertConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        architecture = config.to_architecture()
        widths = [layer.hidden_size for layer in architecture.layers]
        kinds = {head for layer in architecture.layers for head in layer.head_types}
        self.embeddings = FlexiBertEmbeddings(config)
        self.transforms = PositionTransforms(
            config.transform_length, dft="l_dft" in kinds, dct="l_dct" in kinds
        )
        self.layers = nn.ModuleList(
            FlexiBertLayer(config, layer, next_width)
            for layer, next_width in zip(
                architecture.layers, [*widths[1:], widths[-1]], strict=True
            )
        )
        self.pooler = nn.Linear(widths[-1], widths[-1]) if add_pooling_layer else None
        self.post_init()  # type: ignore[no-untyped-call]  # transformers' own

    def get_input_embeddings(self) -> nn.Module:
        """The word embeddings."""
        return self.embeddings.word_embeddings

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the word embeddings."""
        self.embeddings.word_embeddings = value  # type: ignore[assignment]  # any embedding

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> BaseModelOutputWithPooling | tuple[Any, ...]:
        """Encode token ids.

        Args:
            input_ids: (B, S) token ids, or None where `inputs_embeds` is given.
            attention_mask: (B, S), 0 at padding and 1 elsewhere; None for no padding.
            token_type_ids: (B, S); zeros if None.
            position_ids: (B, S) or (1, S); 0 … S−1 if None.
            inputs_embeds: (B, S, h of the first layer) instead of `input_ids`.
            output_attentions: whether to return, per layer, the probabilities of its `sa` heads,
                (B, number of `sa` heads, S, S) in slot order; the other heads have none.
            output_hidden_states: whether to return the embeddings and what each layer hands on,
                l + 1 tensors (B, S, width).
            return_dict: False for a tuple.

        Raises:
            InputError: for contradictory inputs, sequences longer than the positions and an
                attention mask of the wrong shape.
        """
        config = self.config
        explicit = config.output_attentions if output_attentions is None else output_attentions
        if output_hidden_states is None:
            output_hidden_states = config.output_hidden_states
        given = input_ids if inputs_embeds is None else inputs_embeds
        if given is None or (input_ids is not None and inputs_embeds is not None):
            raise InputError("forward: exactly one of input_ids and inputs_embeds is allowed")
        batch, length = given.shape[:2]
        if length > config.max_position_embeddings:
            raise InputError(
                f"input_ids: {length} positions given, allowed are at most "
                f"{config.max_position_embeddings} (max_position_embeddings)"
            )
        transforms = self.transforms(length)
        hidden = self.embeddings(input_ids, inputs_embeds, token_type_ids, position_ids)
        mask, tokens = self._padding(attention_mask, batch, length, hidden.dtype)
        hidden_states, attentions = [hidden] if output_hidden_states else [], []
        for layer in self.layers:
            hidden, probabilities = layer(
                hidden, mask, tokens, transforms, explicit or config._attn_implementation == "eager"
            )
            if output_hidden_states:
                hidden_states.append(hidden)
            if explicit:
                if probabilities is None:
                    probabilities = hidden.new_zeros(batch, 0, length, length)
                attentions.append(probabilities)
        outputs = BaseModelOutputWithPooling(
            last_hidden_state=hidden,
            pooler_output=None if self.pooler is None else torch.tanh(self.pooler(hidden[:, 0])),
            hidden_states=tuple(hidden_states) if output_hidden_states else None,
            attentions=tuple(attentions) if explicit else None,
        )
        return outputs.to_tuple() if _wants_tuple(config, return_dict) else outputs

    @staticmethod
    def _padding(
        attention_mask: Tensor | None, batch: int, length: int, dtype: torch.dtype
    ) -> tuple[Tensor | None, Tensor | None]:
        """The mask of the scores (B, 1, 1, S) and of the other heads' input (B, S, 1, 1)."""
        if attention_mask is None:
            return None, None
        if attention_mask.dim() != 2 or attention_mask.shape != (batch, length):
            raise InputError(
                f"attention_mask: shape {tuple(attention_mask.shape)} given, allowed is "
                f"({batch}, {length}), one number per token of input_ids"
            )
        keep = attention_mask != 0
        # Nothing padded, nothing to mask. Only where looking is free: not on a GPU, not traced.
        if keep.device.type == "cpu" and not torch.compiler.is_compiling() and bool(keep.all()):
            return None, None
        return keep[:, None, None, :], keep[:, :, None, None].to(dtype)


class FlexiBertForSequenceClassification(FlexiBertPreTrainedModel):
    """The encoder with a classifier of the pooled token; regression where `num_labels` is 1."""

    def __init__(self, config: FlexiBertConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels or 1
        self.flexibert = FlexiBertModel(config)
        dropout = config.classifier_dropout
        self.dropout = nn.Dropout(config.hidden_dropout_prob if dropout is None else dropout)
        self.classifier = nn.Linear(config.hidden_size, self.num_labels)
        self.post_init()  # type: ignore[no-untyped-call]  # transformers' own

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> SequenceClassifierOutput | tuple[Any, ...]:
        """Classify; inputs as in `FlexiBertModel`.

        Args:
            input_ids: (B, S).
            attention_mask: (B, S).
            token_type_ids: (B, S).
            position_ids: (B, S).
            inputs_embeds: (B, S, h).
            labels: (B,) class indices, (B,) numbers for regression, or (B, num_labels) of 0 and
                1 for several labels; gives the loss.
            output_attentions: whether to return attention probabilities.
            output_hidden_states: whether to return hidden states.
            return_dict: False for a tuple.
        """
        outputs = self.flexibert(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            inputs_embeds,
            output_attentions,
            output_hidden_states,
            return_dict=True,
        )
        logits = self.classifier(self.dropout(outputs.pooler_output))  # (B, num_labels)
        result = SequenceClassifierOutput(
            loss=None if labels is None else self._loss(logits, labels),
            logits=logits,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )
        return result.to_tuple() if _wants_tuple(self.config, return_dict) else result

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        problem = self.config.problem_type
        if problem is None:
            if self.num_labels == 1:
                problem = "regression"
            elif labels.is_floating_point():
                problem = "multi_label_classification"
            else:
                problem = "single_label_classification"
        if problem == "regression":
            return functional.mse_loss(logits.view(labels.shape), labels.to(logits.dtype))
        if problem == "multi_label_classification":
            return functional.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
        return functional.cross_entropy(logits, labels.view(-1))


class FlexiBertMaskedLMHead(nn.Module):
    """Linear to the embeddings' width, GELU, LN, decoder to the vocabulary."""

    def __init__(self, config: FlexiBertConfig) -> None:
        super().__init__()
        # The first layer's width, so that the decoder can share the word embeddings.
        width = config.architecture["h"][0]
        self.dense = nn.Linear(config.hidden_size, width)
        self.activation = ACT2FN[config.hidden_act]
        self.LayerNorm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.decoder = nn.Linear(width, config.vocab_size)

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, S, h) → (B, S, vocab_size)."""
        scores: Tensor = self.decoder(self.LayerNorm(self.activation(self.dense(hidden))))
        return scores


class FlexiBertForMaskedLM(FlexiBertPreTrainedModel):
    """The encoder with a masked-language-model head."""

    _tied_weights_keys = {"head.decoder.weight": "flexibert.embeddings.word_embeddings.weight"}  # noqa: RUF012

    def __init__(self, config: FlexiBertConfig) -> None:
        super().__init__(config)
        self.flexibert = FlexiBertModel(config, add_pooling_layer=False)
        self.head = FlexiBertMaskedLMHead(config)
        self.post_init()  # type: ignore[no-untyped-call]  # transformers' own

    def get_output_embeddings(self) -> nn.Module:
        """The decoder."""
        return self.head.decoder

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        """Replace the decoder."""
        self.head.decoder = new_embeddings

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> MaskedLMOutput | tuple[Any, ...]:
        """Predict tokens; inputs as in `FlexiBertModel`.

        Args:
            input_ids: (B, S).
            attention_mask: (B, S).
            token_type_ids: (B, S).
            position_ids: (B, S).
            inputs_embeds: (B, S, h).
            labels: (B, S) token ids, −100 where no loss is taken; gives the loss.
            output_attentions: whether to return attention probabilities.
            output_hidden_states: whether to return hidden states.
            return_dict: False for a tuple.
        """
        outputs = self.flexibert(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            inputs_embeds,
            output_attentions,
            output_hidden_states,
            return_dict=True,
        )
        logits = self.head(outputs.last_hidden_state)  # (B, S, vocab_size)
        loss = (
            None
            if labels is None
            else functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
        )
        result = MaskedLMOutput(
            loss=loss,
            logits=logits,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )
        return result.to_tuple() if _wants_tuple(self.config, return_dict) else result


def _wants_tuple(config: Any, return_dict: bool | None) -> bool:
    return not (config.return_dict if return_dict is None else return_dict)
