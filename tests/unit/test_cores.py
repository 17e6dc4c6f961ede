"""Processors, affinity and quota are one number, from control groups of both versions."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetran.cores import Cores, cores, cpu_quota, usable_cores
from edgetran.devices import conditions, engine, host_info


def write(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else f"{content}\n".encode())
    return root


G = "sys/fs/cgroup"
V2_MOUNT = f"30 23 0:26 / /{G} ro,nosuid - cgroup2 cgroup rw"


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({f"{G}/cpu.max": "max 100000"}, None),
        ({f"{G}/cpu.max": "100000 100000"}, 1.0),
        ({f"{G}/cpu.max": "150000 100000"}, 1.5),
        ({f"{G}/cpu/cpu.cfs_quota_us": -1, f"{G}/cpu/cpu.cfs_period_us": 100000}, None),
        ({f"{G}/cpu/cpu.cfs_quota_us": 50000, f"{G}/cpu/cpu.cfs_period_us": 100000}, 0.5),
        ({f"{G}/cpu,cpuacct/cpu.cfs_quota_us": 5, f"{G}/cpu,cpuacct/cpu.cfs_period_us": 10}, 0.5),
        (  # a pod's limit stands above its containers'
            {
                "proc/self/cgroup": "0::/kubepods/pod7/main",
                "proc/self/mountinfo": V2_MOUNT,
                f"{G}/kubepods/pod7/main/cpu.max": "400000 100000",
                f"{G}/kubepods/pod7/cpu.max": "200000 100000",
                f"{G}/kubepods/cpu.max": "max 100000",
            },
            2.0,
        ),
        (  # a neighbour's limit is none of ours
            {
                "proc/self/cgroup": "0::/a",
                "proc/self/mountinfo": V2_MOUNT,
                f"{G}/a/cpu.max": "max 100000",
                f"{G}/b/cpu.max": "1000 100000",
            },
            None,
        ),
        (  # version 1 in a container: the mount shows only the container's own group
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/docker/abc",
                "proc/self/mountinfo": f"31 30 0:27 /docker/abc /{G}/x ro - cgroup c rw,cpu",
                f"{G}/x/cpu.cfs_quota_us": 250000,
                f"{G}/x/cpu.cfs_period_us": 100000,
            },
            2.5,
        ),
        (  # a group outside the container's view
            {"proc/self/cgroup": "0::/../../other", f"{G}/cpu.max": "300000 100000"},
            3.0,
        ),
    ],
)
def test_a_quota_is_the_tightest_of_the_groups_above(tmp_path, files, quota):
    assert cpu_quota(write(tmp_path, files)) == quota


@pytest.mark.parametrize(
    "content",
    ["", "50000 0", "0 100000", "x y", "9" * 5000 + " 1", "-1 100000", "1e5 1", b"\xff 7"],
)
def test_garbage_is_no_quota(tmp_path, content):
    assert cpu_quota(write(tmp_path, {f"{G}/cpu.max": content})) is None


@given(st.binary(max_size=60), st.binary(max_size=60), st.binary(max_size=60))
def test_no_file_breaks_it(tmp_path_factory, limit, group, mounts):
    root = write(
        tmp_path_factory.mktemp("root"),
        {f"{G}/cpu.max": limit, "proc/self/cgroup": group, "proc/self/mountinfo": mounts},
    )
    found = cores(root)
    assert found.usable > 0
    assert found.threads >= 1


@pytest.mark.parametrize(
    ("found", "usable", "threads", "bound"),
    [
        (Cores(8, 8, None), 8, 8, "processors"),
        (Cores(8, None, None), 8, 8, "processors"),
        (Cores(8, 3, None), 3, 3, "affinity"),
        (Cores(8, 8, 4.0), 4, 4, "quota"),
        (Cores(8, 3, 4.0), 3, 3, "affinity"),
        (Cores(8, 8, 1.5), 1.5, 1, "quota"),
        (Cores(8, 8, 0.5), 0.5, 1, "quota"),
    ],
)
def test_the_tightest_bound_counts_and_threads_fit_into_the_quota(found, usable, threads, bound):
    assert (found.usable, found.threads, found.bound) == (usable, threads, bound)


def test_host_conditions_and_engines_have_the_same_notion(tmp_path, monkeypatch):
    write(tmp_path, {f"{G}/cpu.max": "100000 100000"})
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert host_info(tmp_path).usable_cores == 1.0
    found = conditions(tmp_path)
    assert (found.usable_cores, found.cpu_quota, found.cores_bound_by) == (1.0, 1.0, "quota")
    assert usable_cores(tmp_path) == 1
    here = cores()
    for name in ("torch", "onnxruntime", "openvino"):
        assert engine(name).threads == here.threads


def test_a_limit_of_the_kernel_bounds_engines_and_libraries(tmp_path):
    """In a mount namespace of its own, where the control groups say half a core."""
    show = (
        "import os, edgetran.devices as d, torch; "
        "print(d.engine('torch').threads, d.engine('onnxruntime').threads, "
        "os.environ['OMP_NUM_THREADS'], torch.get_num_threads(), d.conditions().cpu_quota)"
    )
    script = (
        f"mount -t tmpfs none /{G} && echo '50000 100000' >/{G}/cpu.max && "
        f'exec {sys.executable} -c "{show}"'
    )
    environment = {name: value for name, value in os.environ.items() if "THREADS" not in name}
    process = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, env=environment
    )
    if "unshare" in process.stderr or "mount:" in process.stderr:
        pytest.skip(f"no mount namespace here: {process.stderr.strip()}")
    assert process.stdout.split() == ["1", "1", "1", "1", "0.5"], process.stderr
