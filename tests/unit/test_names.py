"""One class, one name: whoever reads a class's name anywhere knows which one is meant."""

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ("edgetran", "operator/edgetran_operator", "workers/edgetran_workers", "hack")


def public_classes(text: str) -> list[str]:
    """Names of the public classes of a module, those within functions and other classes too."""
    nodes = ast.walk(ast.parse(text))
    return [
        node.name
        for node in nodes
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]


def test_no_name_of_a_class_stands_for_two_things() -> None:
    places = defaultdict(list)
    for package in SHIPPED:
        for path in sorted((ROOT / package).rglob("*.py")):
            for name in public_classes(path.read_text()):
                places[name].append(str(path.relative_to(ROOT)))
    assert len(places) > 300  # they were found at all
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_a_class_within_another_is_seen_too() -> None:
    assert public_classes("class A:\n    class B: ...\n\nclass _C: ...") == ["A", "B"]
