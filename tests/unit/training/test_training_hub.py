import datasets
import pytest

from edgetran.training import TaskError, load_task
from edgetran.training.glue import GLUE_TASKS


def parts_of(name, count=200):
    """What the hub's version of a GLUE task looks like: −1 for hidden labels."""
    task = GLUE_TASKS[name]
    classes = len(task.label_names or ())

    def part(split, hidden):
        rows = []
        for i in range(count):
            label = i % classes if classes else i / 40
            row = {text: f" {split} {text} {i} " for text in task.hub_texts}
            rows.append(row | {"label": -1 if hidden else label, "idx": i})
        return datasets.Dataset.from_list(rows)

    suffixes = ("_matched", "_mismatched") if name == "mnli" else ("",)
    found = {"train": part("train", False)}
    for suffix in suffixes:
        found[f"validation{suffix}"] = part("validation", False)
        found[f"test{suffix}"] = part("test", True)
    return datasets.DatasetDict(found)


@pytest.fixture
def hub(monkeypatch):
    """A hub that holds what is put into it."""
    held = {}

    def load(name, configuration, **_):
        if (name, configuration) not in held:
            raise FileNotFoundError(f"no {name}\nat all")
        return held[name, configuration]

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr("edgetran.training.hub.reachable", lambda: True)
    return held


@pytest.mark.parametrize("name", GLUE_TASKS)
def test_each_glue_task_is_read_with_its_own_columns(hub, name):
    hub["nyu-mll/glue", name] = parts_of(name)
    task = load_task(hub=f"glue/{name}")
    assert task.name == f"glue/{name}"
    assert len(task.train) + len(task.validation) == len(task.test) == 200
    assert task.test[0].text == f"validation {GLUE_TASKS[name].hub_texts[0]} 0"
    assert all(example.label is not None for example in task.train)
    assert all(example.label is None for example in task.extra["submission"])
    assert ("test_mismatched" in task.extra) == (name == "mnli")


def test_other_data_sets_are_read_by_column_and_class_name(hub):
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])}
    )
    rows = {"text": [f"text {i}" for i in range(200)], "label": [i % 2 for i in range(200)]}
    hub["someone/reviews", None] = {"train": datasets.Dataset.from_dict(rows, features=features)}
    task = load_task(hub="someone/reviews")
    assert task.label_names == ("no", "yes")
    assert all(e.label == int(e.text.split()[1]) % 2 for e in task.train)
    with pytest.raises(TaskError, match="no column 'stars'; it has text, label"):
        load_task(hub="someone/reviews", label_column="stars")


def test_an_absent_set_or_part_is_one_sentence(hub):
    with pytest.raises(TaskError, match="someone/else could not be fetched") as error:
        load_task(hub="someone/else")
    assert "\n" not in str(error.value)
    hub["someone/else", "part"] = {"test": datasets.Dataset.from_dict({"text": []})}
    with pytest.raises(TaskError, match="has no train part; it has test"):
        load_task(hub="someone/else/part")


def test_hidden_and_missing_labels_of_other_data_sets_are_no_classes(hub):
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])}
    )
    for hidden in (-1, None):
        rows = {
            "text": [f"text {i}" for i in range(200)],
            "label": [*(i % 2 for i in range(199)), hidden],
        }
        hub["someone/reviews", None] = {
            "train": datasets.Dataset.from_dict(rows, features=features)
        }
        with pytest.raises(TaskError, match=r"\(train\):row 200: the label .* is empty"):
            load_task(hub="someone/reviews")


def test_a_score_that_is_no_number_is_refused(hub):
    parts = parts_of("stsb")
    rows = parts["train"].to_list()
    rows[3]["label"] = float("nan")
    parts["train"] = datasets.Dataset.from_list(rows)
    hub["nyu-mll/glue", "stsb"] = parts
    with pytest.raises(TaskError, match=r"\(train\):row 4: the label is 'nan'"):
        load_task(hub="glue/stsb")
