"""The weight files of a model's folder, known by their heads: nothing is loaded.

A safetensors file begins with the length of its head, 8 bytes, and the head, JSON that gives each
tensor's dtype, shape and place in the rest of the file. So a head and a file's size tell whether
the file is whole (github.com/huggingface/safetensors, "Format").
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

WEIGHTS_NAME: Final = "model.safetensors"
INDEX_NAME: Final = "model.safetensors.index.json"

_LFS: Final = b"version https://git-lfs"
_MOST_HEAD_BYTES: Final = 100_000_000
"""safetensors' own limit."""

_MOST_JSON_BYTES: Final = 16 * 1024**2
_BITS: Final = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "I64": 64,
    "U64": 64,
    "F64": 64,
}
_OTHER_WEIGHTS: Final = (
    ("pytorch_model.bin", "pickle"),
    ("pytorch_model.bin.index.json", "pickle"),
    ("model.pt", "pickle"),
    ("tf_model.h5", "TensorFlow"),
    ("flax_model.msgpack", "Flax"),
    ("adapter_model.safetensors", "an adapter"),
    ("model.onnx", "ONNX"),
)
_WHOLE: Final = "allowed is the file as it was saved"
_CONVERSION: Final = (
    'convert it where it is trusted: python -c "from transformers import AutoModel as A; '
    "A.from_pretrained('FOLDER').save_pretrained('NEW')\", with the class that it was trained as"
)


class CheckpointError(ValueError):
    """A folder that holds no model which can be used; one sentence says what was found in it."""


@dataclass(frozen=True)
class TensorHead:
    """What the head of a file says of one tensor.

    Attributes:
        dtype: safetensors' name, e.g. `F32`.
        shape: its sizes.
    """

    dtype: str
    shape: tuple[int, ...]


def read_tensor_heads(folder: Path) -> dict[str, TensorHead]:
    """What the weight files in `folder` hold, by the tensors' names.

    Raises:
        CheckpointError: weights that are absent, in another format, a pointer, or cut off.
    """
    single, index = folder / WEIGHTS_NAME, folder / INDEX_NAME
    if _is_there(single):
        return _heads(single, folder)
    if _is_there(index):
        return _sharded(index, folder)
    for name, kind in _OTHER_WEIGHTS:
        if (folder / name).exists():
            how = f"; {_CONVERSION}" if kind == "pickle" else ""
            raise CheckpointError(
                f"{folder} holds its weights as {name} ({kind}) alone; allowed is "
                f"{WEIGHTS_NAME}{how}"
            )
    raise CheckpointError(f"{folder} holds no weights; allowed is {WEIGHTS_NAME}")


def read_json(path: Path, folder: Path) -> dict[str, Any]:
    """The JSON object in a file of the folder.

    Raises:
        CheckpointError: there is none, or something else.
    """
    if not _is_there(path):
        raise CheckpointError(f"{folder} holds no {path.name}; allowed is the folder of a model")
    try:
        if path.stat().st_size > _MOST_JSON_BYTES:
            raise CheckpointError(f"{folder}: {path.name} is larger than any of its kind")
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{folder}: {path.name}: {error.strerror or error}") from None
    _refuse_pointer(content, path, folder)
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        raise CheckpointError(
            f"{folder}: {path.name} is not JSON, or is cut off; {_WHOLE}"
        ) from None
    if not isinstance(data, dict):
        raise CheckpointError(f"{folder}: {path.name} is not a JSON object; {_WHOLE}")
    return data


def refuse_pointer(path: Path, folder: Path) -> None:
    """Refuse a file that stands for another, which git-lfs has not fetched.

    Raises:
        CheckpointError: it is one, or it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            _refuse_pointer(file.read(len(_LFS)), path, folder)
    except OSError as error:
        raise CheckpointError(f"{folder}: {path.name}: {error.strerror or error}") from None


def _refuse_pointer(content: bytes, path: Path, folder: Path) -> None:
    if content.startswith(_LFS):
        raise CheckpointError(
            f"{folder}: {path.name} is a git-lfs pointer; allowed is the file itself, which "
            "`git lfs pull` fetches"
        )


def _is_there(path: Path) -> bool:
    if path.is_symlink() and not path.exists():
        raise CheckpointError(f"{path.parent}: {path.name} is a link to a file that is not there")
    if path.exists() and not path.is_file():
        raise CheckpointError(f"{path.parent}: {path.name} is not a file")
    return path.exists()


def _sharded(index: Path, folder: Path) -> dict[str, TensorHead]:
    places = read_json(index, folder).get("weight_map")
    if not isinstance(places, dict) or not all(
        isinstance(file, str) and file and Path(file).name == file for file in places.values()
    ):
        raise CheckpointError(f"{folder}: {index.name} does not say which file holds which tensor")
    files = sorted(set(places.values()))
    missing = [file for file in files if not _is_there(folder / file)]
    if missing:
        raise CheckpointError(
            f"{folder}: {index.name} names {len(files)} files of weights, and {len(missing)} of "
            f"them are not there, such as {missing[0]}; allowed is a folder with all of them"
        )
    heads = {file: _heads(folder / file, folder) for file in files}
    absent = [name for name, file in places.items() if name not in heads[file]]
    if absent:
        raise CheckpointError(
            f"{folder}: {places[absent[0]]} does not hold the tensor {absent[0]}, which "
            f"{index.name} says"
        )
    return {name: heads[file][name] for name, file in places.items()}


def _heads(path: Path, folder: Path) -> dict[str, TensorHead]:
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            start = file.read(8)
            _refuse_pointer(start + file.read(len(_LFS) - 8), path, folder)
            length = int.from_bytes(start, "little")
            if len(start) < 8 or length > min(size - 8, _MOST_HEAD_BYTES):
                raise CheckpointError(
                    f"{folder}: {path.name}, of {size:,} bytes, is not a safetensors file, or is "
                    "cut off; allowed is the whole file"
                )
            file.seek(8)
            text = file.read(length)
    except OSError as error:
        raise CheckpointError(f"{folder}: {path.name}: {error.strerror or error}") from None
    try:
        entries = json.loads(text)
        entries.pop("__metadata__", None)
        spans = [_span(entry) for entry in entries.values()]
        heads = {name: TensorHead(e["dtype"], tuple(e["shape"])) for name, e in entries.items()}
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
        raise CheckpointError(
            f"{folder}: {path.name} is not a safetensors file; {_WHOLE}"
        ) from None
    _refuse_wrong_size(spans, size - 8 - length, path, folder)
    return heads


def _span(entry: Any) -> tuple[int, int]:
    """Where a tensor's bytes lie; a ValueError where they are not as many as it needs."""
    start, end = entry["data_offsets"]
    shape, bits = entry["shape"], _BITS.get(entry["dtype"])
    numbers = [start, end, *shape]
    if not all(type(number) is int and 0 <= number < 2**63 for number in numbers):
        raise ValueError("not a size")
    if end < start or (bits is not None and math.prod(shape) * bits != 8 * (end - start)):
        raise ValueError("not the tensor's size")
    return start, end


def _refuse_wrong_size(spans: list[tuple[int, int]], size: int, path: Path, folder: Path) -> None:
    end = 0
    for start, after in sorted(spans):
        if start != end:
            raise CheckpointError(f"{folder}: {path.name} is not a safetensors file; {_WHOLE}")
        end = after
    if size < end:
        raise CheckpointError(
            f"{folder}: {path.name} is cut off, with {size:,} of {end:,} bytes of weights; allowed "
            "is the whole file"
        )
    if size > end:
        raise CheckpointError(
            f"{folder}: {path.name} has {size - end:,} bytes more than its head says; allowed is "
            "the file as it was saved"
        )
