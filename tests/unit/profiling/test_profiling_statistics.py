import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgetran.profiling.statistics import Statistics, drift, outliers

samples = arrays(np.float64, st.integers(1, 60), elements=st.floats(1e-4, 1e4))


@given(samples)
def test_quantiles_are_in_order_and_within_the_samples(values):
    s = Statistics.of(values)
    assert values.min() == s.minimum <= s.median <= s.p90 <= s.p99 <= values.max() * (1 + 1e-12)
    assert s.iqr >= 0
    assert s.cv >= 0
    assert s.n == len(values)


@given(samples, st.floats(1e-3, 1e3))
def test_another_unit_scales_everything_but_shares_and_counts(values, factor):
    scaled, again = Statistics.of(values).scaled(factor), Statistics.of(values * factor)
    for name, value in scaled.to_dict().items():
        expected = getattr(again, name)
        assert value == pytest.approx(expected, rel=1e-6, abs=1e-9 * factor * values.max() + 1e-9)


def test_drift_is_seen_when_the_later_windows_are_slower():
    steady = np.tile([1.0, 1.01, 0.99], 40)
    assert drift(steady) < 0.02
    assert drift(np.concatenate([steady, steady * 1.2])) > 0.15


def test_one_slow_sample_is_an_outlier_and_no_drift():
    values = np.tile([1.0, 1.01, 0.99, 1.005], 25)
    values[40] = 7.0
    assert outliers(values).tolist() == [40]
    assert drift(values) < 0.02


def test_equal_samples_have_no_outliers():
    assert outliers(np.ones(10)).size == 0


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [float("inf")]])
def test_no_samples_or_broken_ones_are_refused(values):
    with pytest.raises(ValueError, match="samples"):
        Statistics.of(values)
