"""The one error of this package: every problem of the given resources, a line each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MAX_PROBLEMS = 100


@dataclass(frozen=True, slots=True)
class SpecProblem:
    """One thing that is wrong.

    Attributes:
        source: the file, or the file and the line; empty where there is none.
        resource: `KIND/NAME`; empty where the problem is not within a resource.
        path: the place in the resource, such as `spec.devices[1].nodeSelector`; may be empty.
        message: what is wrong; about a field in the words of `edgetran.api.field_errors`.
    """

    source: str
    resource: str
    path: str
    message: str

    def __str__(self) -> str:
        parts = (self.source, self.resource, self.path, self.message)
        return ": ".join(one_line(part) for part in parts if part)


class SpecError(ValueError):
    """Resources that cannot be accepted; its text has one line per problem.

    Attributes:
        problems: everything that is wrong, in the order of the files.
    """

    def __init__(self, problems: Iterable[SpecProblem]) -> None:
        self.problems: tuple[SpecProblem, ...] = tuple(problems)
        lines = [str(problem) for problem in self.problems[:_MAX_PROBLEMS]]
        if len(self.problems) > _MAX_PROBLEMS:
            lines.append(f"… and {len(self.problems) - _MAX_PROBLEMS} more problems")
        super().__init__("\n".join(lines))


def one_line(text: str) -> str:
    """`text` with everything that is not printable escaped, so that it stays on one line."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def path_text(path: Sequence[str | int]) -> str:
    """`spec.devices[1].nodeSelector[kubernetes.io/arch]` of its parts."""
    text = ""
    for part in path:
        if isinstance(part, str) and _IDENTIFIER.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{part}]"
    return text
