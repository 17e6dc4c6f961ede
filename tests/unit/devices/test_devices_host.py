"""The host and its conditions are read from fake trees of x86, ARM and containers."""

import json
import os
import subprocess
import sys

import pytest

from edgetran.devices import conditions, host_info
from edgetran.devices.accelerators import accelerators
from edgetran.devices.isa import instruction_sets

X86 = """processor\t: 0
model name\t: Intel(R) Xeon(R) Platinum 8480+
flags\t\t: fpu sse4_2 avx avx2 fma avx512f avx512_vnni amx_int8 amx_bf16 hypervisor

processor\t: 1
model name\t: Intel(R) Xeon(R) Platinum 8480+
"""
ARM = """processor\t: 0
Features\t: fp asimd evtstrm crc32 asimdhp asimddp sve i8mm
CPU implementer\t: 0x41
CPU part\t: 0xd0b
"""


def write(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")


def test_this_host_describes_itself_as_json():
    info = host_info()
    data = json.loads(json.dumps(info.to_dict()))
    assert data["logical_cores"] >= 1
    assert data["memory_bytes"] > 1 << 27
    assert data["cpu_model"]
    assert data["versions"]["torch"]
    for accelerator in data["accelerators"]:
        assert bool(accelerator["names"]) != bool(accelerator["missing"])


def test_an_x86_virtual_machine(tmp_path):
    write(
        tmp_path,
        {
            "proc/cpuinfo": X86,
            "proc/meminfo": "MemTotal:       16384 kB",
            "sys/class/dmi/id/product_name": "KVM",
            **{
                f"sys/devices/system/cpu/cpu{i}/topology/core_cpus_list": f"{i // 2}-{i // 2 + 1}"
                for i in range(4)
            },
        },
    )
    info = host_info(tmp_path)
    assert info.cpu_model == "Intel(R) Xeon(R) Platinum 8480+"
    assert info.instruction_sets == (
        "sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_vnni", "amx_int8", "amx_bf16",
    )  # fmt: skip
    assert info.virtual
    assert info.physical_cores == 2
    assert info.board == "KVM"
    assert info.memory_bytes == 16384 * 1024


def test_an_arm_board_is_named_by_its_device_tree_and_part_number(tmp_path):
    write(tmp_path, {"proc/cpuinfo": ARM})
    (tmp_path / "proc/device-tree").mkdir()
    (tmp_path / "proc/device-tree/model").write_bytes(b"Raspberry Pi 5 Model B Rev 1.0\0")
    info = host_info(tmp_path)
    assert info.cpu_model == "Arm Cortex-A76"
    assert info.board == "Raspberry Pi 5 Model B Rev 1.0"
    assert info.instruction_sets == ("asimd", "asimdhp", "asimddp", "i8mm", "sve")
    assert not info.virtual


def test_an_unknown_arm_part_keeps_its_number(tmp_path):
    write(tmp_path, {"proc/cpuinfo": "CPU part\t: 0xABC"})
    assert host_info(tmp_path).cpu_model == "Arm part 0xabc"


def test_a_container_of_version_2_is_limited(tmp_path):
    write(
        tmp_path,
        {"sys/fs/cgroup/cpu.max": "50000 100000", "sys/fs/cgroup/memory.max": 2 << 30},
    )
    info = host_info(tmp_path)
    assert info.cpu_limit == 0.5
    assert info.usable_cores == 0.5
    assert info.memory_limit_bytes == 2 << 30


def test_a_container_of_version_1_is_limited(tmp_path):
    write(
        tmp_path,
        {
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": 150000,
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": 100000,
            "sys/fs/cgroup/memory/memory.limit_in_bytes": 1 << 30,
        },
    )
    info = host_info(tmp_path)
    assert (info.cpu_limit, info.memory_limit_bytes) == (1.5, 1 << 30)


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"sys/fs/cgroup/cpu.max": "max 100000", "sys/fs/cgroup/memory.max": "max"},
        {
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": -1,
            "sys/fs/cgroup/memory/memory.limit_in_bytes": 9223372036854771712,
        },
    ],
)
def test_no_limit_is_none(tmp_path, files):
    write(tmp_path, files)
    info = host_info(tmp_path)
    assert (info.cpu_limit, info.memory_limit_bytes) == (None, None)


def test_kernel_accelerators_are_found_with_their_driver(tmp_path):
    write(
        tmp_path,
        {
            "dev/accel/accel0": "",
            "sys/class/accel/accel0/device/uevent": "PCI_ID=8086:7D1D\nDRIVER=intel_vpu",
        },
    )
    found = {item.kind: item for item in accelerators(tmp_path)}
    assert found["accel"].names == ("accel0 (intel_vpu)",)
    assert found["accel"].missing is None
    assert "no device" in {a.kind: a for a in accelerators(tmp_path / "no")}["accel"].missing


def test_a_gpu_that_torch_cannot_use_is_told(tmp_path, monkeypatch):
    import torch

    if torch.cuda.is_available():
        pytest.skip("torch can use this machine's GPU")
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 'NVIDIA A100-SXM4-40GB'\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    cuda = next(item for item in accelerators() if item.kind == "cuda")
    assert cuda.names == ()
    assert "nvidia-smi finds NVIDIA A100-SXM4-40GB, but this torch cannot use it" in cuda.missing


def test_conditions_of_an_x86_laptop(tmp_path):
    cpu = "sys/devices/system/cpu"
    write(
        tmp_path,
        {
            **{f"{cpu}/cpufreq/policy{i}/scaling_governor": "powersave" for i in range(11)},
            **{f"{cpu}/cpufreq/policy{i}/scaling_cur_freq": 1000 * i for i in range(11)},
            f"{cpu}/intel_pstate/no_turbo": 1,
            "sys/firmware/acpi/platform_profile": "low-power",
            "sys/class/thermal/thermal_zone0/type": "x86_pkg_temp",
            "sys/class/thermal/thermal_zone0/temp": 61000,
            "sys/class/hwmon/hwmon2/name": "coretemp",
            "sys/class/hwmon/hwmon2/temp1_label": "Package id 0",
            "sys/class/hwmon/hwmon2/temp1_input": 63500,
            "sys/class/hwmon/hwmon3/name": "nvme",
            "sys/class/hwmon/hwmon3/temp1_input": 80000,
            "proc/loadavg": "0.25 0.10 0.05 1/200 1234",
        },
    )
    found = conditions(tmp_path, threads=4)
    assert found.governors == ("powersave",)
    assert found.frequencies_mhz == tuple(float(i) for i in range(11))
    assert found.turbo is False
    assert found.power_mode == "low-power"
    assert found.temperatures_c == {"x86_pkg_temp": 61.0, "coretemp Package id 0": 63.5}
    assert found.hottest_c == 63.5
    assert found.load_average == 0.25
    assert found.threads == 4
    assert found.pinned_cores
    json.dumps(found.to_dict())


def test_conditions_of_boards(tmp_path):
    write(
        tmp_path,
        {
            "sys/devices/system/cpu/cpufreq/boost": 1,
            "sys/devices/platform/soc/soc:firmware/get_throttled": "50005",
            "var/lib/nvpmodel/status": "pmode:0001",
            "sys/class/thermal/thermal_zone0/type": "CPU-therm",
            "sys/class/thermal/thermal_zone0/temp": 48000,
            "sys/class/thermal/thermal_zone1/type": "PMIC-Die",
            "sys/class/thermal/thermal_zone1/temp": -256000,
        },
    )
    found = conditions(tmp_path)
    assert found.turbo is True
    assert found.throttled == 0x50005
    assert found.power_mode == "nvpmodel 0001"
    assert found.temperatures_c == {"CPU-therm": 48.0}


def test_a_machine_that_tells_nothing_gives_no_guesses(tmp_path):
    found = conditions(tmp_path)
    assert found.governors == ()
    assert found.turbo is None
    assert found.power_mode is None
    assert found.throttled is None
    assert found.hottest_c is None
    assert instruction_sets(tmp_path) == ()


def test_the_room_imports_without_torch_and_without_optional_packages():
    text = (
        "import sys, edgetran.devices; "
        "print([m for m in ('torch', 'scipy', 'onnxruntime', 'openvino', 'psutil', 'pynvml') "
        "if m in sys.modules])"
    )
    process = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)
    assert process.stdout.strip() == "[]", process.stderr
