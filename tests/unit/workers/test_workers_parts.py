"""A part grows record by record, is whole at any moment and never larger than its limit."""

import gzip

from hypothesis import given
from hypothesis import strategies as st

from edgetran.runner.published import GrowingPart

LINES = st.lists(
    st.binary(min_size=1, max_size=600).map(lambda line: line.hex().encode()), max_size=40
)


@given(LINES, st.integers(100, 4000))
def test_a_part_unpacks_to_the_lines_it_took(lines, limit):
    part = GrowingPart(1, limit)
    taken = []
    for line in lines:
        if part.add(line):
            taken.append(line)
            packed = part.packed()
            assert gzip.decompress(packed) == b"".join(taken)
            assert len(packed) <= limit or len(taken) == 1
    assert part.records == len(taken)
    assert taken[:1] == lines[:1]


def test_an_empty_part_has_no_bytes():
    assert GrowingPart(0).packed() == b""


def test_the_first_part_is_small_since_the_summary_beside_it_is_written_often():
    import os

    first, second = GrowingPart(0), GrowingPart(1)
    line = os.urandom(1000).hex().encode()
    counts = []
    for part in (first, second):
        while part.add(os.urandom(1000).hex().encode() + line):
            pass
        counts.append(part.records)
        assert len(part.packed()) <= 700 * 1024
    assert counts[0] * 8 < counts[1]
