"""Where trials are shown: an address of a server, and nothing that tells a secret."""

import pytest

from edgetran.api import SpecError, implied_refinement, load_text, refused_changes

SECRET = "hunter2"  # noqa: S105 - made up
TEXT = """
apiVersion: edgetran.io/v1alpha1
kind: CoDesignSearch
metadata: {name: s}
spec:
  task: {name: movie-reviews}
  designSpace: {preset: tiny}
  devices: [{name: pi, simulation: raspberry-pi-4-cpu}]
  refine: {cycles: 1}
"""


def search(uri=None, text=TEXT):
    settings = [] if uri is None else [f"spec.tracking.mlflow.uri={uri}"]
    (made,) = load_text(text, settings=settings)
    return made


def test_nothing_is_shown_unless_it_is_asked_for():
    assert search().spec.tracking is None


@pytest.mark.parametrize(
    "uri", ["http://mlflow.lan:5000", "https://mlflow.lan/team", "http://[::1]:5000/", "http://a_b"]
)
def test_an_address_of_a_server_is_taken(uri):
    assert search(uri).spec.tracking.mlflow.uri == uri


@pytest.mark.parametrize(
    "uri",
    [f"http://me:{SECRET}@mlflow.lan", f"http://mlflow.lan?token={SECRET}",
     f"databricks://{SECRET}",
     f"file:///{SECRET}", f"sqlite:///{SECRET}.db", f"http://mlflow.lan/../{SECRET}",
     f"{SECRET}.lan",
     f"http://mlflow.lan/%2e%2e/{SECRET}", f"http://mlflow.lan\\{SECRET}", f"http://a b/{SECRET}",
     f"https:///{SECRET}"],
)  # fmt: skip
def test_another_address_is_refused_and_not_repeated(uri):
    with pytest.raises(SpecError, match=r"spec\.tracking\.mlflow.*must be") as caught:
        search(uri=f"'{uri}'")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("{}", "spec.tracking.mlflow: Required value"),
        ("{mlflow: {}}", "spec.tracking.mlflow.uri: Required value"),
        ("{mlflow: {uri: 'http://a', experiment: ''}}", "must be an experiment's name"),
        ("{mlflow: {uri: 'http://a', token: x}}", "spec.tracking.mlflow.token: Forbidden: unknown"),
        ("{wandb: {}}", "spec.tracking.wandb: Forbidden: unknown"),
        ("http://a", "spec.tracking:"),
    ],
)
def test_a_mistake_is_a_sentence_with_its_place(given, said):
    with pytest.raises(SpecError) as caught:
        search(text=f"{TEXT}  tracking: {given}")
    assert said in str(caught.value)


def test_what_a_search_stands_for_is_shown_where_it_is():
    made = search("http://mlflow.lan")
    assert implied_refinement(made).spec.tracking == made.spec.tracking


def test_it_may_be_added_changed_and_taken_away_while_work_goes_on():
    first, other = search("http://mlflow.lan"), search("http://other.lan")
    for before, after in ((search(), first), (first, other), (other, search())):
        assert refused_changes(before, after, begun=True) == []
