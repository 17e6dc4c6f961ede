"""CEL rules of a structural schema, compiled and evaluated by Google's own CEL."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any, Final

from cel_expr_python import cel
from cel_expr_python.ext import ext_strings
from google.protobuf import descriptor_pb2, descriptor_pool, struct_pb2

Schema = Mapping[str, Any]
Field = descriptor_pb2.FieldDescriptorProto


def rules(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema, str]]:
    """Place, schema and text of every rule."""
    for each in schema.get("x-kubernetes-validations", ()):
        yield path, schema, each["rule"]
    for name, part in schema.get("properties", {}).items():
        yield from rules(part, f"{path}.{name}")
    if "items" in schema:
        yield from rules(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), Mapping):
        yield from rules(schema["additionalProperties"], f"{path}{{}}")


def broken(schema: Schema, value: Any, path: str = "") -> Iterator[str]:
    """Place and message of every rule that `value`, complete with its defaults, breaks.

    Rules about a change of the value say nothing of the value alone and are left out.
    """
    for each in schema.get("x-kubernetes-validations", ()):
        if "oldSelf" not in each["rule"] and not holds(each["rule"], schema, value):
            yield f"{path}: {each['message']}"
    if isinstance(value, dict):
        extra = schema.get("additionalProperties", {})
        for key, part in value.items():
            known = schema.get("properties", {}).get(key, extra)
            yield from broken(known, part, f"{path}.{key}")
    if isinstance(value, list):
        for index, part in enumerate(value):
            yield from broken(schema.get("items", {}), part, f"{path}[{index}]")


def holds(rule: str, schema: Schema, value: Any, old: Any = None) -> bool:
    """Whether the value obeys the rule; what CEL cannot evaluate does not, as on an API server."""
    program = _untyped(rule)
    data = {"self": _typed(schema, value), "oldSelf": _typed(schema, old)}
    result = program.eval(data=data).plain_value()
    return result is True


@functools.cache
def _untyped(rule: str) -> Any:
    variables = {"self": cel.Type.DYN, "oldSelf": cel.Type.DYN}
    return cel.NewEnv(variables=variables, extensions=[ext_strings.ExtStrings()]).compile(rule)


def _typed(schema: Schema, value: Any) -> Any:
    """The value with numbers as the schema has them: a whole one may stand for a double."""
    if isinstance(value, dict):
        extra = schema.get("additionalProperties", {})
        known = schema.get("properties", {})
        return {key: _typed(known.get(key, extra), part) for key, part in value.items()}
    if isinstance(value, list):
        return [_typed(schema.get("items", {}), part) for part in value]
    if schema.get("type") == "number" and isinstance(value, int):
        return float(value)
    return value


def compile_typed(rule: str, schema: Schema) -> Any:
    """The rule compiled with the types of the schema; an exception where they do not fit."""
    file = descriptor_pb2.FileDescriptorProto(name="rule.proto", package="rule", syntax="proto2")
    file.dependency.append("google/protobuf/struct.proto")
    holder = file.message_type.add(name="Holder")
    _describe(file, holder, holder.field.add(name="self", number=1), schema)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(struct_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    type_ = _SCALARS[schema["type"]][1] if schema["type"] in _SCALARS else cel.Type("rule.Self")
    environment = cel.NewEnv(
        pool, variables={"self": type_, "oldSelf": type_}, extensions=[ext_strings.ExtStrings()]
    )
    return environment.compile(rule)


_SCALARS: Final = {
    "string": (Field.TYPE_STRING, cel.Type.STRING),
    "integer": (Field.TYPE_INT64, cel.Type.INT),
    "number": (Field.TYPE_DOUBLE, cel.Type.DOUBLE),
    "boolean": (Field.TYPE_BOOL, cel.Type.BOOL),
}


def _describe(file: Any, owner: Any, field: Any, schema: Schema) -> None:
    """Give a message's field the type of the schema; new messages go into the file."""
    field.label = Field.LABEL_OPTIONAL
    kind = schema["type"]
    name = "".join(word[:1].upper() + word[1:] for word in (owner.name, field.name))
    name = name.removeprefix("Holder")
    if kind in _SCALARS:
        field.type = _SCALARS[kind][0]
    elif kind == "array" and schema["items"]["type"] == "array":
        # No message has lists of lists; the lists within this one are typed when they are used.
        field.type, field.type_name = Field.TYPE_MESSAGE, ".google.protobuf.ListValue"
    elif kind == "array":
        _describe(file, owner, field, schema["items"])
        field.label = Field.LABEL_REPEATED
    elif "additionalProperties" in schema:
        entry = owner.nested_type.add(name=f"{field.name[:1].upper()}{field.name[1:]}Entry")
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, type=Field.TYPE_STRING, label=Field.LABEL_OPTIONAL)
        value = entry.field.add(name="value", number=2)
        _describe(file, entry, value, schema["additionalProperties"])
        field.type, field.label = Field.TYPE_MESSAGE, Field.LABEL_REPEATED
        field.type_name = f".rule.{owner.name}.{entry.name}"
    else:
        message = file.message_type.add(name=name)
        for number, (key, part) in enumerate(schema.get("properties", {}).items(), 1):
            _describe(file, message, message.field.add(name=key, number=number), part)
        field.type, field.type_name = Field.TYPE_MESSAGE, f".rule.{name}"
