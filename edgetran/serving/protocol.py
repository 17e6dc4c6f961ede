"""The Open Inference Protocol, version 2, over REST: what requests and answers hold.

The protocol: https://github.com/kserve/open-inference-protocol. A request has either texts

- `text`, BYTES [n], and `text_pair`, BYTES [n], where the task is of pairs

or token ids as the model's own tokenizer gives them

- `input_ids`, INT64 [n, length], with `attention_mask` and `token_type_ids` of the same shape, or
  without.

An answer has `label` (BYTES [n]), `probabilities` (FP32 [n, classes]) and `logits`; that of a
regression has `prediction` (FP32 [n]).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from edgetran.artifacts import probabilities
from edgetran.serving.served_model import ServedModel
from edgetran.serving.text_model import Tokens

MAX_ROWS: Final = 256
"""Most texts of one request."""
MAX_BODY_BYTES: Final = 2**21
"""Most bytes of one request."""

_TEXTS: Final = ("text", "text_pair")
_IDS: Final = ("input_ids", "attention_mask", "token_type_ids")
_INTEGERS: Final = ("INT64", "INT32")


class ProtocolError(ValueError):
    """A request that is not one of the protocol, or not one of this model; one sentence."""


@dataclass(frozen=True)
class InferenceRequest:
    """What a request asks for.

    Attributes:
        id: what the answer is to bear; None for nothing.
        texts: what to classify; None where tokens are given.
        pairs: second texts; None where there are none.
        tokens: token ids; None where texts are given.
        outputs: names of the outputs that are wanted.
    """

    id: str | None
    texts: Sequence[str] | None
    pairs: Sequence[str] | None
    tokens: Tokens | None
    outputs: tuple[str, ...]


def server_metadata(version: str) -> dict[str, Any]:
    """What the server says of itself."""
    return {"name": "edgetran", "version": version, "extensions": []}


def model_metadata(model: ServedModel) -> dict[str, Any]:
    """What the server says of the model."""
    shapes = {"text": [-1], "text_pair": [-1]} | {name: [-1, -1] for name in _IDS}
    return {
        "name": model.name,
        "versions": [version_of(model)],
        "platform": f"edgetran_{model.artifact.engine}",
        "inputs": [
            {"name": name, "datatype": "BYTES" if name in _TEXTS else "INT64", "shape": shape}
            for name, shape in shapes.items()
        ],
        "outputs": [
            {"name": name, "datatype": datatype, "shape": [-1, *shape]}
            for name, (datatype, shape) in _outputs(model).items()
        ],
    }


def version_of(model: ServedModel) -> str:
    """The version of a model: the first digits of its artefact's SHA-256."""
    return model.artifact.sha256[:12]


def read_request(body: bytes, model: ServedModel) -> InferenceRequest:
    """The request in a body.

    Raises:
        ProtocolError: it is none; what was given, and what is allowed.
    """
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        raise ProtocolError("the request is not JSON") from None
    if not isinstance(data, dict) or not isinstance(data.get("inputs"), list):
        raise ProtocolError("inputs: allowed is a list of tensors")
    tensors = _tensors(data["inputs"])
    outputs = _wanted(data.get("outputs"), model)
    number = data.get("id")
    if number is not None and not isinstance(number, str):
        raise ProtocolError(f"id: {_short(number)} given; allowed is text")
    names = set(tensors)
    if "text" in names and names <= set(_TEXTS):
        texts = _texts(tensors["text"], "text")
        pairs = _texts(tensors["text_pair"], "text_pair") if "text_pair" in names else None
        if pairs is not None and len(pairs) != len(texts):
            raise ProtocolError(
                f"inputs: {len(texts)} texts and {len(pairs)} second texts given; allowed is as "
                "many of both"
            )
        return InferenceRequest(number, texts, pairs, None, outputs)
    if "input_ids" in names and names <= set(_IDS):
        return InferenceRequest(number, None, None, _token_rows(tensors, model), outputs)
    raise ProtocolError(
        f"inputs: {', '.join(sorted(names)) or 'none'} given; allowed is text, with or without "
        "text_pair, or input_ids, with or without attention_mask and token_type_ids"
    )


def answer(model: ServedModel, request: InferenceRequest, logits: np.ndarray) -> dict[str, Any]:
    """The answer to a request, of logits (n, num_labels)."""
    values: dict[str, list[Any]] = {"logits": logits.ravel().tolist()}
    if model.is_regression:
        values["prediction"] = logits[:, 0].tolist()
    else:
        values["label"] = [model.class_names[index] for index in logits.argmax(axis=1)]
        values["probabilities"] = probabilities(logits).ravel().tolist()
    known = _outputs(model)
    found: dict[str, Any] = {
        "model_name": model.name,
        "model_version": version_of(model),
        "outputs": [
            {
                "name": name,
                "datatype": known[name][0],
                "shape": [len(logits), *known[name][1]],
                "data": values[name],
            }
            for name in request.outputs
        ],
    }
    return found if request.id is None else {**found, "id": request.id}


def _outputs(model: ServedModel) -> dict[str, tuple[str, list[int]]]:
    logits = {"logits": ("FP32", [model.workload.num_labels])}
    if model.is_regression:
        return {"prediction": ("FP32", []), **logits}
    return {"label": ("BYTES", []), "probabilities": ("FP32", [len(model.class_names)]), **logits}


def _tensors(given: list[Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for place, each in enumerate(given):
        at = f"inputs[{place}]"
        if not isinstance(each, dict) or not isinstance(each.get("name"), str):
            raise ProtocolError(f"{at}: allowed is a tensor with name, shape, datatype and data")
        if each["name"] in found:
            raise ProtocolError(f"{at}.name: {_short(each['name'])} is given twice")
        shape = each.get("shape")
        if not isinstance(shape, list) or not all(_is_count(size) for size in shape):
            raise ProtocolError(f"{at}.shape: {_short(shape)} given; allowed is a list of sizes")
        if not isinstance(each.get("data"), list):
            raise ProtocolError(
                f"{at}.data: allowed is a list; binary data are no extension of this server"
            )
        found[each["name"]] = {**each, "at": at}
    return found


def _wanted(given: Any, model: ServedModel) -> tuple[str, ...]:
    known = _outputs(model)
    if given is None or given == []:
        return tuple(known)
    names = [each.get("name") if isinstance(each, dict) else None for each in _list(given)]
    for place, name in enumerate(names):
        if name not in known:
            raise ProtocolError(
                f"outputs[{place}].name: {_short(name)} given; allowed are {', '.join(known)}"
            )
    return tuple(dict.fromkeys(str(name) for name in names))


def _list(given: Any) -> list[Any]:
    if not isinstance(given, list):
        raise ProtocolError("outputs: allowed is a list of tensors")
    return given


def _texts(tensor: Mapping[str, Any], name: str) -> list[str]:
    at, shape, data = tensor["at"], tensor["shape"], tensor["data"]
    if tensor.get("datatype") != "BYTES":
        raise ProtocolError(
            f"{at}.datatype: {_short(tensor.get('datatype'))} given; allowed is BYTES for {name}"
        )
    if math.prod(shape) != max(shape, default=0):
        raise ProtocolError(f"{at}.shape: {shape} given; allowed is [n] for {name}")
    data = _flat(data, at)
    _check_rows(len(data), math.prod(shape) if shape else 0, at)
    for place, text in enumerate(data):
        if not isinstance(text, str):
            raise ProtocolError(f"{at}.data[{place}]: {_short(text)} given; allowed is text")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ProtocolError(f"{at}.data[{place}]: holds half of a character pair") from None
    return data


def _token_rows(tensors: Mapping[str, Mapping[str, Any]], model: ServedModel) -> Tokens:
    arrays = {name: _integers(tensor) for name, tensor in tensors.items()}
    ids = arrays["input_ids"]
    at = tensors["input_ids"]["at"]
    if ids.shape[1] > model.max_length:
        raise ProtocolError(
            f"{at}.shape: {ids.shape[1]} tokens given; allowed are up to {model.max_length}"
        )
    for name, array in arrays.items():
        top = model.workload.vocab_size if name == "input_ids" else 2
        if array.shape != ids.shape:
            raise ProtocolError(
                f"{tensors[name]['at']}.shape: {list(array.shape)} given; allowed is that of "
                f"input_ids, {list(ids.shape)}"
            )
        if array.min() < 0 or array.max() >= top:
            raise ProtocolError(
                f"{tensors[name]['at']}.data: allowed are numbers from 0 to {top - 1}"
            )
    mask = arrays.get("attention_mask", np.ones_like(ids)).astype(bool)
    if not mask[:, 0].all() or (mask[:, 1:] & ~mask[:, :-1]).any():
        raise ProtocolError(
            f"{tensors['attention_mask']['at']}.data: allowed are rows of 1, at least one, and "
            "then of 0"
        )
    types = arrays.get("token_type_ids", np.zeros_like(ids))
    return [
        {
            "input_ids": ids[row, mask[row]].tolist(),
            "token_type_ids": types[row, mask[row]].tolist(),
        }
        for row in range(len(ids))
    ]


def _integers(tensor: Mapping[str, Any]) -> np.ndarray:
    """An array (n, length), both at least 1."""
    at, shape = tensor["at"], tensor["shape"]
    if tensor.get("datatype") not in _INTEGERS:
        raise ProtocolError(
            f"{at}.datatype: {_short(tensor.get('datatype'))} given; allowed is INT64 or INT32"
        )
    if len(shape) != 2 or min(shape) < 1:
        raise ProtocolError(f"{at}.shape: {shape} given; allowed is [n, length]")
    data = _flat(tensor["data"], at)
    _check_rows(shape[0], shape[0], at)
    if len(data) != math.prod(shape):
        raise ProtocolError(f"{at}.data: {len(data)} numbers given; its shape has {shape}")
    for place, number in enumerate(data):
        if not _is_integer(number) or abs(number) >= 2**31:
            raise ProtocolError(f"{at}.data[{place}]: {_short(number)} given; allowed is a number")
    return np.array(data, dtype=np.int64).reshape(shape)


def _flat(data: list[Any], at: str) -> list[Any]:
    """Data in a row, which the protocol also lets nest as the shape says."""
    while any(isinstance(each, list) for each in data):
        if not all(isinstance(each, list) for each in data):
            raise ProtocolError(f"{at}.data: allowed are values in a row, or nested evenly")
        data = [inner for each in data for inner in each]
    return data


def _check_rows(found: int, said: int, at: str) -> None:
    if found != said:
        raise ProtocolError(f"{at}.data: {found} values given; its shape has {said}")
    if not 1 <= found <= MAX_ROWS:
        raise ProtocolError(f"{at}: {found} texts given; allowed are 1 to {MAX_ROWS}")


def _is_count(value: Any) -> bool:
    return _is_integer(value) and 0 <= value <= MAX_BODY_BYTES


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
