"""Searches on one storage share trained networks, on a claim and at an address."""

from pathlib import Path

import pytest

from edgetran.runner.network_library import NETWORK, PARENT, NetworkLibrary, taken
from edgetran_workers.networks import network_library
from edgetran_workers.pod_paths import PodPaths
from edgetran_workers.work import Work

KEY = "ab" * 32
FACTS = {"from": "CoDesignSearch/first", "seconds": 12.5, "steps": 300}


def trained(folder: Path) -> tuple[Path, Path]:
    """Folders of a parent and of its network, as far as the library looks at them."""
    parent, network = folder / "parent", folder / "elastic"
    for path, name in ((parent, "model.safetensors"), (network, "elastic.safetensors")):
        path.mkdir(parents=True)
        (path / name).write_bytes(name.encode() * 100)
        (path / "config.json").write_text("{}")
    return parent, network


def pod(root: Path, name: str, storage: str) -> NetworkLibrary:
    work = Work(None, (), "r", "lab", storage, f"lab/cds-{name}")
    return network_library(work, PodPaths(storage=root))


@pytest.fixture(params=["claim", "address"])
def pods(request, tmp_path):
    """Makes libraries of pods: on one volume, or on disks of their own that copy to one address."""
    numbers = iter(range(9))

    def make():
        number = next(numbers)
        if request.param == "claim":
            return pod(tmp_path / "volume", str(number), "claim")
        address = (tmp_path / "bucket").as_uri()
        return pod(tmp_path / f"disk-{number}", str(number), address)

    return make


def test_what_one_search_gives_another_takes(pods, tmp_path):
    assert pods().take(KEY, tmp_path / "taken") is None
    pods().give(KEY, *trained(tmp_path), FACTS)
    found = pods().take(KEY, tmp_path / "taken")
    assert {name: found[name] for name in FACTS} == FACTS
    assert taken(tmp_path / "taken") == found
    for folder, name in ((PARENT, "model.safetensors"), (NETWORK, "elastic.safetensors")):
        path = tmp_path / "taken" / folder / name
        assert path.read_bytes() == name.encode() * 100
    assert pods().take("cd" * 32, tmp_path / "other") is None


def test_an_entry_that_is_not_what_was_given_is_not_taken_and_is_given_again(tmp_path):
    library, (parent, network) = NetworkLibrary(tmp_path / "networks"), trained(tmp_path)
    library.give(KEY, parent, network, FACTS)
    weights = tmp_path / "networks" / KEY / NETWORK / "elastic.safetensors"
    weights.write_bytes(b"spoiled")
    assert library.take(KEY, tmp_path / "taken") is None
    library.give(KEY, parent, network, FACTS)
    assert library.take(KEY, tmp_path / "taken") is not None


def test_what_is_given_twice_stays_as_it_was_and_leaves_nothing_beside_it(tmp_path):
    library, (parent, network) = NetworkLibrary(tmp_path / "networks"), trained(tmp_path)
    library.give(KEY, parent, network, FACTS)
    library.give(KEY, parent, network, {**FACTS, "from": "CoDesignSearch/second"})
    assert library.take(KEY, tmp_path / "taken")["from"] == "CoDesignSearch/first"
    assert [path.name for path in (tmp_path / "networks").iterdir()] == [KEY]


def test_a_run_without_storage_shares_nothing():
    work = Work(None, (), "r", "lab", None, "lab/cds-s")
    assert network_library(work, PodPaths()) is None
