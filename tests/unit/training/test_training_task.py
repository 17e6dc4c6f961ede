import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetran.training import Example, Task, TaskError, TaskReference, load_task
from edgetran.training.task import check_task, limit_examples, normalise, same_text, split_by_text

examples = st.lists(
    st.builds(Example, st.text(min_size=1), st.none() | st.text(), st.integers(0, 1)), max_size=60
)


def task(train, **changes):
    part = (Example("a b", None, 0), Example("c d", None, 1))
    given = {
        "name": "t",
        "train": tuple(train),
        "validation": part,
        "test": part,
        "label_names": ("no", "yes"),
        "metrics": ("accuracy",),
    }
    return Task(**given | changes)


def labelled(count):
    return [Example(f"text {i}", None, i % 2) for i in range(count)]


@given(examples, st.text())
def test_a_split_keeps_every_example_once_and_no_sentence_in_two_parts(given_examples, salt):
    parts = split_by_text(given_examples, (0.6, 0.2, 0.2), salt)
    assert sorted(map(repr, (e for part in parts for e in part))) == sorted(
        map(repr, given_examples)
    )
    texts = [{(normalise(e.text), normalise(e.text2 or "")) for e in part} for part in parts]
    assert not texts[0] & texts[1]
    assert not texts[0] & texts[2]
    assert not texts[1] & texts[2]


def test_capitals_and_punctuation_do_not_make_another_sentence():
    same = [
        Example("It's a  GOOD film!"),
        Example("it s a good film"),
        Example("it's a good, film"),
    ]
    for salt in "abcdefgh":
        assert sorted(map(len, split_by_text(same, (0.4, 0.3, 0.3), salt))) == [0, 0, 3]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("\u00e9t\u00e9", "e\u0301te\u0301"),
        ("\uff26\uff55\uff4c\uff4c", "full"),
        ("co\u00adoperate", "cooperate"),
        ("STRASSE", "stra\u00dfe"),
    ],
)
def test_forms_of_unicode_that_mean_the_same_are_the_same_sentence(one, other):
    assert normalise(one) == normalise(other)


@pytest.mark.parametrize(("one", "other"), [("👍", "👎"), ("की", "का"), ("?!", "..."), ("ก้", "ก่")])
def test_sentences_of_symbols_and_marks_are_told_apart(one, other):
    assert normalise(one) != normalise(other)


@given(st.text(), st.text(alphabet="aÀ\u0300ßſ²ﬁ \t"))
def test_texts_that_are_the_same_are_never_split(one, other):
    for text in (one, other, one + other):
        for again in (text.upper().lower(), f" {text}\n", unicodedata.normalize("NFD", text)):
            if same_text(text) == same_text(again):
                assert normalise(text) == normalise(again)


def test_a_split_follows_its_fractions():
    parts = split_by_text(labelled(4000), (0.8, 0.1, 0.1), "s")
    assert [len(p) / 4000 for p in parts] == pytest.approx([0.8, 0.1, 0.1], abs=0.02)


def test_selection_uses_the_only_metric_or_the_mean_of_several():
    assert task(labelled(8)).selection_metric == "accuracy"
    assert task(labelled(8), metrics=("f1", "accuracy")).selection_metric == "score"


def test_content_hash_changes_with_a_text_or_a_label():
    first = task(labelled(10))
    relabelled = [*labelled(9), Example("text 9", None, 0)]
    assert first.content_hash() == task(labelled(10)).content_hash()
    assert first.content_hash() != task(relabelled).content_hash()
    assert first.content_hash("test") == task(relabelled).content_hash("test")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (task(labelled(5)), "has 5 examples; at least 8"),
        (task([Example(f"x {i}", None, 1) for i in range(9)]), "the label 'yes'; at least two"),
        (task([*labelled(9), Example(" ", None, 1)]), "text of example 10 of the train split"),
        (task(labelled(9), test=()), "the test split has no examples"),
    ],
)
def test_a_task_that_teaches_nothing_is_refused(bad, message):
    with pytest.raises(TaskError, match=message):
        check_task(bad)


def test_a_limit_keeps_validation_and_test_whole_and_is_seeded():
    whole = task(labelled(100))
    limited = limit_examples(whole, 20, seed=3)
    assert len(limited.train) == 20
    assert limited.validation == whole.validation
    assert limited == limit_examples(whole, 20, seed=3)
    assert limited != limit_examples(whole, 20, seed=4)


def test_a_reference_is_plain_data_and_names_one_source():
    reference = TaskReference(files={"train": "a.csv"}, label_column="y", max_examples=5)
    assert TaskReference.from_dict(reference.to_dict()) == reference
    with pytest.raises(TaskError, match=r"Invalid value: \{name, hub\}: must set exactly one"):
        TaskReference(name="movie-reviews", hub="glue/rte")
    with pytest.raises(TaskError, match="task: Required value: must set exactly one"):
        TaskReference()
    with pytest.raises(TaskError, match='Unsupported value: "labelColumn": supported values: '):
        TaskReference.from_dict({"labelColumn": "y"})


def test_an_unknown_built_in_task_is_refused():
    with pytest.raises(
        TaskError, match='Unsupported value: "imdb": supported values: "movie-reviews"'
    ):
        load_task(name="imdb")
