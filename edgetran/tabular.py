"""Rows of CSV, TSV, JSON-lines and Parquet files, compressed or not.

Arrow reads CSV and Parquet; jiter, which pydantic brings, reads JSON. Neither guesses what a column
is: cells of CSV are text, and those of JSON and Parquet what stands there. What cannot be read is
refused with file and line.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import re
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from pydantic_core import from_json

JSON_LINES: Final = "JSON lines"
PARQUET: Final = "Parquet"
KINDS: Final[Mapping[str, str]] = {
    ".csv": "CSV",
    ".tsv": "TSV",
    ".jsonl": JSON_LINES,
    ".ndjson": JSON_LINES,
    ".json": JSON_LINES,
    ".parquet": PARQUET,
}
"""What a file is, by the ending of its name in small letters."""

_DELIMITERS: Final = {"CSV": ",", "TSV": "\t"}
COMPRESSED: Final = (".gz", ".bz2", ".xz", ".zst", ".zip")
"""Endings that may follow those of `KINDS`."""

_NOT_COMPRESSED_SO: Final = (EOFError, lzma.LZMAError, zipfile.BadZipFile, RuntimeError, ValueError)
"""What the decompressors raise beside OSError."""


class TableError(ValueError):
    """A file that cannot be read as a table; one sentence with file and line."""


@dataclass(frozen=True)
class Table:
    """The rows of a file.

    Attributes:
        path: the file, for messages.
        names: all its columns, in order; of JSON lines, those of any row.
        rows: what the wanted columns hold, row by row; a row of JSON lines may lack some.
        locate: from a row's index to its line, or to its row where the format has no lines.
    """

    path: str
    names: tuple[str, ...]
    rows: Sequence[Mapping[str, Any]]
    locate: Callable[[int], str]

    def place(self, index: int) -> str:
        """`file:line` of a row, counted from 0."""
        return f"{self.path}:{self.locate(index)}"

    @property
    def head(self) -> str:
        """Where the columns are named."""
        return f"{self.path}:1"


def kind_of(path: str | Path) -> str | None:
    """The entry of `KINDS` that a file's name ends in, compressed or not; None where in none."""
    return KINDS.get(_uncompressed(path).suffix.lower())


def stem_of(path: str | Path) -> str:
    """The name of a file without the endings that say its kind and compression."""
    return _uncompressed(path).stem


def _uncompressed(path: str | Path) -> Path:
    path = Path(path)
    return path.with_suffix("") if path.suffix.lower() in COMPRESSED else path


def read_table(
    path: str | Path, wanted: Collection[str] | None = None, *, otherwise: str | None = None
) -> Table:
    """Read a whole file.

    Args:
        path: of the file.
        wanted: columns that rows are to hold, where the file has them; all where None.
        otherwise: what the file is where its name does not say so.

    Raises:
        TableError: one sentence saying where, what was found and what is allowed.
    """
    kind = kind_of(path) or otherwise
    if kind is None:
        raise TableError(
            f"{path}: the file's name ends in none of {', '.join(KINDS)}, "
            f"perhaps followed by one of {', '.join(COMPRESSED)}"
        )
    content = read_bytes(path)
    if kind == PARQUET:
        return _parquet(str(path), content, wanted)
    _check_text(str(path), content)
    if kind == JSON_LINES:
        return _json_lines(str(path), content)
    return _delimited(str(path), content, kind, wanted)


def read_text(path: str | Path) -> str:
    """The text of a file, compressed or not, without a byte-order mark.

    Raises:
        TableError: it is absent, cannot be read, or is no UTF-8 text.
    """
    content = read_bytes(path)
    _check_text(str(path), content)
    return content.decode("utf-8-sig")


def read_bytes(path: str | Path) -> bytes:
    """The content of a file, decompressed where its name says that it is compressed.

    Raises:
        TableError: it is absent or cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise TableError(f"{path}: there is no such file")
    ending = path.suffix.lower()
    try:
        return _open(path, ending)
    except (OSError, *_NOT_COMPRESSED_SO) as error:
        if ending not in COMPRESSED:
            raise TableError(f"{path}: cannot be read ({_reason(error)})") from None
        raise TableError(f"{path}: is not a whole {ending} file ({_reason(error)})") from None


def _open(path: Path, ending: str) -> bytes:
    match ending:
        case ".gz":
            return gzip.decompress(path.read_bytes())
        case ".bz2":
            return bz2.decompress(path.read_bytes())
        case ".xz":
            return lzma.decompress(path.read_bytes())
        case ".zst":
            import pyarrow as pa

            with pa.CompressedInputStream(pa.OSFile(str(path)), "zstd") as stream:
                return bytes(stream.read())
        case ".zip":
            return _unzip(path)
    return path.read_bytes()


def _unzip(path: Path) -> bytes:
    """The one file of an archive."""
    with zipfile.ZipFile(path) as archive:
        files = [
            entry
            for entry in archive.infolist()
            if not entry.is_dir() and not entry.filename.startswith("__MACOSX/")
        ]
        if len(files) != 1:
            raise ValueError(f"{len(files)} files are in it; allowed is one")
        return archive.read(files[0])


def _check_text(path: str, content: bytes) -> None:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = _line_at(content, error.start)
        raise TableError(f"{path}:{line}: is not UTF-8 text ({error.reason})") from None
    if (nul := content.find(b"\0")) >= 0:
        raise TableError(f"{path}:{_line_at(content, nul)}: has a zero byte; allowed is UTF-8 text")


def _line_at(content: bytes, position: int) -> int:
    """The number of the line that holds a byte."""
    return len(re.findall(rb"\r\n?|\n", content[:position])) + 1


def _json_lines(path: str, content: bytes) -> Table:
    rows: list[Mapping[str, Any]] = []
    numbers: list[int] = []
    names: dict[str, None] = {}
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            values = from_json(line)
        except ValueError as error:
            reason = str(error).replace(" at line 1 column", " at column")
            half = b"\\ud" in line.lower() and "hex escape" in reason
            reason += "; half of a character pair such as \\ud83d is not text" if half else ""
            raise TableError(f"{path}:{number}: is not a line of JSON ({reason})") from None
        if not isinstance(values, dict):
            raise TableError(f"{path}:{number}: is not a JSON object with columns as keys")
        if values.keys() - names.keys():
            names |= dict.fromkeys(values)
        rows.append(values)
        numbers.append(number)
    return Table(path, tuple(names), rows, lambda index: str(numbers[index]))


def _delimited(path: str, content: bytes, kind: str, wanted: Collection[str] | None) -> Table:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    delimiter = _DELIMITERS[kind]
    _check_quotes(path, content, kind)
    names = next((values for values, _ in _records(content, delimiter)), [])
    _check_names(path, names)
    if not names:
        return Table(path, (), [], str)
    read = _wanted(names, wanted)
    bad: list[Any] = []

    def keep(row: Any) -> str:
        bad.append(row)
        return "skip"

    try:
        table = arrow_csv.read_csv(
            io.BytesIO(content + b"\n"),  # a header alone needs its line end
            # One block: no row is too long for it, and rows are counted from the file's first.
            arrow_csv.ReadOptions(use_threads=False, block_size=min(len(content) + 2, 2**31 - 1)),
            arrow_csv.ParseOptions(
                delimiter=delimiter,
                newlines_in_values=True,
                invalid_row_handler=keep,
            ),
            arrow_csv.ConvertOptions(
                include_columns=read,
                column_types=dict.fromkeys(read, pa.string()),
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid as error:
        raise TableError(f"{path}: is not {kind} ({_reason(error)})") from None

    def locate(index: int) -> str:
        return str(_line_of_record(content, delimiter, index + 1))

    if bad:
        line = _line_of_record(content, delimiter, bad[0].number - 1)
        raise TableError(
            f"{path}:{line}: has {bad[0].actual_columns} of {bad[0].expected_columns} values; "
            "there is one for each column, and texts with separators are quoted"
        )
    return Table(path, tuple(names), _as_rows(read, table), locate)


def _check_quotes(path: str, content: bytes, kind: str) -> None:
    """Refuse quotation marks that Arrow would guess about: never closed, or closed too early."""
    separator = re.escape(_DELIMITERS[kind].encode())
    field = re.compile(
        rb'(?:(?<![^\r\n%b])|(?<=^\xef\xbb\xbf))"(?:[^"]++|"")*+(?:"(?=[\r\n%b]|\Z)()|)'
        % (separator, separator)
    )
    for found in field.finditer(content):
        if found[1] is None:
            end = found.end()
            closed = f"closed in line {_line_at(content, end)}, where text follows"
            raise TableError(
                f"{path}:{_line_at(content, found.start())}: is not {kind} (the quotation mark "
                f"that begins a value is {closed if content[end : end + 1] else 'never closed'}); "
                'write such a value in quotation marks and each one within it twice ("")'
            )


def _check_names(path: str, names: Sequence[str]) -> None:
    twice = [name for index, name in enumerate(names) if name in names[:index]]
    if twice:
        raise TableError(f"{path}:1: two columns are called {twice[0]!r}")


def _records(content: bytes, delimiter: str) -> Iterator[tuple[list[str], int]]:
    """Every record that is no empty line, and the line that it begins on."""
    csv.field_size_limit(2**31 - 1)
    text = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline="")
    reader = csv.reader(text, delimiter=delimiter)
    before = 0
    for values in reader:
        if values:
            yield values, before + 1
        before = reader.line_num


def _line_of_record(content: bytes, delimiter: str, record: int) -> int:
    """Only for messages: Arrow counts records, people count lines."""
    for index, (_, line) in enumerate(_records(content, delimiter)):
        if index == record:
            return line
    raise IndexError(record)


def _parquet(path: str, content: bytes, wanted: Collection[str] | None) -> Table:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(pa.BufferReader(content))
        names = file.schema_arrow.names
        _check_names(path, names)
        read = _wanted(names, wanted)
        table = file.read(columns=read).select(read)
        _check_strings(path, table)
        rows = _as_rows(read, table)
    except TableError:
        raise
    except (pa.ArrowException, OSError, ValueError, OverflowError, LookupError) as error:
        raise TableError(f"{path}: is not Parquet ({_reason(error)})") from None
    return Table(path, tuple(names), rows, lambda index: f"row {index + 1}")


def _wanted(names: Sequence[str], wanted: Collection[str] | None) -> list[str]:
    return [name for name in names if wanted is None or name in wanted]


def _check_strings(path: str, table: Any) -> None:
    """Parquet does not promise that its text is UTF-8."""
    import pyarrow as pa

    try:
        table.validate(full=True)
    except pa.ArrowInvalid:
        for index in range(table.num_rows):
            try:
                table.slice(index, 1).validate(full=True)
            except pa.ArrowInvalid as error:
                raise TableError(f"{path}:row {index + 1}: {_reason(error)}") from None


def _as_rows(names: Sequence[str], table: Any) -> list[Mapping[str, Any]]:
    """The rows of an Arrow table as plain values."""
    columns = [_plain(table.column(name)) for name in names]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _plain(column: Any) -> list[Any]:
    import pyarrow as pa

    if pa.types.is_float16(column.type) or pa.types.is_float32(column.type):
        # 0.1 is written 0.1 again, not as the double that is nearest to the single.
        column = column.cast(pa.float32()).cast(pa.string())
    values: list[Any] = column.to_pylist()
    if pa.types.is_decimal(column.type):
        return [str(value) if isinstance(value, Decimal) else value for value in values]
    return values


def _reason(error: BaseException) -> str:
    """The first line of what a library says."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
