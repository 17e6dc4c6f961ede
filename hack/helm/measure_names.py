"""What of a worker's metrics the chart lets through because a measure is in the table."""

from __future__ import annotations

from typing import Final

from edgetran.api.measures import HARDWARE, MEASURES

_TEMPLATE: Final = """\
{{{{- /* Written by hack/chart.py from edgetran.api.measures (make chart): edit the table. */}}}}

{{{{- /* Workers' metrics of the measures, without their prefix. */}}}}
{{{{- define "edgetran.measureMetrics" -}}}}
{metrics}
{{{{- end }}}}

{{{{- /* What the label `measure` of a worker's metrics may say. */}}}}
{{{{- define "edgetran.measureNames" -}}}}
{names}
{{{{- end }}}}
"""


def measure_names() -> str:
    """The template file."""
    metrics = [
        *(f"last_{each.metric}" for each in HARDWARE),
        *(f"best_{each.metric}" for each in MEASURES),
    ]
    return _TEMPLATE.format(
        metrics="\n".join(f"- {name}" for name in metrics),
        names="\n".join(f"- {each.name}" for each in HARDWARE),
    )
