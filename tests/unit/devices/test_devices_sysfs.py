"""Whatever /sys and /proc hold, what is read of them is a value, None or a reason."""

import contextlib
import errno
import json
import math
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetran.devices import Hwmon, SensorError, conditions, host_info
from edgetran.devices.power import Rapl
from edgetran.devices.sysfs import read_int, read_label, read_text, why_no_integer

GARBAGE = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [b"", b"\n", b"0", b"-1", b"1.5", b"nan", b"inf", b"1e9", b"1_000", b"0x10", b"max",
         b"18446744073709551615", b"-9223372036854775808", b"9" * 4096, b"\xff\xfe", b"\x00",
         "\u0663".encode(), b"NC", b"ina219", b"ina3221", b"package-0", b"dram", b"VDD_IN"]
    ),
    st.integers(-(2**70), 2**70).map(lambda number: str(number).encode()),
)  # fmt: skip


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"42\n", 42), (b" -7 ", -7), (b"+7", 7), (b"18446744073709551615", 2**64 - 1),
        (b"18446744073709551616", None), (b"9" * 4000, None), (b"", None), (b"1_000", None),
        (b"1.5", None), ("\u0663".encode(), None), (b"\xff", None), (b"42\x00", 42),
    ],
)  # fmt: skip
def test_an_integer_is_one_of_the_kernels_or_none(tmp_path, content, value):
    path = tmp_path / "value"
    path.write_bytes(content)
    assert read_int(path) == value


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENODATA, "no data"), (errno.EIO, "input/output"), (errno.ENXIO, "no such device")],
)
def test_a_driver_that_refuses_each_read_is_told_in_its_words(tmp_path, monkeypatch, number, words):
    path = tmp_path / "value"
    path.write_bytes(b"1")

    def refuse(*arguments, **options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "read", refuse)
    assert read_int(path) is None
    monkeypatch.setattr("pathlib.Path.open", refuse)
    assert read_text(path) is None
    assert words in why_no_integer(path)


def test_a_label_is_one_line_that_can_be_printed(tmp_path):
    path = tmp_path / "label"
    path.write_bytes(b"VDD\x1b[31m_IN\n\xff" + b"x" * 1000)
    label = read_label(path)
    assert label.startswith("VDD[31m_IN")
    assert label.isprintable()
    assert len(label) <= 128


def tree(root, draw, names):
    for name in names:
        content = draw(st.none() | GARBAGE, label=name)
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is not None:
            path.write_bytes(content)


HWMON = [
    f"sys/class/hwmon/hwmon{chip}/{name}"
    for chip in range(2)
    for name in ("name", "label", "in1_label", "in1_input", "in1_enable", "curr1_input",
                 "in2_label", "in2_input", "curr2_input", "power1_input")
]  # fmt: skip
RAPL = [
    f"sys/class/powercap/{zone}/{name}"
    for zone in ("intel-rapl:0", "intel-rapl:0:0", "intel-rapl:1")
    for name in ("name", "energy_uj", "max_energy_range_uj")
]
HOST = [
    "proc/cpuinfo", "proc/meminfo", "proc/loadavg", "proc/self/cgroup", "proc/self/mountinfo",
    "proc/device-tree/model", "sys/class/dmi/id/product_name", "sys/fs/cgroup/cpu.max",
    "sys/fs/cgroup/memory.max", "sys/fs/cgroup/cpu/cpu.cfs_quota_us",
    "sys/fs/cgroup/cpu/cpu.cfs_period_us", "sys/devices/system/cpu/cpufreq/boost",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_governor",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq",
    "sys/devices/system/cpu/intel_pstate/no_turbo",
    "sys/devices/system/cpu/cpu0/topology/core_cpus_list",
    "sys/class/thermal/thermal_zone0/type", "sys/class/thermal/thermal_zone0/temp",
    "sys/class/hwmon/hwmon0/name", "sys/class/hwmon/hwmon0/temp1_input",
    "sys/class/hwmon/hwmon0/temp1_label", "var/lib/nvpmodel/status",
    "sys/firmware/acpi/platform_profile",
    "sys/devices/platform/soc/soc:firmware/get_throttled",
]  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_sensors_of_any_tree_give_watts_that_can_be_true_or_a_reason(data, tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    tree(root, data.draw, HWMON + RAPL)
    for source in (Hwmon(root), Rapl(root)):
        if source.available() is not None:
            with contextlib.suppress(SensorError):
                source.read()
        else:
            value = source.read()
            assert math.isfinite(value)
            assert value >= 0
            assert source.scope
            assert all("lacks" in caveat for caveat in source.caveats)


@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_a_host_of_any_tree_describes_itself_as_json(data, tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    tree(root, data.draw, HOST)
    for found in (host_info(root), conditions(root)):
        json.dumps(found.to_dict(), allow_nan=False).encode()
