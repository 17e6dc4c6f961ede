"""What tests of the chart share."""

import pytest
from chart_rendering import CHART, Rendered, rendered
from helm_python import Chart


@pytest.fixture(scope="session")
def chart() -> Chart:
    return Chart.load(CHART)


@pytest.fixture(scope="session")
def by_default(chart: Chart) -> Rendered:
    return rendered(chart, {})
