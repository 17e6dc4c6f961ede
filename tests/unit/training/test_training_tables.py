import json

import pytest

from edgetran.training import TaskError, load_task


def write(folder, name, content):
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return str(path)


def csv_of(rows, header="text,label"):
    return "\n".join([header, *rows]) + "\n"


def load(path, **options):
    return load_task(files={"train": path}, **options)


MANY = [f"sentence number {i},{('no', 'yes')[i % 2]}" for i in range(200)]


def test_csv_with_classes_is_split_80_10_10(tmp_path):
    task = load(write(tmp_path, "a.csv", csv_of(MANY)))
    assert task.label_names == ("no", "yes")
    assert task.metrics == ("accuracy",)
    assert len(task.train) + len(task.validation) + len(task.test) == 200
    assert len(task.train) > 140
    assert len(task.validation) > 5
    assert len(task.test) > 5
    assert all(e.label == int(e.text.split()[-1]) % 2 for e in task.train)


def test_the_split_depends_on_the_seed_alone(tmp_path):
    path = write(tmp_path, "a.csv", csv_of(MANY))
    shuffled = write(tmp_path / "..", "a.csv", csv_of(MANY[::-1]))
    assert set(load(path, seed=1).test) == set(load(shuffled, seed=1).test)
    assert set(load(path, seed=1).test) != set(load(path, seed=2).test)


def test_separate_files_are_taken_as_they_are(tmp_path):
    files = {
        part: write(tmp_path, f"{part}.csv", csv_of(MANY[start::3]))
        for start, part in enumerate(("train", "validation", "test"))
    }
    task = load_task(files=files)
    assert [len(p) for p in (task.train, task.validation, task.test)] == [67, 67, 66]


def test_a_test_part_is_split_off_where_only_validation_is_given(tmp_path):
    train = write(tmp_path, "t.csv", csv_of(MANY[:150]))
    validation = write(tmp_path, "v.csv", csv_of(MANY[150:]))
    task = load_task(files={"train": train, "validation": validation})
    assert len(task.validation) == 50
    assert len(task.train) + len(task.test) == 150
    assert len(task.test) >= 5


def test_json_lines_with_pairs_and_own_column_names(tmp_path):
    lines = [
        json.dumps({"q": f"why {i}?", "a": f"because, {i}", "truth": i % 3}) for i in range(120)
    ]
    task = load(
        write(tmp_path, "a.jsonl", "\n".join(lines)),
        text_column="q",
        text2_column="a",
        label_column="truth",
    )
    assert task.label_names == ("0", "1", "2")
    assert task.train[0].text2.startswith("because, ")


def test_whole_numbers_are_classes_in_order_of_size(tmp_path):
    rows = [f"text {i},{(2, 10, 1)[i % 3]}" for i in range(120)]
    assert load(write(tmp_path, "a.csv", csv_of(rows))).label_names == ("1", "2", "10")


def test_numbers_with_fractions_are_a_regression(tmp_path):
    rows = [f"text {i},{i / 7:.3f}" for i in range(120)]
    task = load(write(tmp_path, "a.csv", csv_of(rows)))
    assert task.is_regression
    assert task.metrics == ("pearson", "spearman")
    assert task.num_labels == 1


def test_quoted_commas_and_line_breaks_belong_to_the_text(tmp_path):
    rows = [f'"one, ""two""\n{i}",{i % 2}' for i in range(120)]
    task = load(write(tmp_path, "a.csv", csv_of(rows)))
    assert task.train[0].text.startswith('one, "two"\n')


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("a.csv", csv_of(MANY, "text,lable"), {}, "a.csv:1: no column 'label'; it has text, lable"),
        ("a.csv", csv_of(MANY), {"text_column": "body"}, "no column 'body'; it has text, label"),
        ("a.csv", csv_of([*MANY, ",yes"]), {}, "a.csv:202: the text in column 'text' is empty"),
        ("a.csv", csv_of([*MANY, "x,"]), {}, "a.csv:202: the label in column 'label' is empty"),
        ("a.csv", csv_of([*MANY, "x,yes,z"]), {}, "a.csv:202: has 3 of 2 values"),
        ("a.csv", csv_of([*MANY, '"x,yes']), {}, r"a\.csv:202: is not CSV .* is never closed"),
        ("a.csv", csv_of([f"t {i},same" for i in range(99)]), {}, "has the label 'same'"),
        ("a.csv", csv_of(MANY[:3]), {}, "3 examples are too few to split off"),
        ("a.csv", csv_of([]), {}, "there are no examples"),
        ("a.csv", "", {}, "there are no examples"),
        ("a.xlsx", "", {}, "ends in none of .csv, .tsv, .jsonl"),
        (
            "a.csv",
            csv_of([*(f"t {i},{i / 9}" for i in range(99)), "x,many"]),
            {},
            "a.csv:101: the label 'many' is not a finite number",
        ),
        (
            "a.csv",
            csv_of([*(f"t {i},{i}" for i in range(99)), "x,nan"]),
            {"kind": "regression"},
            "a.csv:101: the label in column 'label' is 'nan', which is not a finite number",
        ),
        ("a.jsonl", '{"text": "x", "label": 1}\n{"text"\n', {}, "a.jsonl:2: is not a line of JSON"),
        ("a.jsonl", "[1]\n", {}, "a.jsonl:1: is not a JSON object"),
        ("a.jsonl", '{"text": 5, "label": 1}', {}, "a.jsonl:1: 'text' is 5; allowed is text"),
        ("a.jsonl", '{"text": "x", "label": [1]}', {}, r"is \[1\]; allowed is the name of a class"),
        ("a.csv", csv_of(MANY), {"kind": "ordinal"}, "kind 'ordinal'; allowed are auto"),
        ("a.csv", csv_of(MANY), {"max_examples": 0}, "maxExamples: 0 is not a positive number"),
    ],
)
def test_bad_tables_are_refused_with_their_place(tmp_path, name, content, options, message):
    with pytest.raises(TaskError, match=message) as error:
        load(write(tmp_path, name, content), **options)
    assert "\n" not in str(error.value)


def test_a_missing_file_and_missing_parts_are_named(tmp_path):
    with pytest.raises(TaskError, match=r"none\.csv: there is no such file"):
        load(str(tmp_path / "none.csv"))
    with pytest.raises(TaskError, match="test given; train is needed"):
        load_task(files={"test": "x.csv"})


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"text,label\n\xff\xfe,1\n")
    with pytest.raises(TaskError, match="is not UTF-8 text"):
        load(str(path))
