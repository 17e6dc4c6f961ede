"""What is kept, where, and how pods get at it."""

import pytest
from operator_world import World, spec_of

from edgetran_operator.kube.cache import Key
from edgetran_operator.resources.claims import one_volume_per_claim
from edgetran_operator.settings import DefaultStorage, Settings

JOB = Key("ProfilingJob", "ns", "s-pi")
OWN_DATA = {"claim": {"name": "reviews", "subPath": "team"}}


@pytest.fixture
def world() -> World:
    made = World()
    made.node("board-a", device="pi")
    return made


def claim_volumes(world: World, key: Key) -> list[dict]:
    """The volumes of claims in a resource's worker."""
    job = world.job_of(key)
    assert job is not None
    volumes = job["spec"]["template"]["spec"]["volumes"]
    return [volume for volume in volumes if "persistentVolumeClaim" in volume]


def mounts_of(world: World, key: Key, volume: str) -> list[dict]:
    job = world.job_of(key)
    assert job is not None
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return [mount for mount in container["volumeMounts"] if mount["name"] == volume]


def searched(world: World, **changes) -> Key:
    key = world.apply("CoDesignSearch", "s", spec_of("CoDesignSearch", **changes))
    world.settle()
    world.finish(JOB)
    world.finish(key)
    return key


def test_a_refinement_on_the_claim_of_its_search_mounts_it_once(world):
    searched(world, storage=OWN_DATA)
    key = world.apply(
        "GPTranRun", "g", spec_of("GPTranRun", storage={"claim": {"name": "reviews"}})
    )
    world.settle()
    assert claim_volumes(world, key) == [
        {"name": "storage", "persistentVolumeClaim": {"claimName": "reviews"}}
    ]
    assert mounts_of(world, key, "storage") == [
        {"name": "storage", "mountPath": "/var/lib/edgetran/storage"},
        {
            "name": "storage",
            "mountPath": "/var/lib/edgetran/search",
            "subPath": "team",
            "readOnly": True,
        },
    ]
    world.finish(key)
    assert world.says(key, "Succeeded") == ("True", "Succeeded")


def test_a_refinement_on_another_claim_reads_that_of_its_search(world):
    searched(world, storage=OWN_DATA)
    key = world.apply("GPTranRun", "g", spec_of("GPTranRun", storage={"claim": {"name": "other"}}))
    world.settle()
    assert [each["persistentVolumeClaim"] for each in claim_volumes(world, key)] == [
        {"claimName": "other"},
        {"claimName": "reviews", "readOnly": True},
    ]


def test_a_volume_of_a_template_on_the_same_claim_is_one_with_it(world):
    template = {
        "spec": {
            "volumes": [{"name": "mine", "persistentVolumeClaim": {"claimName": "reviews"}}],
            "containers": [
                {"name": "worker", "volumeMounts": [{"name": "mine", "mountPath": "/data/x"}]}
            ],
        }
    }
    key = world.apply(
        "ProfilingJob", "p", spec_of("ProfilingJob", storage=OWN_DATA, podTemplate=template)
    )
    world.settle()
    assert len(claim_volumes(world, key)) == 1
    assert {"name": "storage", "mountPath": "/data/x"} in mounts_of(world, key, "storage")


def test_one_volume_can_be_written_where_any_of_those_of_its_claim_could():
    def volume(name, **more):
        return {"name": name, "persistentVolumeClaim": {"claimName": "c", **more}}

    pod = {
        "spec": {
            "volumes": [volume("a", readOnly=True), {"name": "t", "emptyDir": {}}, volume("b")],
            "initContainers": [{"name": "i", "volumeMounts": [{"name": "b", "mountPath": "/b"}]}],
            "containers": [
                {"name": "w", "volumeMounts": [{"name": "a", "mountPath": "/a"}]},
                {"name": "x"},
            ],
        }
    }
    spec = one_volume_per_claim(pod)["spec"]
    assert spec["volumes"] == [volume("a"), {"name": "t", "emptyDir": {}}]
    assert spec["initContainers"][0]["volumeMounts"] == [{"name": "a", "mountPath": "/b"}]
    assert spec["containers"][0]["volumeMounts"] == [
        {"name": "a", "mountPath": "/a", "readOnly": True}
    ]
    assert spec["containers"][1] == {"name": "x"}


def test_boards_of_any_node_measure_for_a_search_whatever_node_its_claim_is_on(world):
    key = world.apply("CoDesignSearch", "s", spec_of("CoDesignSearch", storage=OWN_DATA))
    world.settle()
    assert "storage" not in world.objects[JOB]["spec"]
    assert claim_volumes(world, JOB) == []
    world.finish(JOB)
    assert claim_volumes(world, key), "the search itself has it"
    mounted = world.job_of(key)["spec"]["template"]["spec"]["volumes"]
    assert {"name": "in-s-pi-0", "configMap": {"name": "s-pi-pj-results-0"}} in mounted


def test_data_apart_from_the_storage_is_mounted_to_be_read_where_work_trains(world):
    data = {"claim": {"name": "reviews", "subPath": "team/a"}}
    key = searched(world, data=data, storage={"claim": {"name": "results"}})
    assert [each["persistentVolumeClaim"] for each in claim_volumes(world, key)] == [
        {"claimName": "results"},
        {"claimName": "reviews", "readOnly": True},
    ]
    assert mounts_of(world, key, "task-data") == [
        {
            "name": "task-data",
            "mountPath": "/var/lib/edgetran/data",
            "readOnly": True,
            "subPath": "team/a",
        }
    ]
    assert "data" not in world.objects[JOB]["spec"], "measuring reads none of it"
    assert claim_volumes(world, JOB) == []


def test_a_refinement_reads_the_data_of_its_search(world):
    searched(world, data={"claim": {"name": "reviews"}}, storage={"claim": {"name": "results"}})
    key = world.apply("GPTranRun", "g", spec_of("GPTranRun", storage={"claim": {"name": "mine"}}))
    world.settle()
    assert [each["persistentVolumeClaim"] for each in claim_volumes(world, key)] == [
        {"claimName": "mine"},
        {"claimName": "results", "readOnly": True},
        {"claimName": "reviews", "readOnly": True},
    ]
    (mount,) = mounts_of(world, key, "task-data")
    assert mount["readOnly"] is True


def test_small_data_may_be_a_config_map(world):
    key = searched(world, data={"configMap": {"name": "tickets"}})
    volumes = world.job_of(key)["spec"]["template"]["spec"]["volumes"]
    assert {"name": "task-data", "configMap": {"name": "tickets"}} in volumes
    (mount,) = mounts_of(world, key, "task-data")
    assert mount["readOnly"] is True


def test_data_on_the_claim_of_the_results_is_one_volume_with_it_and_still_only_read(world):
    key = searched(world, data={"claim": {"name": "all"}}, storage={"claim": {"name": "all"}})
    assert claim_volumes(world, key) == [
        {"name": "storage", "persistentVolumeClaim": {"claimName": "all"}}
    ]
    assert mounts_of(world, key, "storage") == [
        {"name": "storage", "mountPath": "/var/lib/edgetran/storage"},
        {"name": "storage", "mountPath": "/var/lib/edgetran/data", "readOnly": True},
    ]


def test_every_pod_of_a_ray_cluster_that_trains_reads_the_data():
    world = World()
    key = world.apply(
        "CoDesignSearch",
        "s",
        spec_of(
            "CoDesignSearch",
            devices=[{"name": "simulated", "simulation": "raspberry-pi-4-cpu"}],
            data={"configMap": {"name": "tickets"}},
            ray={"mode": "kuberay", "workers": 2},
        ),
    )
    world.settle()
    job = world.objects["RayJob", key.namespace, "s-cds-worker"]["spec"]
    cluster = job["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        spec = group["template"]["spec"]
        assert {"name": "task-data", "configMap": {"name": "tickets"}} in spec["volumes"]
        mounts = [each["mountPath"] for each in spec["containers"][0]["volumeMounts"]]
        assert "/var/lib/edgetran/data" in mounts
    submitter = job["submitterPodTemplate"]["spec"]
    assert "task-data" not in [volume["name"] for volume in submitter["volumes"]]


def without_storage(kind: str, **changes) -> dict:
    spec = spec_of(kind, **changes)
    del spec["storage"]
    return spec


def test_work_without_storage_is_kept_on_a_claim_of_the_class_that_the_settings_name():
    world = World(Settings(default_storage=DefaultStorage("local-path", "3Gi")))
    world.node("board-a", device="pi")
    key = world.apply("CoDesignSearch", "s", without_storage("CoDesignSearch"))
    refinement = world.apply("GPTranRun", "g", without_storage("GPTranRun"))
    world.settle()
    assert world.says(refinement, "Reconciling") == ("True", "DependencyNotReady")
    world.finish(JOB)
    made = world.objects["PersistentVolumeClaim", "ns", "s-cds-storage"]
    assert made["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "3Gi"}},
        "storageClassName": "local-path",
    }
    assert "ownerReferences" not in made["metadata"]
    assert "storage" not in world.objects[JOB]["spec"]
    world.finish(key)
    assert [each["persistentVolumeClaim"] for each in claim_volumes(world, refinement)] == [
        {"claimName": "g-gpt-storage"},
        {"claimName": "s-cds-storage", "readOnly": True},
    ]
    world.finish(refinement)
    assert world.says(refinement, "Succeeded") == ("True", "Succeeded")


def test_work_that_began_stays_on_its_claim_when_the_settings_change():
    world = World(Settings(default_storage=DefaultStorage("local-path")))
    world.node("board-a", device="pi")
    key = world.apply("CoDesignSearch", "s", without_storage("CoDesignSearch"))
    world.settle()
    world.finish(JOB)
    uid = world.job_of(key)["metadata"]["uid"]
    for storage in (DefaultStorage("longhorn"), DefaultStorage()):
        world.settings = Settings(default_storage=storage)
        world.restart_operator()
        world.settle()
        assert world.job_of(key)["metadata"]["uid"] == uid
        assert "SpecChangeRefused" not in world.told(key)
        world.change(key, suspend=True)
        world.settle()
        world.change(key, suspend=False)
        world.settle()
        uid = world.job_of(key)["metadata"]["uid"]
        made = world.objects["PersistentVolumeClaim", "ns", "s-cds-storage"]
        assert made["spec"]["storageClassName"] == "local-path"


def test_what_a_search_found_outlives_its_time_to_live(world):
    key = searched(world, ttlSecondsAfterFinished=10)
    world.wait(10)
    world.settle()
    assert key not in world.objects
    assert ("PersistentVolumeClaim", "ns", "s-cds-storage") in world.objects
