"""Panels in a few words: each has a title, a description, a unit and its queries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    prometheus,
    stat,
    table,
    timeseries,
    xychart,
)
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat
from grafana_foundation_sdk.models.xychart import ScatterShow, SeriesMapping

SOURCE: Final = models.DataSourceRef(type_val="prometheus", uid="${datasource}")

Query = tuple[str, str]
"""A PromQL expression and the legend of its series."""

Threshold = tuple[float | None, str]
"""A value from which on a colour is used; None for the colour below all others."""

HEIGHT: Final = 8
SMALL: Final = 4
WIDTH: Final = 24


def number(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    width: int = 4,
    thresholds: Sequence[Threshold] = ((None, "blue"),),
    labels: bool = False,
) -> stat.Panel:
    """The latest value of each series; with `labels` its legend instead of the value."""
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .unit(unit)
        .datasource(SOURCE)
        .height(SMALL)
        .span(width)
        .no_value("—")
        .thresholds(_thresholds(thresholds))
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .text_mode(
            common_models.BigValueTextMode.NAME
            if labels
            else common_models.BigValueTextMode.VALUE_AND_NAME
            if len(queries) > 1 or queries[0][1]
            else common_models.BigValueTextMode.VALUE
        )
    )
    for query in _targets(queries, instant=True):
        panel = panel.with_target(query)
    return panel


def lines(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    width: int = 8,
    stacked: bool = False,
    least: float | None = 0,
    most: float | None = None,
    steps: bool = False,
) -> timeseries.Panel:
    """Values over time."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .unit(unit)
        .datasource(SOURCE)
        .height(HEIGHT)
        .span(width)
        .fill_opacity(20 if stacked else 8)
        .show_points(common_models.VisibilityMode.AUTO)
        .legend(
            common.VizLegendOptions()
            .show_legend(True)
            .display_mode(common_models.LegendDisplayMode.LIST)
            .placement(common_models.LegendPlacement.BOTTOM)
        )
        .tooltip(common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI))
    )
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL))
    if steps:
        panel = panel.line_interpolation(common_models.LineInterpolation.STEP_AFTER)
    if least is not None:
        panel = panel.min(least)
    if most is not None:
        panel = panel.max(most)
    for query in _targets(queries):
        panel = panel.with_target(query)
    return panel


def bars(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    width: int = 8,
    most: float | None = None,
    thresholds: Sequence[Threshold] = ((None, "blue"),),
) -> bargauge.Panel:
    """The latest value of each series as a bar."""
    panel = (
        bargauge.Panel()
        .title(title)
        .description(description)
        .unit(unit)
        .datasource(SOURCE)
        .height(HEIGHT)
        .span(width)
        .min(0)
        .no_value("—")
        .thresholds(_thresholds(thresholds))
        .orientation(common_models.VizOrientation.HORIZONTAL)
        .display_mode(common_models.BarGaugeDisplayMode.BASIC)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
    )
    if most is not None:
        panel = panel.max(most)
    for query in _targets(queries, instant=True):
        panel = panel.with_target(query)
    return panel


Column = tuple[str, str, str]
"""A PromQL expression, the heading of its column, and its unit."""


def rows(
    title: str,
    description: str,
    key: str,
    labels: Sequence[str],
    *columns: Column,
    width: int = 12,
) -> table.Panel:
    """A table with one row for each value of the label `key`.

    Args:
        title: of the panel.
        description: what it shows.
        key: the label by which the columns are joined.
        labels: labels that are shown, in this order.
        columns: the values.
        width: of 24.
    """
    panel = (
        table.Panel()
        .title(title)
        .description(description)
        .unit("short")
        .datasource(SOURCE)
        .height(HEIGHT)
        .span(width)
        .no_value("—")
    )
    for query in _targets([(expression, "") for expression, _, _ in columns], as_table=True):
        panel = panel.with_target(query)
    for transformation in _joined(key, labels, columns):
        panel = panel.with_transformation(transformation)
    for _, heading, unit in columns:
        panel = panel.override_by_name(
            heading, [models.DynamicConfigValue(id_val="unit", value=unit)]
        )
    return panel


def scatter(
    title: str,
    description: str,
    key: str,
    x: Column,
    y: Column,
    *,
    width: int = 12,
) -> xychart.Panel:
    """A point for each value of the label `key`."""
    panel = _points(title, description, x, y, width)
    for query in _targets([(x[0], ""), (y[0], "")], as_table=True):
        panel = panel.with_target(query)
    for transformation in _joined(key, [key], [x, y]):
        panel = panel.with_transformation(transformation)
    return panel


def scatter_over_time(
    title: str, description: str, x: Column, y: Column, *, width: int = 8
) -> xychart.Panel:
    """A point for each moment of the time that is shown."""
    panel = _points(title, description, x, y, width)
    for query in _targets([(x[0], x[1]), (y[0], y[1])]):
        panel = panel.with_target(query)
    return panel.with_transformation(
        models.DataTransformerConfig(
            id_val="joinByField", options={"byField": "Time", "mode": "inner"}
        )
    )


def _points(title: str, description: str, x: Column, y: Column, width: int) -> xychart.Panel:
    panel = (
        xychart.Panel()
        .title(title)
        .description(description)
        .unit(y[2])
        .datasource(SOURCE)
        .height(HEIGHT)
        .span(width)
        .show(ScatterShow.POINTS)
        .series_mapping(SeriesMapping.MANUAL)
        .series([xychart.ScatterSeriesConfig().x(x[1]).y(y[1]).name(y[1])])
        .dims(xychart.XYDimensionConfig().frame(0))
        .legend(common.VizLegendOptions().show_legend(False))
        .tooltip(common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.SINGLE))
    )
    for _, heading, unit in (x, y):
        panel = panel.override_by_name(
            heading,
            [
                models.DynamicConfigValue(id_val="unit", value=unit),
                models.DynamicConfigValue(id_val="custom.axisLabel", value=heading),
            ],
        )
    return panel


def _joined(
    key: str, labels: Sequence[str], columns: Sequence[Column]
) -> list[models.DataTransformerConfig]:
    """One table of several queries, with headings for their values."""
    single = len(columns) == 1
    values = ["Value" if single else f"Value #{chr(65 + index)}" for index in range(len(columns))]
    # A joined table has each label once for every query: "device 1", "device 2".
    shown = [each if single or each == key else f"{each} 1" for each in labels]
    headings = [heading for _, heading, _ in columns]
    return [
        *(
            []
            if single
            else [
                models.DataTransformerConfig(
                    id_val="joinByField", options={"byField": key, "mode": "outer"}
                )
            ]
        ),
        models.DataTransformerConfig(
            id_val="filterFieldsByName", options={"include": {"names": [*shown, *values]}}
        ),
        models.DataTransformerConfig(
            id_val="organize",
            options={
                "renameByName": dict(zip([*shown, *values], [*labels, *headings], strict=True)),
                "indexByName": {name: index for index, name in enumerate([*shown, *values])},
                "excludeByName": {},
            },
        ),
    ]


def _targets(
    queries: Sequence[Query], *, instant: bool = False, as_table: bool = False
) -> list[prometheus.Dataquery]:
    found = []
    for index, (expression, legend) in enumerate(queries):
        query = prometheus.Dataquery().expr(expression).ref_id(chr(65 + index)).datasource(SOURCE)
        if legend:
            query = query.legend_format(legend)
        query = query.instant() if instant or as_table else query.range()
        if as_table:
            query = query.format(PromQueryFormat.TABLE)
        found.append(query)
    return found


def _thresholds(thresholds: Sequence[Threshold]) -> dashboard.ThresholdsConfig:
    return (
        dashboard.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(value=value, color=colour) for value, colour in thresholds])
    )


def page(
    uid: str, title: str, description: str, *variables: Any, since: str = "now-6h"
) -> dashboard.Dashboard:
    """A dashboard without panels, with links to the others."""
    made = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["edgetran"])
        .refresh("30s")
        .time(since, "now")
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .with_variable(
            dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
        )
        .link(
            dashboard.DashboardLink("EdgeTran")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags(["edgetran"])
            .as_dropdown(True)
            .keep_time(True)
        )
    )
    for variable in variables:
        made = made.with_variable(variable)
    return made


def choice(
    name: str, label: str, metric: str, label_of: str, *, several: bool = False
) -> dashboard.QueryVariable:
    """A variable whose values are those of a label of a metric."""
    made = (
        dashboard.QueryVariable(name)
        .label(label)
        .query(f"label_values({metric}, {label_of})")
        .datasource(SOURCE)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
    )
    return made.multi(True).include_all(True).all_value(".*") if several else made
