"""The tokenizer of a task: one from a folder, or a WordPiece one trained on its training split.

WordPiece: Wu et al. (arXiv 1609.08144), with BERT's lower-casing and pre-tokenisation.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgetran.cache import cache_folder
from edgetran.records import write_atomically
from edgetran.training.quiet import quiet_transformers
from edgetran.training.task import Task, TaskError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

SPECIAL_TOKENS: Final = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""Ids 0 to 4. Padding is 0, so that no padded position shares the classification token's row."""

DEFAULT_VOCAB_SIZE: Final = 8192
_MIN_VOCAB_SIZE: Final = 64
_TOKENIZER_FILES: Final = ("tokenizer.json", "vocab.txt")
_RECIPE: Final = "wordpiece-lowercase-1"
"""Changes whenever the same data would give another tokenizer, so that no stale one is reused."""


def build_tokenizer(
    task: Task,
    *,
    vocab_size: int = DEFAULT_VOCAB_SIZE,
    folder: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> PreTrainedTokenizerFast:
    """The tokenizer in `folder`, or a lower-casing WordPiece one trained on `task.train`.

    Trained ones are cached under the hash of the texts and the size: the same data gives the
    same bytes. They may hold fewer than `vocab_size` pieces where the texts are few.

    Raises:
        TaskError: the folder holds no tokenizer, or one without padding; a size below 64.
    """
    if folder is not None:
        return load_tokenizer(folder)
    if vocab_size < _MIN_VOCAB_SIZE:
        raise TaskError(f"vocabSize: {vocab_size} is too small; at least {_MIN_VOCAB_SIZE}")
    content = hashlib.sha256(f"{_RECIPE}\0{vocab_size}".encode())
    for text in _texts(task):
        content.update(text.encode() + b"\0")
    path = cache_folder(cache_dir) / "tokenizers" / f"{content.hexdigest()[:32]}.json"
    if not path.is_file():
        write_atomically(path, _train(task, vocab_size).to_str())
    return _fast(path)


def load_tokenizer(folder: str | os.PathLike[str]) -> PreTrainedTokenizerFast:
    """The fast tokenizer that a local folder holds, e.g. that of a trained model.

    Raises:
        TaskError: the folder holds no tokenizer, one with code of its own, or one that has no
            padding token.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    path = Path(folder)
    if not path.is_dir():
        raise TaskError(f"tokenizer: {path} is not a folder")
    _check_files(path)
    try:
        with quiet_transformers():
            tokenizer: Any = AutoTokenizer.from_pretrained(
                path, local_files_only=True, trust_remote_code=False
            )
    except Exception as error:  # noqa: BLE001 - the readers below raise many kinds
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise TaskError(f"tokenizer: {path} cannot be read ({said[:300]})") from None
    if not isinstance(tokenizer, PreTrainedTokenizerFast) or tokenizer.pad_token_id is None:
        raise TaskError(f"tokenizer: the one in {path} is not a fast one with a padding token")
    return tokenizer


def _check_files(folder: Path) -> None:
    """Refuse what the readers of `transformers` would misread, ask about, or run."""
    from edgetran.models.weights_files import CheckpointError, read_json, refuse_pointer

    found = [folder / name for name in _TOKENIZER_FILES if (folder / name).is_file()]
    if not found:
        raise TaskError(f"tokenizer: {folder} holds neither tokenizer.json nor vocab.txt")
    settings = folder / "tokenizer_config.json"
    try:
        for file in found:
            refuse_pointer(file, folder)
        asks = settings.exists() and read_json(settings, folder).get("auto_map")
    except CheckpointError as error:
        raise TaskError(f"tokenizer: {error}") from None
    if asks:
        raise TaskError(
            f"tokenizer: {folder}: tokenizer_config.json asks for code of its own (auto_map), "
            "which is never run; allowed is a tokenizer.json or vocab.txt alone"
        )


def tokenizer_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """Sha-256 of the tokenizer's definition, but for how it last truncated and padded."""
    definition = json.loads(tokenizer.backend_tokenizer.to_str())
    definition.pop("truncation"), definition.pop("padding")
    return hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()


def plain_copy(tokenizer: PreTrainedTokenizerBase, max_length: int) -> PreTrainedTokenizerBase:
    """A copy whose `model_max_length` is given and whose file carries no padding or cutting."""
    copied = copy.deepcopy(tokenizer)
    copied.model_max_length = max_length
    backend: Tokenizer = copied.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    return copied


def _texts(task: Task) -> Iterator[str]:
    for example in task.train:
        yield example.text
        if example.text2 is not None:
            yield example.text2


def _train(task: Task, vocab_size: int) -> Tokenizer:
    """Train on the task's texts.

    The trainer numbers word-internal letters in an order that changes from run to run. All letters
    are therefore handed to it in a fixed order, in the place of special tokens, and only the
    vocabulary that it learns is taken over.
    """
    from tokenizers import Tokenizer, decoders, models, processors
    from tokenizers.trainers import WordPieceTrainer

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106
    _set_pre_tokenisation(tokenizer)
    trainer = WordPieceTrainer(
        vocab_size=vocab_size,
        special_tokens=[*SPECIAL_TOKENS, *_letters(task, tokenizer, vocab_size)],
        limit_alphabet=0,
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(task), trainer)
    vocabulary = tokenizer.get_vocab()
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))  # noqa: S106
    _set_pre_tokenisation(tokenizer)
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, SPECIAL_TOKENS.index(name)) for name in ("[CLS]", "[SEP]")],
    )
    return tokenizer


def _set_pre_tokenisation(tokenizer: Tokenizer) -> None:
    from tokenizers import normalizers, pre_tokenizers

    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()


def _letters(task: Task, tokenizer: Tokenizer, vocab_size: int) -> list[str]:
    """Every letter, and `##letter` where it stands inside a word; the rarest cut to half the size.

    Half of the vocabulary at least stays for whole pieces, also where a script has many letters.
    """
    counts: Counter[str] = Counter()
    inside: set[str] = set()
    for text in _texts(task):
        words = tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(text))
        for word, _ in words:
            counts.update(word)
            inside.update(word[1:])
    room = (vocab_size - len(SPECIAL_TOKENS)) // 4
    common = sorted(counts, key=lambda letter: (-counts[letter], letter))[:room]
    return sorted(common) + [f"##{letter}" for letter in sorted(inside.intersection(common))]


def _fast(path: Path) -> PreTrainedTokenizerFast:
    from transformers import PreTrainedTokenizerFast

    pad, unk, cls, sep, mask = SPECIAL_TOKENS
    return PreTrainedTokenizerFast(
        tokenizer_file=str(path),
        pad_token=pad,
        unk_token=unk,
        cls_token=cls,
        sep_token=sep,
        mask_token=mask,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )
