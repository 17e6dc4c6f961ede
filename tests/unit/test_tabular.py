"""Tables of every kind are read alike, and what cannot be read is told by file and line."""

import bz2
import gzip
import json
import lzma
import zipfile
from decimal import Decimal

import pyarrow as pa
import pytest
from pyarrow import parquet

from edgetran.tabular import COMPRESSED, TableError, kind_of, read_table, stem_of

ROWS = [
    {"text": "NA", "label": "null"},
    {"text": 'she said "no",\nand left', "label": "None"},
    {"text": "zwölf 👍", "label": "01"},
]
CSV = 'text,label\nNA,null\n"she said ""no"",\nand left",None\nzwölf 👍,01\n'.encode()


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def as_parquet(folder, name, columns):
    parquet.write_table(pa.table(columns), folder / name)
    return folder / name


def zst(content):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


def packed(folder, name, content, ending):
    if ending == ".zip":
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr("inner.csv", content)
            archive.writestr("__MACOSX/._inner.csv", b"what a Mac adds")
        return folder / name
    pack = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zst}[ending]
    return write(folder, name, pack(content))


def refusal(path, **options):
    with pytest.raises(TableError) as caught:
        read_table(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message.removeprefix(f"{path.parent}/")


def test_every_kind_gives_the_same_rows(tmp_path):
    tsv = 'text\tlabel\nNA\tnull\n"she said ""no"",\nand left"\tNone\nzwölf 👍\t01\n'
    files = [
        write(tmp_path, "a.csv", CSV),
        write(tmp_path, "a.tsv", tsv),
        write(tmp_path, "a.jsonl", "\n".join(map(json.dumps, ROWS))),
        as_parquet(tmp_path, "a.parquet", {k: [r[k] for r in ROWS] for k in ("text", "label")}),
    ]
    for file in files:
        table = read_table(file)
        assert table.names == ("text", "label"), file
        assert list(table.rows) == ROWS, file


@pytest.mark.parametrize("ending", COMPRESSED)
@pytest.mark.parametrize("change", [str.lower, str.upper])
def test_compressed_files_are_read_whatever_the_case_of_their_endings(tmp_path, ending, change):
    path = packed(tmp_path, change(f"a.csv{ending}"), CSV, ending)
    assert list(read_table(path).rows) == ROWS
    assert stem_of(path) == change("a")
    assert kind_of(path) == "CSV"


@pytest.mark.parametrize("ending", COMPRESSED)
def test_a_compressed_file_that_is_cut_off_is_refused(tmp_path, ending):
    path = packed(tmp_path, f"a.csv{ending}", CSV, ending)
    path.write_bytes(path.read_bytes()[:-6])
    assert refusal(path).startswith(f"a.csv{ending}: is not a whole {ending} file")
    path.write_bytes(b"hello")
    assert refusal(path).startswith(f"a.csv{ending}: is not a whole {ending} file")


def test_an_archive_of_two_files_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.csv.zip", "w") as archive:
        archive.writestr("a.csv", CSV)
        archive.writestr("b.csv", CSV)
    assert "2 files are in it; allowed is one" in refusal(tmp_path / "a.csv.zip")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"text,label\na,1\n\nb\n", "a.csv:4: has 1 of 2 values"),
        ("a.csv", b'text,label\n"a\n\nb",1\nc,1,2\n', "a.csv:5: has 3 of 2 values"),
        ("a.csv", b'text,label\na,1\n"b,1\nc,1\n', "a.csv:3: is not CSV (the quotation mark"),
        ("a.csv", b'text,label\na,1\n"b,1\nc,1\n', "is never closed)"),
        ("a.tsv", b'text\tlabel\n"a\t1\nb\t1\n"c d\t1\n', "a.tsv:2: is not TSV (the"),
        ("a.tsv", b'text\tlabel\n"a\t1\nb\t1\n"c d\t1\n', "is closed in line 4, where text"),
        ("a.csv", b'\xef\xbb\xbf"text,label\na,1\n', "a.csv:1: is not CSV"),
        ("a.csv", b'text,label\r\n"a" b,1\r\n', "a.csv:2: is not CSV"),
        ("a.csv", b"text,label\na,1\nb\xff,1\n", "a.csv:3: is not UTF-8 text (invalid start byte)"),
        ("a.jsonl", b'{"text": 1}\n{"text": "\xff"}', "a.jsonl:2: is not UTF-8 text"),
        ("a.csv", "text,label\na,1".encode("utf-16"), "a.csv:1: is not UTF-8 text"),
        ("a.csv", "text,label\na,1".encode("utf-16-le"), "a.csv:1: has a zero byte"),
        ("a.csv", b"a,b,a\n1,2,3\n", "a.csv:1: two columns are called 'a'"),
        ("a.jsonl", b'{"a": 1}\n\n{"a"\n', "a.jsonl:3: is not a line of JSON"),
        ("a.jsonl", b'{"a": 1}\n[1]\n', "a.jsonl:2: is not a JSON object with columns as keys"),
        ("a.jsonl", b'{"a": "\\ud83d"}\n', "half of a character pair such as \\ud83d is not text"),
        ("a.jsonl", b"[" * 100_000, "a.jsonl:1: is not a line of JSON (recursion limit exceeded"),
        ("a.jsonl", b'{"a": ' + b"9" * 8000 + b"}", "a.jsonl:1: is not a line of JSON (number out"),
        ("a.parquet", b"PAR1", "a.parquet: is not Parquet"),
        ("a.parquet", b"", "a.parquet: is not Parquet"),
        ("a.xlsx", b"", "a.xlsx: the file's name ends in none of .csv, .tsv, .jsonl"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_by_file_and_line(tmp_path, name, content, message):
    assert message in refusal(write(tmp_path, name, content))


def test_parquet_text_that_is_not_utf8_is_told_by_row(tmp_path):
    bad = pa.StringArray.from_buffers(
        2, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0"), pa.py_buffer(b"a\xff")
    )
    path = as_parquet(tmp_path, "a.parquet", {"text": bad})
    assert "a.parquet:row 2: " in refusal(path)


def test_parquet_gives_what_stands_there(tmp_path):
    columns = {
        "whole": pa.array([2**53 + 1, None]),
        "single": pa.array([0.1, None], pa.float32()),
        "decimal": pa.array([Decimal("1.50"), None]),
        "words": pa.array(["x", None]).dictionary_encode(),
        "yes": pa.array([True, None]),
    }
    first, second = read_table(as_parquet(tmp_path, "a.parquet", columns)).rows
    assert first == {
        "whole": 2**53 + 1, "single": "0.1", "decimal": "1.50", "words": "x", "yes": True
    }  # fmt: skip
    assert set(second.values()) == {None}


def test_only_wanted_columns_are_read_so_that_odd_ones_do_no_harm(tmp_path):
    columns = {"text": ["a"], "odd": pa.array([2**62], pa.timestamp("ms"))}
    path = as_parquet(tmp_path, "a.parquet", columns)
    table = read_table(path, ["text", "absent"])
    assert list(table.rows) == [{"text": "a"}]
    assert table.names == ("text", "odd")
    table = read_table(write(tmp_path, "a.csv", CSV), ["label"])
    assert table.rows[0] == {"label": "null"}


@pytest.mark.parametrize(
    "content", ["", "\n\n", "text,label", "text,label\n", "\ufefftext,label\r\n"]
)
def test_a_file_without_rows_has_none(tmp_path, content):
    assert len(read_table(write(tmp_path, "a.csv", content)).rows) == 0


def test_lines_are_counted_through_quoted_line_breaks_and_empty_lines(tmp_path):
    content = 'text,label\r\n\r\n"a\r\n\r\nb",1\r\n\r\nc,2\r\n'
    table = read_table(write(tmp_path, "a.csv", content))
    assert [table.place(i).rsplit(":", 1)[1] for i in range(2)] == ["3", "7"]


def test_a_file_of_another_name_is_read_as_what_it_is_said_to_be(tmp_path):
    path = write(tmp_path, "rows.log", '{"a": 1}')
    assert "ends in none of" in refusal(path)
    assert list(read_table(path, otherwise="JSON lines").rows) == [{"a": 1}]
