"""The queue of resources to be reconciled."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetran_operator.kube.workqueue import WorkQueue


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def queue(clock):
    return WorkQueue(clock)


@pytest.fixture(scope="module", autouse=True)
def loop():
    """The one loop of all queues here."""
    global RUNNER
    with asyncio.Runner() as RUNNER:
        yield


def get(queue):
    """The next key; None where there is none now."""

    async def one():
        try:
            return await asyncio.wait_for(queue.get(), 0.01)
        except TimeoutError:
            return None

    return RUNNER.run(one())


def test_a_key_is_there_once_however_often_it_is_added(queue):
    for _ in range(3):
        queue.add("a")
    queue.add("b")
    assert len(queue) == 2
    assert [get(queue), get(queue), get(queue)] == ["a", "b", None]


def test_a_key_that_is_worked_on_comes_again_afterwards_and_not_meanwhile(queue):
    queue.add("a")
    assert get(queue) == "a"
    queue.add("a")
    queue.add("a")
    assert get(queue) is None
    queue.done("a")
    assert get(queue) == "a"
    queue.done("a")
    assert get(queue) is None


def test_a_delayed_key_comes_when_its_time_has_come(queue, clock):
    queue.add_after("a", 10)
    assert get(queue) is None
    clock.now += 10
    assert get(queue) == "a"


def test_of_several_delays_the_shortest_counts(queue, clock):
    queue.add_after("a", 10)
    queue.add_after("a", 5)
    queue.add_after("a", 20)
    clock.now += 5
    assert get(queue) == "a"
    queue.done("a")
    clock.now += 100
    assert get(queue) is None


def test_being_asked_for_at_once_forgets_the_delay(queue, clock):
    queue.add_after("a", 5)
    queue.add("a")
    assert get(queue) == "a"
    queue.done("a")
    clock.now += 10
    assert get(queue) is None


def test_failures_wait_longer_and_longer_until_a_success(queue, clock):
    delays = []
    for _ in range(10):
        delays.append(queue.retry("a"))
        clock.now += 100
        assert get(queue) == "a"
        queue.done("a")
    assert delays == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60]
    queue.succeeded("a")
    assert queue.retry("a") == 0.5


def test_a_worker_that_waits_is_woken():
    async def scene():
        queue = WorkQueue()
        waiting = [asyncio.create_task(queue.get()) for _ in range(3)]
        await asyncio.sleep(0)
        for key in "abc":
            queue.add(key)
        return {await asyncio.wait_for(task, 1) for task in waiting}

    assert asyncio.run(scene()) == {"a", "b", "c"}


def test_delays_that_no_longer_count_take_no_memory(queue):
    for number in range(20_000):
        queue.add_after("a", 1e6 - number)
    assert len(queue._heap) < 2_000


@given(st.lists(st.sampled_from(["add", "get", "done", "later", "time"]), max_size=60))
def test_no_key_is_lost_and_none_is_worked_on_twice_at_a_time(steps):
    clock = Clock()
    queue = WorkQueue(clock)
    working, owed = False, False
    for step in steps:
        if step == "add":
            queue.add("a")
            owed = True
        elif step == "later":
            queue.add_after("a", 5)
            owed = True
        elif step == "time":
            clock.now += 5
        elif step == "get":
            found = get(queue)
            assert not (working and found)
            if found:
                working, owed = True, False
        elif working:
            queue.done("a")
            working = False
    if working:
        queue.done("a")
    clock.now += 10
    assert (get(queue) == "a") or not owed
