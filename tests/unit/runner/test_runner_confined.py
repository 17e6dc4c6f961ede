"""What a spec may reach: no program without consent, in a cluster nothing beyond its storage."""

import json

import pytest
import yaml
from test_cli import edgetran, refused

from edgetran.api import SpecError, load_text
from edgetran.api.allowances import MeterAllowance
from edgetran.devices import DeviceError
from edgetran.runner.devices import power_source
from edgetran.runner.inside import refuse_paths_outside
from edgetran.runner.part import plan_part


def document(**spec):
    device = {"name": "board", "host": True}
    return {
        "apiVersion": "edgetran.io/v1alpha1",
        "kind": "ProfilingJob",
        "metadata": {"name": "p"},
        "spec": {"device": device, "designSpace": {"preset": "tiny"}, **spec},
    }


def job(**spec):
    return load_text(json.dumps(document(**spec)))[0]


def metered(meter):
    energy = {"source": "external", "meter": meter}
    return {"name": "board", "host": True, "energy": energy}


@pytest.fixture
def command(tmp_path):
    """A meter that leaves a trace, and the trace."""
    trace = tmp_path / "ran"
    program = tmp_path / "meter"
    program.write_text(f"#!/bin/sh\ntouch {trace}\necho 5\n")
    program.chmod(0o755)
    return f"command:{program}", trace


def test_a_spec_of_somebody_else_runs_no_program(tmp_path, command):
    meter, trace = command
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(document(device=metered(meter))))
    for words in (["run", "-f", path], ["profile", "--meter", meter]):
        result = edgetran(*words, "-o", tmp_path / "out")
        refused(result, "spec.device.energy.meter", "--allow-commands")
    assert not trace.exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.integration
def test_a_program_is_read_with_consent(tmp_path, command):
    meter, trace = command
    sampling = {"initial": 4, "maxMeasurements": 4}
    measurement, workload = {"mode": "quick"}, {"sequenceLength": 8}
    path = tmp_path / "job.yaml"
    path.write_text(
        yaml.safe_dump(
            document(
                device=metered(meter),
                sampling=sampling,
                measurement=measurement,
                workload=workload,
            )
        )
    )
    result = edgetran("run", "-f", path, "-o", tmp_path / "out", "--allow-commands")
    assert result.exit_code == 0, result.output
    assert trace.exists()


def test_a_search_and_a_refinement_need_consent_too(tmp_path, command):
    meter, trace = command
    search = {
        "apiVersion": "edgetran.io/v1alpha1",
        "kind": "CoDesignSearch",
        "metadata": {"name": "s"},
        "spec": {
            "task": {"name": "movie-reviews"},
            "designSpace": {"preset": "tiny"},
            "devices": [{"name": "pi", "simulation": "intel-ncs2", "precision": "fp16"},
                        metered(meter)],
        },
    }  # fmt: skip
    refinement = {
        **search,
        "kind": "GPTranRun",
        "spec": {
            "model": "m",
            "task": {"name": "movie-reviews"},
            "device": metered(meter),
        },
    }
    for each, place in ((search, "spec.devices[1]"), (refinement, "spec.device")):
        path = tmp_path / "x.yaml"
        path.write_text(yaml.safe_dump(each))
        result = edgetran("run", "-f", path, "-o", tmp_path / "out")
        refused(result, f"{place}.energy.meter", "--allow-commands")
    assert not trace.exists()


def test_a_worker_reads_the_meters_of_its_command_line_and_no_other(command):
    meter, trace = command
    page = job(device=metered("http://meters.lan/3"))
    for resource in (job(device=metered(meter)), page):
        with pytest.raises(SpecError, match=r"spec\.device\.energy\.meter: "):
            plan_part(resource, ())
        with pytest.raises(DeviceError):
            power_source(resource.spec.device, MeterAllowance(addresses=("http://other.lan",)))
    allowed = MeterAllowance(addresses=("http://meters.lan",))
    assert plan_part(page, (), allowed).meters == allowed
    assert not trace.exists()


def test_a_worker_takes_no_path_that_begins_elsewhere():
    with pytest.raises(SpecError, match=r'spec\.models\[0\]: Invalid value: "/etc"'):
        plan_part(job(designSpace=None, models=["/etc"]), ())


@pytest.fixture
def storage(tmp_path):
    """Storage with a model, and secrets beside it."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "token").write_text("hunter2")
    storage = tmp_path / "storage"
    (storage / "blobs").mkdir(parents=True)
    (storage / "blobs" / "1").write_text("{}")
    (storage / "model").mkdir()
    (storage / "model" / "config.json").symlink_to("../blobs/1")
    return storage


def models(*paths):
    return job(designSpace=None, models=list(paths))


def test_links_within_the_storage_are_followed(storage):
    (storage / "same").symlink_to("model")
    refuse_paths_outside([models("model", "same", "absent", ".")], storage)


@pytest.mark.parametrize("target", ["../secrets", "/proc/self", "same/../../secrets"])
def test_a_folder_that_is_a_link_out_of_the_storage_is_refused(storage, target):
    (storage / "same").symlink_to("model")
    (storage / "out").symlink_to(target)
    for path in ("out", "out/deeper"):
        with pytest.raises(SpecError, match=r"models\[0\]: .* leads out of its volume"):
            refuse_paths_outside([models(path)], storage)


def test_files_of_a_config_map_are_links_within_their_volume(tmp_path):
    """As a kubelet mounts them: each a link to a folder that it exchanges as a whole."""
    data = tmp_path / "data"
    (data / "..2026_01_01").mkdir(parents=True)
    (data / "..2026_01_01" / "train.csv").write_text("text,label\n")
    (data / "..data").symlink_to("..2026_01_01")
    (data / "train.csv").symlink_to("..data/train.csv")
    refuse_paths_outside([models("train.csv", ".")], data)


def test_a_file_of_a_model_that_is_a_link_out_of_the_storage_is_refused(storage):
    (storage / "model" / "vocab.txt").symlink_to(storage.parent / "secrets" / "token")
    with pytest.raises(SpecError, match=r"models\[0\]: .*vocab\.txt is a link that leads out"):
        refuse_paths_outside([models("model")], storage)


def test_storage_that_is_a_link_itself_is_no_way_out(storage, tmp_path):
    (tmp_path / "mounted").symlink_to(storage)
    refuse_paths_outside([models("model")], tmp_path / "mounted")
