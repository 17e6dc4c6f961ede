"""Thirty mistakes and faults of users: the headline names each, mending it helps, nothing is left.

The table of them in docs/operations.md is made from the same list.
"""

import pytest
from operator_world import World, check_status
from user_mistakes import BEGIN, END, MISTAKES, OPERATIONS, table

from edgetran.api import KINDS
from edgetran_operator.settings import Settings


@pytest.fixture
def world() -> World:
    made = World(Settings(stalled_after_seconds=600))
    made.node("board-a", device="pi")
    return made


@pytest.mark.parametrize("mistake", MISTAKES, ids=[each.title for each in MISTAKES])
def test_a_mistake_is_the_headline_is_mended_and_leaves_nothing(world, mistake):
    key = mistake.make(world)
    found = world.condition(key, "Succeeded")
    assert found["reason"] == mistake.reason, found
    assert mistake.words in found["message"], found
    check_status(world.status(key))

    mistake.mend(world, key)
    world.settle()
    if key in world.objects:
        mended = world.condition(key, "Succeeded")
        if mistake.mended is not None:
            assert mended["reason"] == mistake.mended, mended
        else:
            assert mended["reason"] != mistake.reason or mended["message"] != found["message"]
        check_status(world.status(key))
    world.refused.clear()
    for kind, namespace, name in [place for place in world.objects if place[0] in KINDS]:
        if (kind, namespace, name) in world.objects:
            world.delete(kind, name, namespace)
    world.settle()
    left = {place for place in world.objects if place[0] not in ("Node", "PersistentVolumeClaim")}
    assert not left


def test_there_are_thirty_of_them_and_the_page_for_administrators_lists_each():
    assert len(MISTAKES) >= 30
    assert len({each.title for each in MISTAKES}) == len(MISTAKES)
    shown = OPERATIONS.read_text().split(BEGIN, 1)[1].split(END, 1)[0]
    assert shown.strip() == table().strip(), "run python tests/unit/operator/user_mistakes.py"
