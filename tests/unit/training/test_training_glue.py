import gzip

import pytest

from edgetran.training import TaskError, load_task
from edgetran.training.glue import GLUE_TASKS

COUNT = 120
BINARY = ("0", "1")
ENTAILMENT = ("entailment", "not_entailment")
MNLI = ("neutral", "entailment", "contradiction")


def row(name, i, labels):
    """Line i of a train or dev file, as GLUE's download writes it."""
    label = labels[i % len(labels)]
    return {
        "cola": f"gj04\t{label}\t\tThe sentence {i}.",
        "sst2": f"a film {i} \t{label}",
        "mrpc": f'{label}\t{i}\t{i + 1}\tFirst {i} "quoted\tSecond {i}',
        "qqp": f"{i}\t{i}\t{i}\tWhy {i}?\tHow {i}?\t{label}",
        "stsb": f"{i}\tnews\tfile\t2012\t{i}\tsrc\tsrc\tOne {i}.\tTwo {i}.\t{i % 6 / 1.2:.3f}",
        "mnli": f"{i}\tp\tp\tg\tb\tb\tp\tp\tPremise {i}\tHypothesis {i}\t{label}\t{label}",
        "qnli": f"{i}\tWhat is {i}?\tIt is {i}.\t{label}",
        "rte": f"{i}\tText {i}.\tHypothesis {i}.\t{label}",
        "wnli": f"{i}\tText {i}.\tHypothesis {i}.\t{label}",
    }[name]


HEADERS = {
    "cola": None,
    "sst2": "sentence\tlabel",
    "mrpc": "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String",
    "qqp": "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate",
    "stsb": "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\t"
    "sentence1\tsentence2\tscore",
    "mnli": "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\t"
    "sentence1_parse\tsentence2_parse\tsentence1\tsentence2\tlabel1\tgold_label",
    "qnli": "index\tquestion\tsentence\tlabel",
    "rte": "index\tsentence1\tsentence2\tlabel",
    "wnli": "index\tsentence1\tsentence2\tlabel",
}
LABELS = {"mnli": MNLI, "qnli": ENTAILMENT, "rte": ENTAILMENT}
TEST_LINES = {
    "cola": ("index\tsentence", "{i}\tUnseen {i}."),
    "sst2": ("index\tsentence", "{i}\tunseen {i}"),
    "mnli": (
        HEADERS["mnli"].removesuffix("\tlabel1\tgold_label"),
        "{i}\tp\tp\tg\tb\tb\tp\tp\tUnseen {i}\tHypothesis {i}",
    ),
}


def write(folder, name, *, count=COUNT):
    folder.mkdir(exist_ok=True)

    def content(first):
        lines = [row(name, first + i, LABELS.get(name, BINARY)) for i in range(count)]
        header = [HEADERS[name]] if HEADERS[name] else []
        return "\n".join([*header, *lines]) + "\n"

    suffixes = ("_matched", "_mismatched") if name == "mnli" else ("",)
    (folder / "train.tsv").write_text(content(0))
    for suffix in suffixes:
        (folder / f"dev{suffix}.tsv").write_text(content(1200))
        if name in TEST_LINES:
            head, line = TEST_LINES[name]
            unseen = [head, *(line.format(i=i) for i in range(7))]
            (folder / f"test{suffix}.tsv").write_text("\n".join(unseen) + "\n")
    return folder


@pytest.mark.parametrize("name", GLUE_TASKS)
def test_each_of_the_nine_folders_is_read_by_its_own_name(tmp_path, name):
    task = load_task(folder=str(write(tmp_path / GLUE_TASKS[name].title, name)))
    assert task.name == f"glue/{name}"
    assert len(task.train) + len(task.validation) == COUNT
    assert len(task.validation) > 3
    assert len(task.test) == COUNT
    assert task.metrics == GLUE_TASKS[name].metrics
    first = task.test[1]
    assert "1" in first.text
    assert (first.text2 is None) == (name in ("cola", "sst2"))
    if name == "stsb":
        assert task.is_regression
        assert first.label == pytest.approx(0.833)
    else:
        expected = LABELS.get(name, BINARY)[1]
        assert GLUE_TASKS[name].label_values[first.label] == expected


def test_hidden_test_labels_make_the_dev_file_the_test_split(tmp_path):
    task = load_task(folder=str(write(tmp_path / "MNLI", "mnli")))
    assert len(task.extra["test_mismatched"]) == COUNT
    assert [len(task.extra[f"submission{s}"]) for s in ("", "_mismatched")] == [7, 7]
    assert task.extra["submission"][0].label is None
    assert "validation_mismatched" not in task.extra


def test_labelled_test_files_are_used_as_test_and_dev_as_validation(tmp_path):
    folder = write(tmp_path / "sst2", "sst2")
    lines = ["sentence\tlabel", *(f"other film {i}\t{i % 2}" for i in range(9))]
    (folder / "test.tsv").write_text("\n".join(lines))
    task = load_task(folder=str(folder))
    assert (len(task.train), len(task.validation), len(task.test)) == (COUNT, COUNT, 9)


def test_a_folder_of_any_name_is_read_when_the_task_is_named(tmp_path):
    folder = write(tmp_path / "my-data", "rte")
    assert load_task(folder=str(folder), glue="RTE").name == "glue/rte"
    with pytest.raises(TaskError, match="say which it is"):
        load_task(folder=str(folder))
    with pytest.raises(TaskError, match="no task 'imdb'; allowed are cola, sst2"):
        load_task(folder=str(folder), glue="imdb")


def test_rows_without_agreement_are_left_out(tmp_path):
    folder = write(tmp_path / "MNLI", "mnli")
    with open(folder / "dev_matched.tsv", "a") as file:
        file.write(row("mnli", 999, ("-",)) + "\n")
    assert len(load_task(folder=str(folder)).test) == COUNT


def test_the_short_rows_of_qqp_are_left_out_and_those_of_others_refused(tmp_path):
    with open(write(tmp_path / "QQP", "qqp") / "dev.tsv", "a") as file:
        file.write("7\t8\t9\n")
    assert len(load_task(folder=str(tmp_path / "QQP")).test) == COUNT
    with open(write(tmp_path / "RTE", "rte") / "dev.tsv", "a") as file:
        file.write("7\tonly one\n")
    with pytest.raises(TaskError, match=r"dev\.tsv:122: has 2 columns; at least 4 needed"):
        load_task(folder=str(tmp_path / "RTE"))


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("sst2", "a film\t2", r"train\.tsv:122: label '2'; allowed are 0, 1"),
        (
            "stsb",
            row("stsb", 1, BINARY)[:-5] + "high",
            r"train\.tsv:122: label 'high' is not",
        ),
    ],
)
def test_a_bad_label_is_refused_with_its_line(tmp_path, name, line, message):
    folder = write(tmp_path / GLUE_TASKS[name].title, name)
    with open(folder / "train.tsv", "a") as file:
        file.write(line + "\n")
    with pytest.raises(TaskError, match=message):
        load_task(folder=str(folder))


def test_missing_folders_files_and_columns_are_named(tmp_path):
    with pytest.raises(TaskError, match="none is not a folder"):
        load_task(folder=str(tmp_path / "none"))
    folder = write(tmp_path / "RTE", "rte")
    (folder / "dev.tsv").write_text("index\tsentence1\tlabel\n0\tx\tentailment\n")
    with pytest.raises(TaskError, match="no column 'sentence2'; it has index, sentence1, label"):
        load_task(folder=str(folder))
    (folder / "dev.tsv").unlink()
    with pytest.raises(TaskError, match=r"dev\.tsv: there is no such file; RTE needs it"):
        load_task(folder=str(folder))


def test_a_score_that_is_no_finite_number_is_refused(tmp_path):
    folder = write(tmp_path / "STS-B", "stsb")
    for score in ("nan", "inf", "1e999", ""):
        lines = (folder / "train.tsv").read_text().split("\n")[: COUNT + 1]
        lines[4] = lines[4].rsplit("\t", 1)[0] + f"\t{score}"
        (folder / "train.tsv").write_text("\n".join(lines))
        with pytest.raises(TaskError, match=r"train\.tsv:5: the label in column 'score' is"):
            load_task(folder=str(folder))


def test_an_empty_dev_file_is_told_by_its_own_name(tmp_path):
    folder = write(tmp_path / "SST-2", "sst2")
    for content in ("sentence\tlabel\n", ""):
        (folder / "dev.tsv").write_text(content)
        with pytest.raises(TaskError, match=r"dev\.tsv") as error:
            load_task(folder=str(folder))
        assert "test" not in str(error.value).split("dev.tsv")[1]


def test_dev_examples_that_stand_in_the_training_file_are_kept_out_of_training(tmp_path):
    folder = write(tmp_path / "RTE", "rte")
    train = (folder / "train.tsv").read_text().split("\n")
    with open(folder / "dev.tsv", "a") as file:
        file.write("\n".join(train[1:4]) + "\n")
    task = load_task(folder=str(folder))
    assert task.overlap == {"test": 3}
    assert len(task.train) + len(task.validation) == COUNT - 3
    kept = load_task(folder=str(folder), overlap="keep")
    assert len(kept.train) + len(kept.validation) == COUNT


def test_a_class_that_the_training_file_lacks_is_refused_with_its_line(tmp_path):
    folder = write(tmp_path / "MNLI", "mnli")
    kept = [
        line
        for line in (folder / "train.tsv").read_text().split("\n")
        if not line.endswith("contradiction")
    ]
    (folder / "train.tsv").write_text("\n".join(kept))
    with pytest.raises(TaskError, match=r"dev_matched\.tsv:4: .* the class 'contradiction'"):
        load_task(folder=str(folder))


def test_empty_texts_are_refused_with_their_line_and_left_out_where_the_data_is_known_for_them(
    tmp_path,
):
    for name, title in (("rte", "RTE"), ("qqp", "QQP")):
        line = row(name, 999, LABELS.get(name, BINARY)).replace("Text 999.", " ")
        with open(write(tmp_path / title, name) / "train.tsv", "a") as file:
            file.write(line.replace("Why 999?", "") + "\n")
    with pytest.raises(TaskError, match=r"train\.tsv:122: the text in column 'sentence1' is empty"):
        load_task(folder=str(tmp_path / "RTE"))
    assert len(load_task(folder=str(tmp_path / "QQP")).test) == COUNT


def test_compressed_files_of_any_case_are_found(tmp_path):
    folder = write(tmp_path / "RTE", "rte")
    plain = load_task(folder=str(folder))
    content = (folder / "dev.tsv").read_bytes()
    (folder / "dev.tsv").unlink()
    (folder / "DEV.TSV.GZ").write_bytes(gzip.compress(content))
    assert load_task(folder=str(folder)).test == plain.test
    (folder / "dev.tsv").write_bytes(content)
    with pytest.raises(TaskError, match=r"DEV\.TSV\.GZ and dev\.tsv; allowed is one of them"):
        load_task(folder=str(folder))
