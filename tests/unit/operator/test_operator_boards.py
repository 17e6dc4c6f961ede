"""Who measures where."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from edgetran_operator.scheduling.boards import Claim, assign
from edgetran_operator.snapshot import NodeView, Taint

START = datetime(2026, 1, 1, tzinfo=UTC)
PI = (("device", "pi"),)


def claim(number, **fields):
    return Claim(f"ns/{number}", START + timedelta(seconds=number), PI, **fields)


def nodes(*names, **fields):
    return {
        name: NodeView(name, {"device": "pi", "kubernetes.io/arch": "arm64"}, **fields)
        for name in names
    }


def test_the_first_gets_the_board_and_the_others_stand_in_line():
    verdicts = assign([claim(2), claim(0), claim(1)], nodes("a"))
    assert verdicts["ns/0"].node == "a"
    assert verdicts["ns/0"].architecture == "arm64"
    assert verdicts["ns/1"].behind == "ns/0"
    assert verdicts["ns/2"].behind == "ns/1"


def test_who_works_on_a_board_keeps_it():
    verdicts = assign([claim(0), claim(1, node="a", has_worker=True)], nodes("a"))
    assert verdicts["ns/1"].node == "a"
    assert verdicts["ns/0"].behind == "ns/1"


def test_of_two_that_were_given_one_board_the_first_keeps_it():
    verdicts = assign([claim(1, node="a"), claim(0, node="a")], nodes("a"))
    assert verdicts["ns/0"].node == "a"
    assert verdicts["ns/1"].behind == "ns/0"


def test_an_ended_job_holds_its_board_until_its_pods_are_gone():
    ended = claim(0, node="a", has_worker=True, waits=False)
    assert assign([ended, claim(1)], nodes("a"))["ns/1"].behind == "ns/0"
    assert assign([claim(1)], nodes("a"))["ns/1"].node == "a"


def test_a_board_that_is_not_ready_is_kept_and_not_given_out():
    verdicts = assign([claim(0, node="a", has_worker=True), claim(1)], nodes("a", ready=False))
    assert verdicts["ns/0"].node == "a"
    assert "not ready" in verdicts["ns/0"].lost
    assert "a is not ready" in verdicts["ns/1"].problem


def test_a_cordoned_board_is_not_given_out():
    assert "a is cordoned" in assign([claim(0)], nodes("a", schedulable=False))["ns/0"].problem


def test_a_taint_is_named_unless_it_is_tolerated():
    taint = Taint("edgetran.io/device", "pi", "NoSchedule")
    tainted = nodes("a", taints=(taint,))
    assert "edgetran.io/device=pi:NoSchedule" in assign([claim(0)], tainted)["ns/0"].problem
    for toleration in (
        ("edgetran.io/device", "Exists", "", ""),
        ("edgetran.io/device", "Equal", "pi", "NoSchedule"),
        ("", "Exists", "", ""),
    ):
        verdicts = assign([claim(0, tolerations=(toleration,))], tainted)
        assert verdicts["ns/0"].node == "a"
    wrong = ("edgetran.io/device", "Equal", "jetson", "")
    assert assign([claim(0, tolerations=(wrong,))], tainted)["ns/0"].problem


def test_the_nearest_nodes_are_explained_and_the_others_counted():
    wanted = Claim("ns/0", START, (("device", "pi"), ("disk", "ssd")))
    others = {f"n{i}": NodeView(f"n{i}", {}) for i in range(9)}
    others["z"] = NodeView("z", {"device": "pi"})
    problem = assign([wanted], others)["ns/0"].problem
    assert "no node matches device=pi, disk=ssd: z has no label disk; n0" in problem
    assert "and 5 more nodes" in problem
    assert "the cluster has no nodes" in assign([wanted], {})["ns/0"].problem


numbers = st.integers(0, 15)
claims = st.lists(
    st.builds(
        claim,
        numbers,
        node=st.sampled_from(["", "a", "b", "gone"]),
        has_worker=st.booleans(),
        waits=st.booleans(),
    ),
    unique_by=lambda each: each.key,
    max_size=10,
)
boards = st.sets(st.sampled_from("abc")).map(lambda names: nodes(*names))


@given(claims, boards)
def test_no_board_has_two_and_none_is_left_free_while_one_waits(given_claims, given_nodes):
    verdicts = assign(given_claims, given_nodes)
    taken = [verdict.node for verdict in verdicts.values() if verdict.node]
    assert len(taken) == len(set(taken))
    waiting = [each for each in given_claims if each.waits and not verdicts[each.key].node]
    if waiting:
        assert set(taken) == set(given_nodes)
    for each in waiting:
        verdict = verdicts[each.key]
        assert (verdict.behind is None) == (not given_nodes)
        assert verdict.behind != each.key


@given(claims, boards, st.randoms())
def test_the_order_in_which_they_are_seen_does_not_matter(given_claims, given_nodes, random):
    shuffled = list(given_claims)
    random.shuffle(shuffled)
    assert assign(shuffled, given_nodes) == assign(given_claims, given_nodes)
