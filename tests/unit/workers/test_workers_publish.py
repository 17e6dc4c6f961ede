"""What is published is at any moment a beginning of the logs, and at the end all of them."""

import errno
import random
import shutil

import pytest
from workers_world import KilledError, MemoryResults, Narrator, append, begun, noise

from edgetran.records import read_records
from edgetran.runner import published
from edgetran_workers.results import ResultsError, ResultsPart


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(published, "FIRST_LIMIT_BYTES", 4_000)
    monkeypatch.setattr(published, "LIMIT_BYTES", 10_000)


def trials(count, start=0):
    return [noise(number) for number in range(start, start + count)]


def logs_of(folder):
    return {
        path.relative_to(folder).as_posix(): read_records(path) for path in folder.rglob("*.jsonl")
    }


def published_logs(store):
    logs = {}
    for log, record in store.records:
        logs.setdefault(log, []).append(record)
    return logs


def test_records_roll_over_into_parts_of_a_limited_size(tmp_path):
    store = MemoryResults()
    publisher = begun(tmp_path, store)
    append(tmp_path, "trials.jsonl", *trials(30))
    assert publisher.finish(1)
    assert published_logs(store) == logs_of(tmp_path)
    used = [part for part in store.parts.values() if part.records]
    assert len(used) > 3
    assert len(used[0].records) <= 4_000
    assert all(len(part.records) <= 10_000 for part in used)
    assert [part.data["part.json"] for part in used[:-1]] == [
        f'{{"records": {len(list_of(part))}, "closed": true}}' for part in used[:-1]
    ]
    assert '"closed": false' in used[-1].data["part.json"]
    assert store.parts[len(used)] == ResultsPart(
        version=store.parts[len(used)].version
    )  # untouched


def list_of(part):
    from edgetran.runner.published import read_part

    return read_part(part.records)


def test_only_what_changed_is_written_and_the_summary_last(tmp_path):
    store = MemoryResults()
    publisher = begun(tmp_path, store)
    append(tmp_path, "trials.jsonl", *trials(30))
    publisher.finish(1)
    order = [number for number, records, _ in store.writes if records]
    assert order == sorted(order)
    assert store.writes[-1] == (0, False, True)
    store.writes.clear()
    append(tmp_path, "trials.jsonl", {"number": 30})
    publisher.finish(1)
    last = max(number for number, part in store.parts.items() if part.records)
    assert store.writes == [(last, True, False), (0, False, True)]
    store.writes.clear()
    publisher.finish(1)
    assert store.writes == []


def test_a_worker_killed_at_any_write_is_followed_by_one_that_loses_and_doubles_nothing(tmp_path):
    """The run folder is lost with each; it goes on from what was published."""
    rng = random.Random(7)  # noqa: S311 - moments of kills
    store, here = MemoryResults(), tmp_path / "run"
    known = 0
    for session in range(40):
        shutil.rmtree(here, ignore_errors=True)
        here.mkdir()
        narrator = Narrator()
        publisher = begun(here, store, pod=f"pod-{session}", narrator=narrator)
        numbers = [record["number"] for record in read_records(here / "trials.jsonl")]
        assert numbers == list(range(len(numbers)))
        assert len(numbers) >= known, "what was published has been lost"
        store.die_after = len(store.writes) + rng.randrange(6)
        try:
            for _ in range(3):
                append(here, "trials.jsonl", *trials(rng.randrange(4), len(numbers)))
                append(here, "proposals.jsonl", {"session": session})
                numbers = [record["number"] for record in read_records(here / "trials.jsonl")]
                publisher.finish(0)
        except KilledError:
            pass
        known = len(published_logs(store).get("trials.jsonl", []))
    store.die_after = None
    publisher = begun(here, store, pod="last")
    assert publisher.finish(1)
    assert published_logs(store) == logs_of(here)
    assert known > 20


def test_logs_that_storage_kept_are_further_than_what_was_published(tmp_path):
    store = MemoryResults()
    first = begun(tmp_path, store)
    append(tmp_path, "trials.jsonl", *trials(5))
    first.finish(1)
    append(tmp_path, "trials.jsonl", *trials(5, 5))
    append(tmp_path, "log.jsonl", {"event": "session"})
    narrator = Narrator()
    second = begun(tmp_path, store, narrator=narrator)
    second.finish(1)
    assert published_logs(store) == logs_of(tmp_path)
    assert sum(log == "trials.jsonl" for log, _ in narrator.taken) == 10  # told of all of them


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_part_deleted_by_hand_is_written_again(tmp_path, number):
    store = MemoryResults()
    publisher = begun(tmp_path, store, check_s=0)
    append(tmp_path, "trials.jsonl", *trials(12))
    publisher.finish(1)
    whole = store.records
    del store.parts[number]
    for _ in store.parts:
        publisher._check()
    append(tmp_path, "trials.jsonl", {"number": 12})
    assert not publisher.finish(0)  # only the operator makes parts
    store.make_again(number)
    assert publisher.finish(2)
    assert store.records == [*whole, ("trials.jsonl", {"number": 12})]
    assert store.summary["metrics"]["seen"] == 13


@pytest.mark.parametrize("records", [b"", b"spoiled"])
def test_content_that_someone_changed_is_put_right(tmp_path, records):
    store = MemoryResults()
    publisher = begun(tmp_path, store, check_s=0)
    append(tmp_path, "trials.jsonl", *trials(12))
    publisher.finish(1)
    whole = store.records
    store.set(1, records=records)
    for _ in store.parts:
        publisher._check()
    assert publisher.finish(2)
    assert store.records == whole


def test_a_change_of_labels_alone_makes_one_more_attempt(tmp_path):
    store = MemoryResults()
    publisher = begun(tmp_path, store)
    append(tmp_path, "trials.jsonl", {"number": 0})
    publisher.finish(1)
    store.set(0)
    append(tmp_path, "trials.jsonl", {"number": 1})
    assert publisher.finish(2)
    assert [record["number"] for _, record in store.records] == [0, 1]


def test_an_outage_is_waited_for_and_nothing_is_lost(tmp_path):
    store = MemoryResults()
    publisher = begun(tmp_path, store)
    append(tmp_path, "trials.jsonl", {"number": 0})
    store.down = True
    assert not publisher.finish(0.5)
    assert publisher.state.failures > 0
    append(tmp_path, "trials.jsonl", {"number": 1})
    store.down = False
    assert publisher.finish(1)
    assert [record["number"] for _, record in store.records] == [0, 1]


def test_a_worker_does_not_begin_before_it_knows_what_was_published(tmp_path):
    store = MemoryResults()
    store.down = True
    with pytest.raises(ResultsError, match="does not answer"):
        begun(tmp_path, store)


def test_parts_after_a_gap_are_not_built_on_and_are_replaced(tmp_path):
    store, here = MemoryResults(), tmp_path / "run"
    publisher = begun(here, store)
    append(here, "trials.jsonl", *trials(20))
    publisher.finish(1)
    in_first = len(list_of(store.parts[0]))
    store.make_again(1)  # deleted while no worker ran
    shutil.rmtree(here)
    again = begun(here, store, pod="pod-2")
    assert len(read_records(here / "trials.jsonl")) == in_first
    append(here, "trials.jsonl", *trials(20 - in_first, in_first))
    assert again.finish(2)
    assert published_logs(store) == logs_of(here)


def test_logs_here_are_the_truth_where_they_contradict_what_was_published(tmp_path):
    store, here = MemoryResults(), tmp_path / "run"
    append(here, "trials.jsonl", *trials(20))
    begun(here, store).finish(1)
    shutil.rmtree(here)
    append(here, "trials.jsonl", {"number": "another"})
    assert begun(here, store, pod="pod-2").finish(2)
    assert store.records == [("trials.jsonl", {"number": "another"})]


def test_a_file_that_is_no_log_is_published_once_for_each_change(tmp_path):
    store = MemoryResults()
    publisher = begun(tmp_path, store)
    spec = tmp_path / "spec.yaml"
    for text in ("a", "a", "b"):
        spec.write_text(text)
        publisher.add_file(spec)
    publisher.finish(1)
    assert [record["text"] for _, record in store.records] == ["a", "b"]
    spec.unlink()
    again = begun(tmp_path, store)
    assert spec.read_text() == "b"
    again.add_file(spec)
    again.finish(1)
    assert len(store.records) == 2


def test_a_result_of_smaller_limits_is_not_taken_for_the_runs(tmp_path):
    store, here = MemoryResults(), tmp_path / "run"
    publisher = begun(here, store)
    here.mkdir(exist_ok=True)
    spec, result = here / "spec.yaml", here / "result.json"
    for path, text in ((spec, "maxTrials: 4"), (result, "{}"), (spec, "maxTrials: 8")):
        path.write_text(text)
        publisher.add_file(path)
    publisher.finish(1)
    shutil.rmtree(here)
    begun(here, store)
    assert spec.read_text() == "maxTrials: 8"
    assert not result.exists()


def test_a_worker_that_was_replaced_gives_way(tmp_path):
    store, replaced = MemoryResults(), []
    old = begun(tmp_path / "old", store, pod="old", on_replaced=lambda: replaced.append("old"))
    append(tmp_path / "old", "trials.jsonl", {"number": 0})
    old.finish(1)
    new = begun(tmp_path / "new", store, pod="new", on_replaced=lambda: replaced.append("new"))
    append(tmp_path / "new", "trials.jsonl", {"number": 1})
    new.finish(1)
    append(tmp_path / "old", "trials.jsonl", {"number": "zombie"})
    old.finish(0)
    assert replaced == ["old"]
    assert [record["number"] for _, record in store.records] == [0, 1]
    append(tmp_path / "new", "trials.jsonl", {"number": 2})
    assert new.finish(1)
    assert replaced == ["old"]


def test_the_thread_publishes_while_the_work_goes_on(tmp_path):
    import time

    store = MemoryResults()
    publisher = begun(tmp_path, store, period_s=0.02)
    publisher.start()
    append(tmp_path, "trials.jsonl", {"number": 0})
    deadline = time.monotonic() + 10
    while not store.records:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    store.down = True
    append(tmp_path, "trials.jsonl", {"number": 1})
    time.sleep(0.1)
    store.down = False
    assert publisher.finish(10)
    assert [record["number"] for _, record in store.records] == [0, 1]


def test_a_full_disk_of_the_pod_leaves_no_hole_in_what_is_published(tmp_path, monkeypatch):
    from edgetran_workers import publish

    store = MemoryResults()
    publisher = begun(tmp_path, store)
    keep, failures = publish.write_atomically, iter([True, False, True])

    def full(path, content):
        if next(failures, False):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        keep(path, content)

    monkeypatch.setattr(publish, "write_atomically", full)
    append(tmp_path, "trials.jsonl", *trials(30))
    append(tmp_path, "inputs.jsonl", {"place": "x", "files": {}})
    assert publisher.finish(60)
    assert published_logs(store) == logs_of(tmp_path)
    assert publisher.state.failures == 2
