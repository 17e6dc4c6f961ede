"""Addresses and paths in a spec: none climbs, none opens another place, none tells a secret."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetran.api import SpecError, load_text
from edgetran.api.allowances import MeterAllowance, absolute_paths, covers, meter_problems
from edgetran.api.field_errors import shown as said
from edgetran.api.field_errors import without_credentials

SECRET = "hunter2opensesame"  # noqa: S105 - made up


def job(**spec):
    device = {"name": "pi", "nodeSelector": {"edgetran.io/device": "pi"}}
    document = {
        "apiVersion": "edgetran.io/v1alpha1",
        "kind": "ProfilingJob",
        "metadata": {"name": "p"},
        "spec": {"device": device, "designSpace": {"preset": "tiny"}, **spec},
    }
    return load_text(json.dumps(document))[0]


def metered(address):
    energy = {"source": "external", "meter": address}
    return job(device={"name": "pi", "host": True, "energy": energy})


def refusal(make, value):
    with pytest.raises(SpecError) as caught:
        make(value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        (f"s3://AKIA:{SECRET}@bucket/folder", "credentials, which belong in the Secret"),
        (f"s3://{SECRET}@bucket/folder", "credentials, which belong in the Secret"),
        (f"gs://bucket/folder?token={SECRET}", "credentials, which belong in the Secret"),
        (f"abfs://c/x#sig={SECRET}", "credentials, which belong in the Secret"),
        (f"AKIA:{SECRET}@bucket", "an fsspec address such as s3://bucket/folder"),
        (f"S3://AKIA:{SECRET}@bucket", "an fsspec address such as s3://bucket/folder"),
        (f"s3://AKIA:{SECRET}@bucket/a b", "an fsspec address such as s3://bucket/folder"),
        (f"s3://AKIA:{SECRET}@" + "b" * 2000, "an fsspec address such as s3://bucket/folder"),
        (f"s3://bucket/..?{SECRET}", "credentials, which belong in the Secret"),
    ],
)
def test_credentials_in_a_storage_address_are_refused_and_never_repeated(uri, words):
    told = refusal(lambda value: job(storage={"uri": value}), uri)
    assert words in told
    assert told.startswith("<text>") or "spec.storage.uri" in told
    assert SECRET not in told
    assert "AKIA" not in told


@pytest.mark.parametrize(
    "uri",
    ["file:///etc", "local:///etc", "memory://x", "http://169.254.169.254/latest", "data://x",
     "s3://b/../c", "s3://b/%2e%2e/c", "s3://b/%252e%252e/c", "s3://b\\..\\c",
     "s3://b::file:///etc/passwd", "simplecache::s3://b", "/etc/passwd", "s3://b\n"],
)  # fmt: skip
def test_a_storage_address_stays_outside_of_the_pod_and_within_its_folder(uri):
    assert ": Invalid value: <hidden, as it may hold a password>: must" in refusal(
        lambda value: job(storage={"uri": value}), uri
    )


@pytest.mark.parametrize("uri", ["s3://bucket/a/b", "gs://b", "abfs://c/x..y", "sftp://nas:22/a"])
def test_an_address_of_a_store_is_taken(uri):
    assert job(storage={"uri": uri}).spec.storage.uri == uri


@pytest.mark.parametrize(
    "value", [f"s3://AKIA:{SECRET}@bucket", [f"s3://AKIA:{SECRET}@bucket"], f"a:{SECRET}@b"]
)
def test_an_address_in_the_wrong_place_does_not_tell_its_password_either(value):
    assert SECRET not in refusal(lambda storage: job(storage=storage), value)


@pytest.mark.parametrize(
    "path",
    ["../x", "a/..", "a\\..\\x", "%2e%2e/x", "%252e%252e/x", "a%2f..", "file:///etc/passwd",
     "https://u:p@host/x", "s3://b/x", "file:/etc/passwd"],
)  # fmt: skip
def test_a_path_neither_climbs_nor_is_an_address(path):
    told = refusal(lambda value: job(designSpace=None, models=[value]), path)
    assert "spec.models[0]" in told
    assert "u:p" not in told


def test_paths_that_begin_outside_of_the_storage_are_found_wherever_they_stand():
    files = {"train": "/etc/passwd", "test": "data/test.csv"}
    document = {
        "apiVersion": "edgetran.io/v1alpha1",
        "kind": "GPTranRun",
        "metadata": {"name": "g"},
        "spec": {
            "model": "/proc/self/environ",
            "device": {"name": "s", "simulation": "raspberry-pi-4-cpu"},
            "task": {"files": files, "tokenizer": {"folder": "/tmp/t"}},  # noqa: S108
            "storage": {"claim": {"name": "c", "subPath": "/x"}},
        },
    }
    (run,) = load_text(json.dumps(document))
    found = {".".join(map(str, path)) for path, _ in absolute_paths(run)}
    assert found == {
        "spec.model",
        "spec.task.files.train",
        "spec.task.tokenizer.folder",
        "spec.storage.claim.subPath",
    }
    models = [path for path, _ in absolute_paths(job(designSpace=None, models=["a", "/b"]))]
    assert models == [("spec", "models", 1)]


@pytest.mark.parametrize(
    "address",
    [f"http://me:{SECRET}@meter/x", f"http://meter/../{SECRET}", f"serial:/etc/{SECRET}",
     f"ftp://{SECRET}", f"http://meter\\@{SECRET}/", f"serial:/dev/../etc/{SECRET}"],
)  # fmt: skip
def test_a_meter_address_that_is_refused_is_not_repeated(address):
    told = refusal(metered, address)
    assert "energy.meter" in told
    assert SECRET not in told


@pytest.mark.parametrize(
    ("beginning", "address", "inside"),
    [
        ("http://meter.lan", "http://meter.lan/a?b=../c#d", True),
        ("http://meter.lan", "http://METER.lan:80", True),
        ("http://meter.lan/", "http://meter.lan:8080/", False),
        ("http://meter.lan", "https://meter.lan/", False),
        ("http://meter.lan", "http://meter.lan.example.com/", False),
        ("http://meter.lan", "http://meter.lan@example.com/", False),
        ("http://meter.lan", "http://meter.lan\\@example.com/", False),
        ("http://meter.lan/power", "http://meter.lan/power", True),
        ("http://meter.lan/power", "http://meter.lan/power/3", True),
        ("http://meter.lan/power", "http://meter.lan/powers", False),
        ("http://meter.lan/power", "http://meter.lan/power/../admin", False),
        ("http://meter.lan/power", "http://meter.lan/power/%2e%2e/admin", False),
        ("http://meter.lan/power", "http://meter.lan/power\\..\\admin", False),
        ("http://meter.lan", "http://meter.lan:x/", False),
        ("serial:/dev/ttyUSB", "serial:/dev/ttyUSB0?baud=9600", True),
        ("serial:/dev/ttyUSB", "serial:/dev/ttyACM0", False),
        ("serial:/dev/tty", "serial:/dev/tty/../sda", False),
    ],
)
def test_what_an_administrator_allows_covers_one_place_and_no_neighbour(beginning, address, inside):
    assert covers(beginning, address) is inside


def test_meters_need_what_the_administrator_allows():
    cluster = MeterAllowance(addresses=("http://meter.lan/power",))
    assert meter_problems(metered("http://meter.lan/power/1"), cluster) == []
    ((path, sentence),) = meter_problems(metered(f"http://169.254.169.254/{SECRET}"), cluster)
    assert path == ("spec", "device", "energy", "meter")
    assert "allow.meters, which is http://meter.lan/power" in sentence
    assert SECRET not in sentence
    ((_, sentence),) = meter_problems(metered("command:cat /x"), cluster)
    assert "allow.commands, which is not set" in sentence
    assert meter_problems(metered("command:cat /x"), MeterAllowance(commands=True)) == []
    ((_, sentence),) = meter_problems(metered("command:cat /x"), MeterAllowance())
    assert "--allow-commands" in sentence
    assert meter_problems(metered("http://anywhere/"), MeterAllowance()) == []


@given(st.text(), st.text(alphabet="abcXYZ019:/?#.-_", max_size=40), st.text(max_size=20))
def test_no_message_repeats_what_stands_before_an_at(before, secret, after):
    text = f"{before} s3://key:{SECRET}{secret}@{after}"
    assert SECRET not in without_credentials(text)
    assert SECRET not in said(text)
