"""YAML as Kubernetes reads it: several documents, no tags, no duplicate keys, marks for errors.

Numbers follow YAML 1.2, so that 5e-4 is a number, as it is for `kubectl`; dates stay text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from edgetran.api.errors import Problem, SpecError, path_text
from edgetran.api.plain import MAX_VALUES, not_plain

MAX_BYTES: Final = 4 * 1024 * 1024

_FLOAT: Final = (
    r"^(?:[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)
_RESOLVERS: Final = (
    ("tag:yaml.org,2002:null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    (
        "tag:yaml.org,2002:bool",
        r"^(?:yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$",
        list("yYnNtTfFoO"),
    ),
    ("tag:yaml.org,2002:int", r"^[-+]?(?:0x[0-9a-fA-F]+|[0-9][0-9_]*)$", list("-+0123456789")),
    ("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789")),
)


class _PythonParser(yaml.reader.Reader, yaml.scanner.Scanner, yaml.parser.Parser):
    """For a PyYAML that was built without libyaml: the same events, four times as slow."""

    def __init__(self, text: str) -> None:
        yaml.reader.Reader.__init__(self, text)
        yaml.scanner.Scanner.__init__(self)
        yaml.parser.Parser.__init__(self)


class _Loader(yaml.composer.Composer, yaml.constructor.SafeConstructor, yaml.resolver.Resolver):
    """Safe, without merge keys (their expansion has no bound), refusing duplicate keys.

    libyaml scans and parses in C; the nodes are composed here, where they are counted.
    """

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    nodes_read = 0

    def __init__(self, text: str) -> None:
        parser: Any = yaml.cyaml.CParser if yaml.__with_libyaml__ else _PythonParser
        events = parser(text)
        self.check_event = events.check_event
        self.peek_event = events.peek_event
        self.get_event = events.get_event
        yaml.composer.Composer.__init__(self)
        yaml.constructor.SafeConstructor.__init__(self)
        yaml.resolver.Resolver.__init__(self)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Stop where a text has more nodes than any resource, rather than hold them all first."""
        self.nodes_read += 1
        if self.nodes_read > 2 * MAX_VALUES:  # keys are nodes too
            raise yaml.composer.ComposerError(
                None,
                None,
                f"more than {MAX_VALUES} values; allowed are fewer",
                None if parent is None else parent.start_mark,
            )
        node: yaml.Node | None = super().compose_node(parent, index)
        return node

    def construct_mapping(self, node: yaml.Node, deep: bool = False) -> dict[Any, Any]:
        if not isinstance(node, yaml.MappingNode):
            raise yaml.constructor.ConstructorError(
                None, None, "a mapping is expected here", node.start_mark
            )
        mapping: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key is not text", key_node.start_mark
                )
            key = self.construct_object(key_node, deep=True)
            if key in mapping:
                raise yaml.constructor.ConstructorError(
                    None, None, f"duplicate key {key_node.value!r}", key_node.start_mark
                )
            mapping[key] = self.construct_object(value_node, deep=deep)
        return mapping

    def construct_bool(self, node: yaml.ScalarNode) -> bool:
        text = self.construct_scalar(node).lower()
        if text not in self.bool_values:
            raise yaml.constructor.ConstructorError(
                None, None, f"not true or false: {text[:20]!r}", node.start_mark
            )
        return bool(self.bool_values[text])

    def refuse_tag(self, node: yaml.Node) -> None:
        raise yaml.constructor.ConstructorError(
            None, None, f"the tag {node.tag!r} is not allowed", node.start_mark
        )

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        text = self.construct_scalar(node).replace("_", "")
        try:
            if node.tag.endswith(":float"):
                return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
            return int(text, 16 if "x" in text else 10)
        except ValueError:
            raise yaml.constructor.ConstructorError(
                None, None, f"not a number of a sensible size: {text[:20]!r}", node.start_mark
            ) from None


class _Dumper(yaml.SafeDumper):
    """Writes text in quotes exactly where `_Loader` would read something else."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


for _tag, _pattern, _first in _RESOLVERS:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(_tag, re.compile(_pattern), _first)
for _number in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_number}", _Loader.construct_number)
_Loader.add_constructor("tag:yaml.org,2002:bool", _Loader.construct_bool)
for _type in ("binary", "timestamp", "omap", "pairs", "set"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_type}", _Loader.refuse_tag)


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file, not yet looked at.

    Attributes:
        source: the file's name.
        line: where the document begins, from 1.
        data: plain data.
    """

    source: str
    line: int
    data: Any


def read_text(text: str, source: str = "<text>") -> list[Document]:
    """The documents of YAML `text`, empty ones left out.

    Raises:
        SpecError: naming file and line of what is not YAML, not safe or not plain.
    """
    documents: list[Document] = []
    problems: list[Problem] = []
    if len(text) > MAX_BYTES:
        raise SpecError(
            [Problem(source, "", "", f"{len(text)} characters; allowed are {MAX_BYTES}")]
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise SpecError([_forbidden(text[error.start], text[: error.start], source)]) from None
    try:
        loader = _Loader(text)
        while loader.check_node():
            node = loader.get_node()
            data = loader.construct_document(node)
            line = node.start_mark.line + 1 if node else 1
            if data is None:
                continue
            if (found := not_plain(data)) is not None:
                problems.append(Problem(f"{source}:{line}", "", path_text(found[0]), found[1]))
            documents.append(Document(source, line, data))
    except yaml.MarkedYAMLError as error:
        problems.append(_syntax_problem(error, text, source))
    except yaml.reader.ReaderError as error:
        before = text.encode()[: error.position].decode(errors="ignore")  # it counts bytes
        problems.append(_forbidden(error.character, before, source))
    except RecursionError:
        problems.append(Problem(source, "", "", "nested too deeply; allowed are 50 levels"))
    except (yaml.YAMLError, ValueError) as error:
        problems.append(Problem(source, "", "", f"not YAML: {error}"))
    if problems:
        raise SpecError(problems)
    return documents


def _forbidden(character: str | int, before: str, source: str) -> Problem:
    code = ord(character) if isinstance(character, str) else character
    line = before.count("\n") + 1
    return Problem(f"{source}:{line}", "", "", f"the character {code} is not allowed in YAML")


def _syntax_problem(error: yaml.MarkedYAMLError, text: str, source: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    last = text.count("\n")  # libyaml counts a line more where the last one has no end
    place = f"{source}:{min(mark.line, last) + 1}" if mark else source
    said = ", ".join(part for part in (error.context, error.problem) if part)
    column = f" (column {mark.column + 1})" if mark else ""
    return Problem(place, "", "", f"not YAML: {said}{column}")


def read_files(paths: Iterable[str | Path]) -> list[Document]:
    """The documents of YAML files, and of all `*.yaml` and `*.yml` in folders.

    Raises:
        SpecError: with every problem of every file.
    """
    documents: list[Document] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            for file in _files(Path(path)):
                documents += read_text(file.read_text(encoding="utf-8"), str(file))
        except SpecError as error:
            problems += error.problems
        except UnicodeDecodeError:
            problems.append(Problem(str(path), "", "", "not UTF-8 text; allowed is YAML in UTF-8"))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            problems.append(
                Problem(str(path), "", "", f"{reason}; allowed is a YAML file or a folder of them")
            )
    if problems:
        raise SpecError(problems)
    return documents


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.iterdir() if file.suffix in (".yaml", ".yml"))


def write_text(documents: Iterable[Any]) -> str:
    """YAML of plain data, `---` between documents, that `read_text` reads back the same."""
    return yaml.dump_all(
        documents,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
        width=100,
    )
