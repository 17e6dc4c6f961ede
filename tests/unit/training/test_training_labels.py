"""One value is one class, wherever it stands; what is missing or no finite number is none."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetran.training.labels import LabelError, read_label


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("1", ["1", 1, 1.0, "1.0", "1.", "+1", " 1 ", "1e0", "10e-1"]),
        ("0", ["0", 0, 0.0, -0.0, "-0", "0.0", ".0"]),
        ("-2", ["-2", -2, -2.0, "-2.00"]),
        ("0.5", ["0.5", 0.5, ".5", "0.50", "5e-1"]),
        ("0.0000001", [1e-7, "1e-07", "0.0000001"]),
        ("9007199254740993", [2**53 + 1, "9007199254740993"]),
        ("100000", [100_000, 1e5, "1e5", "100000.0"]),
        ("true", [True, "true", "True", "TRUE"]),
        ("false", [False, "false", "False", "FALSE"]),
    ],
)
def test_spellings_of_one_value_are_one_class(name, values):
    assert {read_label(value).name for value in values} == {name}


@pytest.mark.parametrize(
    "name", ["01", "00", "-01", "1_0", "0x1", "١", "²", "e5", "-", ".", "1 2", "NA", "null", "None",
             "N/A", "no", "yes", "n", "Infinity War", "nano"]
)  # fmt: skip
def test_names_stay_as_they_are(name):
    assert read_label(name).name == name


def test_padded_numbers_are_names_that_can_be_numbers():
    label = read_label("01.50")
    assert (label.name, label.number, label.is_padded) == ("01.50", 1.5, True)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "is empty"),
        ("", "is empty"),
        (" \t", "is empty"),
        (math.nan, "is 'nan', which is not a finite number"),
        (math.inf, "is 'inf', which is not a finite number"),
        ("NaN", "is 'NaN', which is not a finite number"),
        ("-Infinity", "which is not a finite number"),
        ("1e999", "which is not a finite number"),
        (10**400, "is a number of about 400 digits"),
        ("1" + "0" * 400, "which is not a finite number"),
        ("9" * 8000, "has 8000 characters; allowed are at most 1000"),
        ([1], r"is \[1\]; allowed is the name of a class, or a number"),
        ({"a": 1}, "allowed is the name of a class, or a number"),
    ],
)
def test_what_is_no_label_is_refused(value, words):
    with pytest.raises(LabelError, match=words):
        read_label(value)


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e299, max_value=1e299))
def test_a_number_and_its_text_are_one_class(number):
    label = read_label(number)
    assert label == read_label(repr(number))
    assert label == read_label(label.name)
    assert label.number == pytest.approx(number, abs=1e-299)


@given(st.integers(-(10**60), 10**60))
def test_whole_numbers_are_kept_to_the_last_digit(number):
    assert read_label(number).name == read_label(str(number)).name == str(number)
