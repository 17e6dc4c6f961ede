"""The CRDs as templates of the chart, so that `helm upgrade` upgrades them.

Files in a chart's folder crds/ are installed once and never upgraded by Helm.
"""

from __future__ import annotations

import re
from typing import Final

_HEADER: Final = "{{- /* Written by hack/chart.py (make chart) from crds/. */}}\n"
_KNOWN: Final = (
    "{{- /* Servers before 1.23 refuse CEL rules; the operator checks the same. */}}\n"
    '{{- $cel := semverCompare ">=1.23-0" .Capabilities.KubeVersion.Version }}\n'
)
_RULES: Final = "x-kubernetes-validations:"
_METADATA: Final = re.compile(r"^metadata:\n  name: (?P<name>\S+)\n  labels:\n(    .*\n)+", re.M)


def crd_template(text: str) -> str:
    """The template of one CRD.

    Raises:
        ValueError: the file's metadata are not a name and labels.
    """
    body = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))
    body = _rules_where_known(_escaped(body))
    body, count = _METADATA.subn(_metadata, body, count=1)
    if count != 1:
        raise ValueError("metadata of a CRD: allowed is a name and labels")
    return f"{_HEADER}{_KNOWN}{{{{- if .Values.crds.enabled }}}}\n{body}{{{{- end }}}}\n"


def _rules_where_known(text: str) -> str:
    """The text with each list of CEL rules in a condition of its own."""
    lines: list[str] = []
    indent = -1  # of the list that is open; its entries stand as deep as its key
    for line in text.splitlines(keepends=True):
        depth = len(line) - len(line.lstrip(" "))
        if indent >= 0 and (depth < indent or (depth == indent and line[depth] != "-")):
            lines.append("{{- end }}\n")
            indent = -1
        if line.strip() == _RULES:
            lines.append("{{- if $cel }}\n")
            indent = depth
        lines.append(line)
    return "".join([*lines, "{{- end }}\n"] if indent >= 0 else lines)


def _escaped(text: str) -> str:
    return re.sub(r"\{\{|\}\}", lambda match: f'{{{{ "{match[0]}" }}}}', text)


def _metadata(match: re.Match[str]) -> str:
    return (
        "metadata:\n"
        f"  name: {match['name']}\n"
        "  labels:\n"
        '    {{- include "edgetran.labels" . | nindent 4 }}\n'
        "  annotations:\n"
        "    {{- with .Values.commonAnnotations }}\n"
        "    {{- toYaml . | nindent 4 }}\n"
        "    {{- end }}\n"
        "    {{- if .Values.crds.keep }}\n"
        "    helm.sh/resource-policy: keep\n"
        "    {{- end }}\n"
    )
