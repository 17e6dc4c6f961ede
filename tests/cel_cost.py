"""What a CEL rule may cost, estimated as an API server does before it accepts a definition.

A rule may cost 10 million, and all rules of a definition 100 million, where every list, map and
text is as large as the schema allows. The factors are those of cel-go's `checker/cost.go` and of
Kubernetes' string library.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import cel_rules
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory

RULE_BUDGET: Final = 10_000_000
DEFINITION_BUDGET: Final = 100_000_000

_TRAVERSAL: Final = 0.1
_REGEX: Final = 0.25
_LIST_BASE: Final = 10
_BYTES_PER_CHARACTER: Final = 4
_UNBOUNDED: Final = 3 * 1024 * 1024
"""Bytes of the largest request, and so of whatever has no bound of its own."""

Schema = Mapping[str, Any]


def costs(schema: Schema, path: str = "", times: int = 1) -> Iterator[tuple[str, float]]:
    """Place and text of every rule, and what it costs in the largest object that is allowed."""
    for each in schema.get("x-kubernetes-validations", ()):
        yield f"{path}: {each['rule']}", times * cost(each["rule"], schema)
    for name, part in schema.get("properties", {}).items():
        yield from costs(part, f"{path}.{name}", times)
    if "items" in schema:
        most = schema.get("maxItems", _UNBOUNDED)
        yield from costs(schema["items"], f"{path}[]", times * most)
    if isinstance(schema.get("additionalProperties"), Mapping):
        most = schema.get("maxProperties", _UNBOUNDED)
        yield from costs(schema["additionalProperties"], f"{path}{{}}", times * most)


def cost(rule: str, schema: Schema) -> float:
    """What the rule costs, evaluated once."""
    packed = any_pb2.Any.FromString(cel_rules.compile_typed(rule, schema).serialize())
    tree = _CHECKED_EXPRESSION.FromString(packed.value)
    return _visit(tree.expr, {"self": schema, "oldSelf": schema}).cost


@dataclass(frozen=True)
class _Priced:
    """What an expression costs, and what is known of its value.

    Attributes:
        cost: of evaluating it.
        schema: of its value; empty where none is known.
        size: of its value, for text and lists that have no schema.
    """

    cost: float
    schema: Schema
    size: float | None = None

    @property
    def most(self) -> float:
        """Bytes, entries or keys that the value has at most."""
        if self.size is not None:
            return self.size
        if "enum" in self.schema:
            return max((len(str(word)) for word in self.schema["enum"]), default=0)
        if "maxLength" in self.schema:
            return float(self.schema["maxLength"] * _BYTES_PER_CHARACTER)
        known = {"integer": 1, "number": 1, "boolean": 1}.get(self.schema.get("type", ""))
        bounds = (known, self.schema.get("maxItems"), self.schema.get("maxProperties"))
        return float(next((bound for bound in bounds if bound is not None), _UNBOUNDED))


def _visit(node: Any, names: Mapping[str, Any]) -> _Priced:
    match node.WhichOneof("kind"):
        case "constant":
            return _Priced(0, {}, max(1, len(node.constant.string)))
        case "ident":
            known = names.get(node.ident.name, {})
            if isinstance(known, _Priced):
                return _Priced(1, known.schema, known.size)
            return _Priced(1, known)
        case "select":
            operand = _visit(node.select.operand, names)
            part = operand.schema.get("properties", {}).get(node.select.field)
            if part is None:
                part = operand.schema.get("additionalProperties", {})
            return _Priced(operand.cost + 1, part, 1 if node.select.test_only else None)
        case "list":
            entries = [_visit(entry, names) for entry in node.list.elements]
            return _Priced(_LIST_BASE + sum(entry.cost for entry in entries), {}, len(entries))
        case "comprehension":
            return _comprehension(node.comprehension, names)
        case "call":
            return _call(node.call, names)
        case kind:
            raise AssertionError(f"an expression of the kind {kind} has no price here")


def _comprehension(node: Any, names: Mapping[str, Any]) -> _Priced:
    over = _visit(node.iter_range, names)
    start = _visit(node.accu_init, names)
    items = over.schema.get("items", {})
    # A list that is filtered has at most the entries that it is made from.
    inner = {**names, node.iter_var: items, node.accu_var: _Priced(1, {}, over.most)}
    turn = _visit(node.loop_condition, inner).cost + _visit(node.loop_step, inner).cost
    result = _visit(node.result, inner)
    return _Priced(over.cost + start.cost + over.most * turn + result.cost, {}, result.size)


def _call(node: Any, names: Mapping[str, Any]) -> _Priced:
    arguments = [_visit(argument, names) for argument in node.args]
    if node.HasField("target"):
        arguments.insert(0, _visit(node.target, names))
    paid = sum(argument.cost for argument in arguments)
    sizes = [argument.most for argument in arguments]
    match node.function:
        case "_&&_" | "_||_" | "_?_:_" | "!_" | "@not_strictly_false":
            return _Priced(paid, {}, 1)
        case "_==_" | "_!=_" | "_<_" | "_<=_" | "_>_" | "_>=_":
            return _Priced(paid + max(1, _TRAVERSAL * min(sizes)), {}, 1)
        case "@in":
            return _Priced(paid + sizes[1], {}, 1)
        case "size" | "int" | "_-_" | "_%_":
            return _Priced(paid + 1, {}, 1)
        case "_+_":
            return _Priced(paid + _TRAVERSAL * sum(sizes), {}, sum(sizes))
        case "_[_]":
            return _Priced(paid + 1, arguments[0].schema.get("items", {}), sizes[0])
        case "matches":
            return _Priced(paid + _TRAVERSAL * (sizes[0] + 1) * _REGEX * sizes[1], {}, 1)
        case "split":
            return _Priced(paid + _TRAVERSAL * sizes[0], {}, sizes[0])
        case function:
            raise AssertionError(f"{function} has no price here")


def _messages() -> Any:
    """The parts of CEL's `checked.proto` and `syntax.proto` that are read here."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="ast.proto", package="ast", syntax="proto2")

    def message(name: str, /, **fields: tuple[int, str]) -> Any:
        made = file.message_type.add(name=name)
        for key, (number, type_) in fields.items():
            repeated = type_.endswith("*")
            each = made.field.add(name=key, number=number)
            each.label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
            plain = {"string": field.TYPE_STRING, "bool": field.TYPE_BOOL}.get(type_.rstrip("*"))
            each.type = plain or field.TYPE_MESSAGE
            if plain is None:
                each.type_name = f".ast.{type_.rstrip('*')}"
        return made

    message("CheckedExpr", expr=(4, "Expr"))
    expression = message(
        "Expr",
        constant=(3, "Constant"),
        ident=(4, "Ident"),
        select=(5, "Select"),
        call=(6, "Call"),
        list=(7, "List"),
        comprehension=(9, "Comprehension"),
    )
    expression.oneof_decl.add(name="kind")
    for each in expression.field:
        each.oneof_index = 0
    message("Constant", string=(6, "string"))
    message("Ident", name=(1, "string"))
    message("Select", operand=(1, "Expr"), field=(2, "string"), test_only=(3, "bool"))
    message("Call", target=(1, "Expr"), function=(2, "string"), args=(3, "Expr*"))
    message("List", elements=(1, "Expr*"))
    message(
        "Comprehension",
        iter_var=(1, "string"),
        iter_range=(2, "Expr"),
        accu_var=(3, "string"),
        accu_init=(4, "Expr"),
        loop_condition=(5, "Expr"),
        loop_step=(6, "Expr"),
        result=(7, "Expr"),
    )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("ast.CheckedExpr"))


_CHECKED_EXPRESSION: Final = _messages()
