"""Whatever a file holds, the answer is what it says or one sentence: never another accident.

Each series is short here and long under the marker `soak`. What failed once stands as an example.
"""

import csv
import gzip
import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from edgetran.api import SpecError, load_bundle, load_text
from edgetran.api.settings import parse_setting
from edgetran.devices import DeviceError, read_device_measurements
from edgetran.devices.power.external import CommandMeter, HttpMeter
from edgetran.devices.power.source import SensorError
from edgetran.runner.published import PublishedError, write_folder
from edgetran.tabular import COMPRESSED, KINDS
from edgetran.training import Task, TaskError, load_task

BOTH = pytest.mark.parametrize(
    "count", [pytest.param(30, id="short"), pytest.param(20_000, id="soak", marks=pytest.mark.soak)]
)
DIGITS = "1" * 8000
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
LABELS = st.sampled_from(
    ["0", "1", "1.0", "01", "nan", "", "NA", "null", "true", "-", "1e999", DIGITS, "yes", "2.5"]
)
CELLS = TEXT | LABELS | st.sampled_from(['"', '""', 'a"b', "a,b", "a\tb", "a\nb", "\r", "\ufeff"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | CELLS | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
SOUP = st.text(alphabet='ab01.,\t"\n\r\\{}[]:-e\ufeff é👍', max_size=80).map(str.encode)
HEADERS = st.sampled_from(["text,label", "text\tlabel", "label,text,text2", "text,text", "text"])
TABLES = st.one_of(
    st.binary(max_size=60),
    SOUP,
    st.builds(lambda head, soup: head.encode() + b"\n" + soup, HEADERS, SOUP),
    st.lists(st.dictionaries(st.sampled_from(["text", "label", "text2"]), JSON), max_size=12).map(
        lambda rows: "\n".join(map(json.dumps, rows)).encode()
    ),
    st.lists(st.tuples(CELLS, CELLS), max_size=12).map(
        lambda rows: "\n".join(["text,label", *map(",".join, rows)]).encode()
    ),
    st.lists(st.tuples(TEXT, LABELS), min_size=10, max_size=40).map(
        lambda rows: as_csv([("text", "label"), *rows])
    ),
)


def property_of(count, *strategies, examples=()):
    """Run a property on so many cases, after those that once failed."""

    def run(check):
        tried = settings(
            max_examples=count,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        )(given(*strategies)(check))
        for case in examples:
            tried = example(*case)(tried)
        tried()

    return run


def as_csv(rows):
    file = io.StringIO()
    csv.writer(file).writerows(rows)
    return file.getvalue().encode()


def one_sentence(error, name):
    message = str(error)
    assert "\n" not in message, message
    assert "\r" not in message, message
    assert name in message, message


def printable_lines(error):
    assert all(line.isprintable() for line in str(error).splitlines())


@BOTH
def test_any_table_is_a_task_or_one_sentence(count, tmp_path):
    @property_of(
        count,
        st.sampled_from(list(KINDS)),
        TABLES,
        st.sampled_from(["auto", "classification", "regression"]),
        examples=[
            (".jsonl", b'{"text": "a \\ud83d", "label": 0}', "auto"),
            (".jsonl", b'{"text": "a", "label": 1' + b"0" * 400 + b"}", "auto"),
            (".jsonl", b"[" * 100_000, "auto"),
            (".jsonl", b'{"text": "a", "label": ' + DIGITS.encode() + b"}", "regression"),
            (".csv", f"text,label\na,{DIGITS}x\n".encode(), "regression"),
            (".tsv", b'text\tlabel\n"a\t1\n', "auto"),
            (".csv", b'"te\nxt",label\na,1\n', "auto"),
            (".csv", b"text,label\na,nan\n", "auto"),
            (".csv", b"text\r\r,label", "auto"),
        ],
    )
    def check(kind, content, label_kind):
        path = tmp_path / f"train{kind}"
        path.write_bytes(content)
        try:
            task = load_task(files={"train": str(path)}, kind=label_kind)
        except TaskError as error:
            one_sentence(error, "train")
        else:
            assert isinstance(task, Task)


@BOTH
def test_any_two_parts_fit_or_are_refused_in_one_sentence(count, tmp_path):
    good = as_csv([("text", "label"), *((f"text {i}", i % 3) for i in range(100))])

    @property_of(
        count,
        st.sampled_from(list(KINDS)),
        TABLES,
        examples=[(".csv", b"text,label\na,1\nb,2.5\n")],
    )
    def check(kind, content):
        (tmp_path / "train.csv").write_bytes(good)
        (tmp_path / f"test{kind}").write_bytes(content)
        files = {"train": str(tmp_path / "train.csv"), "test": str(tmp_path / f"test{kind}")}
        try:
            task = load_task(files=files)
        except TaskError as error:
            one_sentence(error, "test")
        else:
            assert {e.label for e in task.test} <= {e.label for e in task.train}


@BOTH
def test_any_compressed_file_is_read_or_one_sentence(count, tmp_path):
    @property_of(count, st.sampled_from(COMPRESSED), st.binary(max_size=80), st.integers(0, 80))
    def check(ending, content, cut):
        path = tmp_path / f"train.csv{ending}"
        path.write_bytes(gzip.compress(content)[:cut] if ending == ".gz" else content)
        with pytest.raises(TaskError) as error:
            load_task(files={"train": str(path)})
        one_sentence(error.value, "train")


@BOTH
def test_any_damage_to_a_parquet_file_is_read_or_one_sentence(count, tmp_path):
    columns = {"text": [f"text {i}" for i in range(60)], "label": [i % 2 for i in range(60)]}
    parquet.write_table(pa.table(columns), tmp_path / "good.parquet")
    good = (tmp_path / "good.parquet").read_bytes()

    @property_of(count, st.integers(0, len(good) - 1), st.binary(max_size=4))
    def check(position, replacement):
        path = tmp_path / "train.parquet"
        path.write_bytes(good[:position] + replacement + good[position + len(replacement) :])
        try:
            load_task(files={"train": str(path)})
        except TaskError as error:
            one_sentence(error, "train")


@BOTH
def test_the_same_rows_are_the_same_task_in_every_kind_of_file(count, tmp_path):
    texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1)
    rows = st.lists(
        st.tuples(texts.filter(str.strip), st.sampled_from(["1", "2", "01", "yes", "null"])),
        min_size=30,
        max_size=60,
        unique_by=lambda row: row[0],
    )

    @property_of(count, rows)
    def check(given_rows):
        (tmp_path / "a.csv").write_bytes(as_csv([("text", "label"), *given_rows]))
        lines = [json.dumps({"text": text, "label": label}) for text, label in given_rows]
        (tmp_path / "b.jsonl").write_text("\n".join(lines))
        columns = dict(zip(("text", "label"), zip(*given_rows, strict=True), strict=True))
        parquet.write_table(
            pa.table({k: list(v) for k, v in columns.items()}), tmp_path / "c.parquet"
        )
        found = []
        for name in ("a.csv", "b.jsonl", "c.parquet"):
            try:
                task = load_task(files={"train": str(tmp_path / name)})
                found.append((task.train, task.validation, task.test, task.label_names))
            except TaskError as error:
                found.append(str(error).replace(str(tmp_path / name), ""))
        assert found[0] == found[1] == found[2]


@BOTH
def test_any_glue_folder_is_a_task_or_one_sentence(count, tmp_path):
    lines = st.lists(st.tuples(CELLS, CELLS).map("\t".join), max_size=30)
    contents = st.binary(max_size=60) | lines.map(
        lambda rows: "\n".join(["sentence\tlabel", *rows]).encode()
    )

    @property_of(
        count,
        st.sampled_from(["SST-2", "CoLA", "STS-B"]),
        contents,
        contents,
        examples=[("SST-2", b"sentence\tlabel\na\t0\n", b"sentence\tlabel\n")],
    )
    def check(name, train, dev):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "train.tsv").write_bytes(train)
        (folder / "dev.tsv").write_bytes(dev)
        try:
            load_task(folder=str(folder))
        except TaskError as error:
            one_sentence(error, "")


@BOTH
def test_any_table_of_measurements_is_read_or_one_sentence(count, tmp_path):
    model = st.just('{"l": 1, "h": [128], "f": [[512]], "o": [["sa_sdp_64", "sa_sdp_64"]]}') | JSON
    rows = st.lists(
        st.fixed_dictionaries({"model_dict": model, "latency_ms": JSON | st.just(1.5)}), max_size=4
    )

    @property_of(
        count,
        st.sampled_from([*KINDS, ".log"]),
        TABLES | rows.map(lambda rows: "\n".join(map(json.dumps, rows)).encode()),
        examples=[(".csv", b"model_dict,latency_ms\n" + b"[" * 100_000 + b",1\n")],
    )
    def check(kind, content):
        path = tmp_path / f"board{kind}"
        path.write_bytes(content)
        try:
            read_device_measurements(path)
        except DeviceError as error:
            one_sentence(error, "board")


@BOTH
def test_any_file_of_resources_is_read_or_told_by_line(count, tmp_path):
    soup = st.text(alphabet="ab:-[]{}#&*!|>'\"\n %@`~?,0\ud83d\\xuU", max_size=60)

    @property_of(
        count,
        st.binary(max_size=60) | soup.map(lambda text: text.encode("utf-8", "surrogatepass")),
        examples=[
            (b"a: !!bool x",),
            (b"a: !!timestamp 0001-01-01 00:00:00 +23:59",),
            (b'a: "\\U00110000"',),
            (b"[" * 20_000,),
            (b"a: " + b"1" * 8000,),
            (b"a: " + b"1" * 8000 + b"e",),
            (b'a: "\\ud83d"',),
        ],
    )
    def check(content):
        path = tmp_path / "run.yaml"
        path.write_bytes(content)
        try:
            load_bundle(path)
        except SpecError as error:
            printable_lines(error)


@BOTH
def test_any_json_text_as_a_resource_is_answered(count):
    @property_of(count, JSON)
    def check(data):
        for text in (json.dumps(data), json.dumps({"kind": "GPTranRun", "spec": data})):
            with pytest.raises(SpecError):
                load_text(text)


@BOTH
def test_any_setting_is_read_or_told(count):
    @property_of(
        count,
        st.text(max_size=60) | st.builds("spec{}={}".format, TEXT, CELLS),
        examples=[(DIGITS,), ("spec.a=" + "[" * 5000,), ("spec" + "[1]" * 5000 + "=1",)],
    )
    def check(text):
        try:
            parse_setting(text)
        except SpecError as error:
            printable_lines(error)


@BOTH
def test_any_results_part_is_a_folder_or_refused(count, tmp_path):
    logs = st.sampled_from(["a.jsonl", "spec.yaml", "result.json", "a.jsonl/b.json", "../x.json"])
    lines = st.lists(
        st.binary(max_size=20)
        | st.fixed_dictionaries({"log": logs, "record": JSON}).map(
            lambda r: json.dumps(r).encode()
        ),
        max_size=6,
    )
    numbers = iter(range(10**9))

    @property_of(
        count,
        st.binary(max_size=40).map(lambda data: [data])
        | st.lists(lines.map(lambda each: gzip.compress(b"\n".join(each))), max_size=3),
        examples=[
            ([gzip.compress(b'{"log": "a.jsonl", "record": ' + b"[" * 100_000)],),
            ([gzip.compress(b'{"log": "spec.yaml", "record": {"text": "\\ud83d"}}')],),
            (
                [
                    gzip.compress(b'{"log": "a.jsonl", "record": {}}'),
                    gzip.compress(b'{"log": "a.jsonl/b.json", "record": {}}'),
                ],
            ),
        ],
    )
    def check(parts):
        folder = Path(tmp_path, str(next(numbers)))
        try:
            write_folder(parts, folder)
        except PublishedError as error:
            one_sentence(error, "")


@pytest.fixture
def meter_page():
    """An address, and what it answers with."""
    said = [b""]

    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(said[0])

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", said
        server.shutdown()


@BOTH
def test_any_answer_of_a_meter_is_watts_or_a_reason(count, meter_page):
    address, said = meter_page

    @property_of(
        count,
        st.binary(max_size=40) | JSON.map(lambda value: json.dumps(value).encode()),
        st.sampled_from(["", "power", "0.a"]),
        examples=[
            (b"1" * 60_000 + b"_", ""),
            (b'{"power": 1' + b"0" * 400 + b"}", "power"),
            (b"[" * 50_000, "power"),
        ],
    )
    def check(answer, path):
        said[0] = answer
        try:
            watts = HttpMeter(address, path, timeout_s=30.0).sample()
        except SensorError as error:
            one_sentence(error, "http")
        else:
            assert 0 <= watts < float("inf")


def test_a_program_that_prints_no_text_is_a_reason():
    with pytest.raises(SensorError, match="command: no number in"):
        CommandMeter(["printf", r"\377\376"], timeout_s=60.0).sample()
