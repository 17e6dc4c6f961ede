import json

import pyarrow as pa
import pytest
from pyarrow import parquet

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
        (
            "a.csv",
            csv_of(MANY),
            {"kind": "ordinal"},
            'labelKind: Unsupported value: "ordinal": supported values: "auto"',
        ),
        (
            "a.csv",
            csv_of(MANY),
            {"max_examples": 0},
            "maxTrainingExamples: Invalid value: 0: must be at least 1",
        ),
    ],
)
def test_bad_tables_are_refused_with_their_place(tmp_path, name, content, options, message):
    with pytest.raises(TaskError, match=message) as error:
        load(write(tmp_path, name, content), **options)
    assert "\n" not in str(error.value)


def test_a_missing_file_and_missing_parts_are_named(tmp_path):
    with pytest.raises(TaskError, match=r"none\.csv: there is no such file"):
        load(str(tmp_path / "none.csv"))
    with pytest.raises(TaskError, match=r"Invalid value: \{test\}: must have train"):
        load_task(files={"test": "x.csv"})


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"text,label\n\xff\xfe,1\n")
    with pytest.raises(TaskError, match="is not UTF-8 text"):
        load(str(path))


def texts(count, start=0):
    return [f"sentence number {i}" for i in range(start, start + count)]


def as_json(rows):
    return "\n".join(json.dumps(row) for row in rows)


@pytest.mark.parametrize("kind", ["auto", "classification"])
def test_one_value_is_one_class_in_every_file_and_format(tmp_path, kind):
    train = write(
        tmp_path, "a.csv", csv_of([f"{t},{float(i % 2)}" for i, t in enumerate(texts(60))])
    )
    mixed = [
        {"text": t, "label": (1, 1.0, "1", 0, "0", "0.0")[i]} for i, t in enumerate(texts(6, 70))
    ]
    columns = {"text": texts(6, 80), "label": pa.array([0, 1, None, 0, 1, 0]).fill_null(1)}
    parquet.write_table(pa.table(columns), tmp_path / "c.parquet")
    files = {
        "train": train,
        "validation": write(tmp_path, "b.jsonl", as_json(mixed)),
        "test": str(tmp_path / "c.parquet"),
    }
    task = load_task(files=files, kind=kind)
    assert task.label_names == ("0", "1")
    assert [e.label for e in task.validation] == [1, 1, 1, 0, 0, 0]
    assert [e.label for e in task.test] == [0, 1, 1, 0, 1, 0]


def test_one_fraction_in_the_test_file_does_not_make_classes_numbers(tmp_path):
    rows = [f"text {i},{i % 3}" for i in range(100)]
    files = {
        "train": write(tmp_path, "a.csv", csv_of(rows)),
        "test": write(tmp_path, "b.csv", csv_of(["x,1", "y,2.5"])),
    }
    with pytest.raises(TaskError, match=r"b\.csv:3: .* the class '2\.5'"):
        load_task(files=files)


def test_words_for_nothing_are_words_and_codes_stay_codes(tmp_path):
    labels = ["NA", "null", "None", "01", "1"]
    rows = [f"None {i},{labels[i % 5]}" for i in range(120)]
    assert set(load(write(tmp_path, "a.csv", csv_of(rows))).label_names) == set(labels)


def test_many_padded_codes_are_classes_unless_numbers_are_asked_for(tmp_path):
    rows = [f"text {i},{i % 30:02}" for i in range(600)]
    path = write(tmp_path, "a.csv", csv_of(rows))
    assert len(load(path).label_names) == 30
    assert load(path, kind="regression").is_regression


def test_the_file_name_and_kind_do_not_change_the_split(tmp_path):
    rows = [row.rsplit(",", 1) for row in MANY]
    plain = load(write(tmp_path, "a.csv", csv_of(MANY)))
    other = load(
        write(tmp_path, "b.JSONL", as_json({"text": text, "label": label} for text, label in rows))
    )
    assert (plain.train, plain.validation, plain.test) == (
        other.train,
        other.validation,
        other.test,
    )


def test_emoji_and_scripts_with_marks_are_split_like_other_texts(tmp_path):
    for alphabet in ("😀😂🙂😉😍🤔👍👎", "किखीगुघूचेछैजोझौ"):
        letters = [alphabet[i : i + 2] for i in range(len(alphabet) - 1)]
        rows = [
            f"{a}{b}{c},{i % 2}" for a in letters for b in letters for i, c in enumerate(letters)
        ]
        task = load(write(tmp_path, "a.csv", csv_of(rows)))
        assert len(task.train) > 0.7 * len(rows)
        assert len(task.test) > 0.05 * len(rows)


def test_a_class_of_one_sentence_stays_in_training(tmp_path):
    rare = [f"rare sentence {i},class {i}" for i in range(40)]
    task = load(write(tmp_path, "a.csv", csv_of([*MANY, *rare])))
    assert {e.label for e in task.train} == set(range(len(task.label_names)))
    assert {e.text for e in task.train} >= {f"rare sentence {i}" for i in range(40)}


def test_rows_that_also_judge_are_counted_said_and_kept_out_of_training(tmp_path):
    train = write(tmp_path, "a.csv", csv_of(MANY))
    test = ["Sentence  NUMBER 3,yes", "sentence number 4,no", "new one,yes", "new two,no"]
    files = {"train": train, "test": write(tmp_path, "b.csv", "\ufeff" + csv_of(test))}
    task = load_task(files=files)
    assert task.overlap == {"test": 2}
    (note,) = task.notes
    assert note == (
        "2 of 4 test examples also stand in the training data: 2 of its 200 examples are kept out "
        "of training."
    )
    left = {e.text for e in (*task.train, *task.validation)}
    assert left == {f"sentence number {i}" for i in range(200)} - {
        "sentence number 3",
        "sentence number 4",
    }
    kept = load_task(files=files, overlap="keep")
    assert len(kept.train) + len(kept.validation) == 200
    assert kept.overlap == task.overlap
    assert "figures may be too good" in kept.notes[0]


def test_test_rows_that_models_are_selected_on_are_said(tmp_path):
    parts = {"train": MANY[:50], "validation": MANY[50:70], "test": MANY[69:90]}
    files = {part: write(tmp_path, f"{part}.csv", csv_of(rows)) for part, rows in parts.items()}
    task = load_task(files=files)
    assert task.overlap == {"validation": 0, "test": 0}
    assert "1 of 21 test examples also stand in the validation part" in task.notes[0]


def test_training_data_that_is_all_test_data_is_refused(tmp_path):
    files = {part: write(tmp_path, f"{part}.csv", csv_of(MANY)) for part in ("train", "test")}
    with pytest.raises(TaskError, match="200 of 200 test examples also stand in the training data"):
        load_task(files=files)


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("b.csv", csv_of(["x,yes", "y,maybe"]), {}, r"b\.csv:3: .* the class 'maybe'"),
        ("b.csv", csv_of(["x,yes"], "text,lable"), {}, r"b\.csv:1: no column 'label'"),
        ("b.csv", csv_of(["x,y,yes"], "text,text2,label"), {}, "no column 'text2', which"),
        ("b.csv", csv_of(["x,yes"]), {"text2_column": "other"}, r"a\.csv:1: no column 'other'"),
        ("b.csv", csv_of([]), {}, r"b\.csv: there are no examples"),
        ("b.csv", "", {}, r"b\.csv: there are no examples"),
        ("b.jsonl", '{"text": "x", "label": "yes"}\n{"text": "y"}', {}, r"b\.jsonl:2: no 'label'"),
        ("b.jsonl", '{"text": "x", "label": "yes"}\n{"label": "no"}', {}, r"b\.jsonl:2: no 'text'"),
        ("b.jsonl", '{"text": "x", "label": null}', {}, r"b\.jsonl:1: the label .* is empty"),
        ("b.jsonl", '{"text": null, "label": "no"}', {}, r"b\.jsonl:1: the text .* is empty"),
        ("b.jsonl", '{"text": "x", "label": NaN}', {}, r"b\.jsonl:1: .* is not a finite number"),
        ("b.jsonl", '{"text": "x", "label": 1e999}', {}, r"b\.jsonl:1: .* is not a finite number"),
        ("b.jsonl", '{"text": "x", "label": ' + "9" * 400 + "}", {}, r"b\.jsonl:1: .* 400 digits"),
    ],
)  # fmt: skip
def test_parts_that_do_not_fit_are_refused_with_their_place(
    tmp_path, name, content, options, message
):
    files = {
        "train": write(tmp_path, "a.csv", csv_of(MANY)),
        "test": write(tmp_path, name, content),
    }
    with pytest.raises(TaskError, match=message) as error:
        load_task(files=files, **options)
    assert "\n" not in str(error.value)


def test_a_pair_without_its_second_text_is_refused(tmp_path):
    rows = [{"text": f"a {i}", "text2": f"b {i}", "label": i % 2} for i in range(100)]
    del rows[7]["text2"]
    with pytest.raises(TaskError, match=r"a\.jsonl:8: no 'text2'; it has text, label"):
        load(write(tmp_path, "a.jsonl", as_json(rows)))
    rows[7]["text2"] = " "
    with pytest.raises(TaskError, match=r"a\.jsonl:8: the text in column 'text2' is empty"):
        load(write(tmp_path, "a.jsonl", as_json(rows)))


def test_missing_numbers_in_parquet_are_refused_with_their_row(tmp_path):
    for missing in (None, float("nan"), float("inf")):
        columns = {"text": texts(100), "label": [*(i / 7 for i in range(99)), missing]}
        parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
        with pytest.raises(TaskError, match=r"a\.parquet:row 100: the label"):
            load(str(tmp_path / "a.parquet"))
