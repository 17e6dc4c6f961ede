"""Every power source on fake trees, fake programs and real sockets and terminals."""

import pathlib
import sys
import types
from typing import get_args

import pytest
from devices_power import program
from hypothesis import given
from hypothesis import strategies as st

from edgetran.api import EnergySettings
from edgetran.api.allowances import MeterAllowance
from edgetran.devices import best_power_source, external_source, power_sources
from edgetran.devices.power import (
    AppleSilicon,
    CounterResetError,
    Hwmon,
    NvmlEnergy,
    NvmlPower,
    Rapl,
    RaspberryPiPmic,
    SensorError,
)
from edgetran.devices.power.source import Unwrapper

COMMANDS = MeterAllowance(commands=True)


def write(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")


# --- counters that wrap ---------------------------------------------------------------------


@given(
    steps=st.lists(st.floats(0, 120), min_size=1, max_size=50),
    start=st.floats(0, 261.9),
)
def test_a_wrapping_counter_counts_on(steps, start):
    unwrapper = Unwrapper("rapl", 262.0)
    truth = start
    unwrapper.add(start % 262.0)
    for step in steps:
        truth += step
        assert unwrapper.add(truth % 262.0) == pytest.approx(truth - start, abs=1e-6)


def test_a_counter_that_steps_back_without_wrapping_says_so_and_counts_on():
    unwrapper = Unwrapper("rapl", 1000.0)
    unwrapper.add(100.0)
    assert unwrapper.add(130.0) == 30.0
    with pytest.raises(CounterResetError, match=r"went back by 30\.000 J"):
        unwrapper.add(100.0)
    assert unwrapper.add(105.0) == 35.0
    endless = Unwrapper("nvml", None)
    endless.add(9.0)
    with pytest.raises(CounterResetError):
        endless.add(1.0)


@pytest.mark.parametrize("garbage", [float("nan"), float("inf"), -1.0])
def test_a_counter_refuses_what_is_no_energy(garbage):
    with pytest.raises(SensorError, match="cannot be true"):
        Unwrapper("rapl", 1000.0).add(garbage)


# --- RAPL -----------------------------------------------------------------------------------


def rapl_tree(root, energy=1_000_000):
    zones = "sys/class/powercap"
    write(
        root,
        {
            f"{zones}/intel-rapl/enabled": 1,
            f"{zones}/intel-rapl:0/name": "package-0",
            f"{zones}/intel-rapl:0/energy_uj": energy,
            f"{zones}/intel-rapl:0/max_energy_range_uj": 262_143_328_850,
            f"{zones}/intel-rapl:0:0/name": "core",
            f"{zones}/intel-rapl:0:0/energy_uj": energy,
            f"{zones}/intel-rapl:0:1/name": "dram",
            f"{zones}/intel-rapl:0:1/energy_uj": energy,
            f"{zones}/intel-rapl:0:1/max_energy_range_uj": 65_712_999_613,
            f"{zones}/intel-rapl:1/name": "psys",
            f"{zones}/intel-rapl:1/energy_uj": energy,
        },
    )
    return root / zones


def test_rapl_sums_packages_and_dram_but_not_the_core_inside_the_package(tmp_path):
    zones = rapl_tree(tmp_path)
    rapl = Rapl(tmp_path)
    assert rapl.available() is None
    assert rapl.scope == "package-0 + dram"
    assert rapl.counter() == 0.0
    (zones / "intel-rapl:0/energy_uj").write_text("6000000")
    (zones / "intel-rapl:0:0/energy_uj").write_text("5000000")
    (zones / "intel-rapl:0:1/energy_uj").write_text("1500000")
    assert rapl.counter() == pytest.approx(5.5)


def test_rapl_wraps_each_domain_at_its_own_range(tmp_path):
    zones = rapl_tree(tmp_path, energy=65_712_000_000)
    rapl = Rapl(tmp_path)
    rapl.counter()
    (zones / "intel-rapl:0/energy_uj").write_text("65713000000")
    (zones / "intel-rapl:0:1/energy_uj").write_text("387")
    assert rapl.counter() == pytest.approx(1.0 + 1.0, abs=1e-3)


def test_rapl_says_why_it_is_missing(tmp_path):
    assert "no RAPL package" in Rapl(tmp_path).available()
    rapl_tree(tmp_path, energy=0)
    assert "stay at zero" in Rapl(tmp_path).available()


def test_rapl_says_that_root_may_read_it(tmp_path, monkeypatch):
    rapl_tree(tmp_path)
    rapl = Rapl(tmp_path)
    opened = pathlib.Path.open

    def refuse(path, *arguments, **options):
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments, **options)

    monkeypatch.setattr(pathlib.Path, "open", refuse)
    assert rapl.available().endswith("energy_uj: permission denied (root may read it)")


def test_rapl_says_when_a_counter_vanishes_or_holds_garbage(tmp_path):
    zones = rapl_tree(tmp_path)
    rapl = Rapl(tmp_path)
    (zones / "intel-rapl:0/energy_uj").write_text("ERR")
    with pytest.raises(SensorError, match="cannot be read any more"):
        rapl.counter()
    (zones / "intel-rapl:0/energy_uj").unlink()
    with pytest.raises(SensorError, match="cannot be read any more"):
        rapl.counter()
    with pytest.raises(SensorError, match="no power reading"):
        rapl.sample()


def test_a_package_that_two_interfaces_show_counts_once(tmp_path):
    zones = rapl_tree(tmp_path)
    for name in ("intel-rapl-mmio:0", "intel-rapl:2"):
        write(tmp_path, {f"sys/class/powercap/{name}/name": "package-0",
                         f"sys/class/powercap/{name}/energy_uj": 7})  # fmt: skip
    write(tmp_path, {"sys/class/powercap/intel-rapl:2:0/name": "dram",
                     "sys/class/powercap/intel-rapl:2:0/energy_uj": 7})  # fmt: skip
    rapl = Rapl(tmp_path)
    assert rapl.available() is None
    assert rapl.scope == "package-0 + dram"
    rapl.counter()
    (zones / "intel-rapl:2/energy_uj").write_text("999")
    assert rapl.counter() == 0.0


@pytest.mark.parametrize(
    ("dram", "words"),
    [("", "holds ''"), ("0", "stays at zero"), ("9" * 300, "holds '9"), (None, "no such file")],
)
def test_a_bad_domain_is_left_out_of_the_sum_and_named(tmp_path, dram, words):
    zones = rapl_tree(tmp_path)
    counter = zones / "intel-rapl:0:1/energy_uj"
    counter.unlink() if dram is None else counter.write_text(dram)
    rapl = Rapl(tmp_path)
    assert rapl.available() is None
    assert rapl.scope == "package-0"
    (caveat,) = rapl.caveats
    assert caveat.startswith("the energy lacks dram: ")
    assert words in caveat
    rapl.counter()
    (zones / "intel-rapl:0/energy_uj").write_text("3000000")
    assert rapl.counter() == pytest.approx(2.0)


@pytest.mark.parametrize("limit", ["0", "-1", "", "x", "5"])
def test_a_counter_whose_range_cannot_be_true_does_not_wrap(tmp_path, limit):
    zones = rapl_tree(tmp_path)
    (zones / "intel-rapl:0/max_energy_range_uj").write_text(limit)
    rapl = Rapl(tmp_path)
    rapl.counter()
    (zones / "intel-rapl:0/energy_uj").write_text("5")
    with pytest.raises(CounterResetError, match="went back"):
        rapl.counter()


# --- hwmon ----------------------------------------------------------------------------------


def test_a_jetson_orin_multiplies_voltage_and_current_of_its_total_rail(tmp_path):
    chip = "sys/class/hwmon/hwmon1"
    write(
        tmp_path,
        {
            f"{chip}/name": "ina3221",
            f"{chip}/in1_label": "VDD_IN",
            f"{chip}/in1_input": 5000,
            f"{chip}/curr1_input": 1200,
            f"{chip}/in2_label": "VDD_CPU_GPU_CV",
            f"{chip}/in2_input": 5000,
            f"{chip}/curr2_input": 300,
            f"{chip}/in7_label": "sum of shunt voltages",
            f"{chip}/in7_input": 10,
            f"{chip}/curr7_input": 999,
            "sys/class/hwmon/hwmon0/name": "acpitz",
            "sys/class/hwmon/hwmon0/power1_input": 99_000_000,
        },
    )
    source = Hwmon(tmp_path)
    assert source.available() is None
    assert source.scope == "VDD_IN"
    assert source.sample() == pytest.approx(6.0)
    assert Hwmon(tmp_path, rails=("VDD_CPU_GPU_CV",)).sample() == pytest.approx(1.5)
    assert Hwmon(tmp_path, rails=("VDD_GPU",)).available() == "no rail named VDD_GPU"


def test_a_jetson_nano_of_jetpack_4_is_read_through_iio(tmp_path):
    folder = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    write(
        tmp_path,
        {
            f"{folder}/rail_name_0": "POM_5V_IN",
            f"{folder}/in_power0_input": 2345,
            f"{folder}/rail_name_1": "POM_5V_GPU",
            f"{folder}/in_power1_input": 400,
        },
    )
    source = Hwmon(tmp_path)
    assert source.scope == "POM_5V_IN"
    assert source.sample() == pytest.approx(2.345)


def ina219(number, power_uw):
    chip = f"sys/class/hwmon/hwmon{number}"
    return {
        f"{chip}/name": "ina219",
        f"{chip}/power1_input": power_uw,
        f"{chip}/in1_input": 5000,
        f"{chip}/curr1_input": 620,
    }


def ina3221(number, **watts):
    """Channels at 1 V: milliamperes are milliwatts; a string goes into the file as it is."""
    chip = f"sys/class/hwmon/hwmon{number}"
    files = {f"{chip}/name": "ina3221"}
    for channel, (label, value) in enumerate(watts.items(), start=1):
        files |= {
            f"{chip}/in{channel}_label": label,
            f"{chip}/in{channel}_input": 1000,
            f"{chip}/curr{channel}_input": value if isinstance(value, str) else int(1000 * value),
        }
    return files


def test_the_only_sensor_of_a_board_is_read_in_microwatts(tmp_path):
    write(tmp_path, ina219(0, 3_100_000))
    source = Hwmon(tmp_path)
    assert source.available() is None
    assert source.sample() == pytest.approx(3.1)
    assert source.scope == "ina219@hwmon0"


def test_sensors_that_may_lie_in_series_are_not_added_until_the_user_names_them(tmp_path):
    write(tmp_path, ina219(0, 3_100_000) | ina219(1, 3_000_000))
    source = Hwmon(tmp_path)
    assert source.available() == (
        "which of ina219@hwmon0, ina219@hwmon1 feeds the others is not known, so they are not "
        "added; name in energy.rails those that make up the board"
    )
    with pytest.raises(SensorError, match="not known"):
        source.sample()
    assert Hwmon(tmp_path, rails=("ina219@hwmon0",)).sample() == pytest.approx(3.1)
    both = Hwmon(tmp_path, rails=("ina219@hwmon0", "ina219@hwmon1"))
    assert both.sample() == pytest.approx(6.1)


def test_a_sensor_keeps_its_name_when_hwmon_is_numbered_anew(tmp_path):
    write(tmp_path, ina219(0, 3_100_000) | ina219(1, 3_000_000))
    for number, address in enumerate(("1-0041", "1-0040")):
        (tmp_path / "sys/devices" / address).mkdir(parents=True)
        (tmp_path / f"sys/class/hwmon/hwmon{number}/device").symlink_to(
            tmp_path / "sys/devices" / address
        )
    assert Hwmon(tmp_path, rails=("ina219@1-0040",)).sample() == pytest.approx(3.0)


BOARDS = {
    "Xavier NX": (ina3221(0, VDD_IN=6, VDD_CPU_GPU_CV=2, VDD_SOC=1), "VDD_IN", 6),
    "AGX Xavier": (
        ina3221(0, GPU=3, CPU=2, SOC=1) | ina3221(1, CV=0, VDDRQ=0.5, SYS5V=1.5),
        "GPU + CPU + SOC + CV + VDDRQ + SYS5V",
        8,
    ),
    "AGX Orin, whose memory is fed from the 5 V rail": (
        ina3221(0, VDD_GPU_SOC=5, VDD_CPU_CV=3, VIN_SYS_5V0=4)
        | ina3221(1, NC=0, VDDQ_VDD2_1V8AO=1),
        "VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0",
        12,
    ),
    "AGX Thor": (
        ina3221(0, VDD_GPU=9, VDD_CPU_SOC_MSS=5, VIN_SYS_5V0=4)
        | {
            "sys/class/hwmon/hwmon1/name": "ina238",
            "sys/class/hwmon/hwmon1/power1_input": 25_000_000,
        },
        "ina238@hwmon1",
        25,
    ),
    "TX2 on its carrier": (
        ina3221(0, VDD_IN=7, VDD_SYS_CPU=2, VDD_SYS_DDR=1) | ina3221(1, VDD_MUX=9),
        "VDD_IN",
        7,
    ),
    "an input beside the carrier's own meter": (
        ina3221(0, VDD_IN=6, VDD_SOC=1) | ina219(3, 8_000_000), "VDD_IN", 6,
    ),
}  # fmt: skip


@pytest.mark.parametrize("board", BOARDS)
def test_no_watt_of_a_known_board_counts_twice(tmp_path, board):
    files, scope, watts = BOARDS[board]
    write(tmp_path, files)
    source = Hwmon(tmp_path)
    assert source.available() is None
    assert (source.scope, source.caveats) == (scope, ())
    assert source.sample() == pytest.approx(watts)


def test_rails_of_an_unknown_board_are_left_to_the_user(tmp_path):
    write(tmp_path, ina3221(0, VDD_5V=6, VDD_3V3=2))
    assert "which of VDD_5V, VDD_3V3 feeds" in Hwmon(tmp_path).available()
    assert Hwmon(tmp_path, rails=["VDD_5V"]).sample() == pytest.approx(6)


def test_one_label_twice_names_neither(tmp_path):
    write(tmp_path, ina3221(0, VDD_IN=6) | ina3221(1, VDD_IN=6))
    assert "ina3221@hwmon0, ina3221@hwmon1" in Hwmon(tmp_path).available()


@pytest.mark.parametrize("garbage", ["", "x", "-999999", "9" * 4000, "\x00", "1e3", "1_000"])
def test_one_bad_rail_neither_silences_nor_falsifies_the_others(tmp_path, garbage):
    write(tmp_path, ina3221(0, VDD_GPU_SOC=5, VDD_CPU_CV=garbage, VIN_SYS_5V0=4))
    source = Hwmon(tmp_path)
    assert source.available() is None
    assert source.sample() == pytest.approx(9)
    assert source.scope == "VDD_GPU_SOC + VIN_SYS_5V0"
    (caveat,) = source.caveats
    assert caveat.startswith("the power lacks VDD_CPU_CV: ")


def test_a_rail_that_is_switched_off_or_absent_is_told_apart(tmp_path):
    files = ina3221(0, VDD_GPU_SOC=5, VDD_CPU_CV="x", VIN_SYS_5V0=4)
    write(tmp_path, files | {"sys/class/hwmon/hwmon0/in2_enable": 0})
    source = Hwmon(tmp_path)
    assert source.caveats == ("the power lacks VDD_CPU_CV: it is absent",)
    assert source.sample() == pytest.approx(9)


def test_a_module_stands_in_for_an_input_that_cannot_be_read_and_says_so(tmp_path):
    files, _, _ = BOARDS["AGX Thor"]
    write(tmp_path, files | {"sys/class/hwmon/hwmon1/power1_input": "x"})
    source = Hwmon(tmp_path)
    assert source.available() is None
    assert source.scope == "VDD_GPU + VDD_CPU_SOC_MSS + VIN_SYS_5V0"
    assert "the power lacks ina238@hwmon1: " in source.caveats[0]


def test_rails_beside_an_input_that_cannot_be_read_are_not_taken_for_it(tmp_path):
    write(tmp_path, ina3221(0, VDD_IN="x", VDD_CPU_GPU_CV=2, VDD_SOC=1))
    assert "VDD_IN: " in Hwmon(tmp_path).available()


@pytest.mark.parametrize(
    ("reading", "words"),
    [("0", "exactly 0 W"), ("-5", "cannot be true"), ("x", "cannot be read as a number"),
     ("99000000000000", "cannot be true")],
)  # fmt: skip
def test_garbage_and_zeros_are_not_power(tmp_path, reading, words):
    chip = "sys/class/hwmon/hwmon0"
    write(tmp_path, {f"{chip}/name": "ina226", f"{chip}/power1_input": reading})
    source = Hwmon(tmp_path)
    assert words in source.available()
    with pytest.raises(SensorError, match=words):
        source.sample()


# --- NVML, with the driver's library replaced ------------------------------------------------


class FakeNvml(types.ModuleType):
    class NVMLError(Exception):
        pass

    def __init__(self, gpu="NVIDIA GeForce RTX 3090", *, has_counter=True):
        super().__init__("pynvml")
        self.energy_mj, self.power_mw, self.gpu, self.has_counter = 5_000, 120_000, gpu, has_counter

    def nvmlInit(self):
        pass

    def nvmlDeviceGetHandleByIndex(self, index):
        if index > 0:
            raise self.NVMLError("Invalid Argument")
        return index

    def nvmlDeviceGetTotalEnergyConsumption(self, handle):
        if not self.has_counter:
            raise self.NVMLError("Not Supported")
        return self.energy_mj

    def nvmlDeviceGetPowerUsage(self, handle):
        return self.power_mw

    def nvmlDeviceGetName(self, handle):
        return self.gpu


def test_nvml_counts_energy_from_the_first_reading(monkeypatch):
    fake = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    source = NvmlEnergy()
    assert source.available() is None
    assert source.counter() == 0.0
    fake.energy_mj += 2_500
    assert source.counter() == pytest.approx(2.5)


def test_nvml_prefers_the_counter_and_falls_back_to_power(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml())
    assert best_power_source("cuda", tmp_path).name == "nvml-energy"
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(has_counter=False))
    source = best_power_source("cuda", tmp_path)
    assert source.name == "nvml-power"
    assert source.sample() == pytest.approx(120.0)
    assert "Not Supported" in NvmlEnergy().available()
    assert "Invalid Argument" in NvmlPower(index=3).available()


@pytest.mark.parametrize(
    ("gpu", "coverage"), [("NVIDIA A100-SXM4-40GB", 0.25), (b"NVIDIA H100 PCIe", 0.25), ("T4", 1.0)]
)
def test_nvml_power_knows_the_gpus_that_look_a_quarter_of_the_time(monkeypatch, gpu, coverage):
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(gpu))
    source = NvmlPower()
    assert source.available() is None
    assert source.coverage == coverage


def test_nvml_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert 'pip install "edgetran[nvidia]"' in NvmlEnergy().available()


# --- Raspberry Pi 5 and Apple ----------------------------------------------------------------

PMIC = """cat <<'END'
     3V7_WL_SW_A current(0)=0.10000000A
     1V1_SYS_A current(2)=0.20000000A
   VDD_CORE_A current(7)=2.00000000A
     3V7_WL_SW_V volt(8)=3.70000000V
     1V1_SYS_V volt(10)=1.10000000V
   VDD_CORE_V volt(15)=0.80000000V
      EXT5V_V volt(24)=5.10000000V
END"""


def test_the_pi5_sums_the_rails_that_have_both_current_and_voltage(tmp_path):
    source = RaspberryPiPmic((program(tmp_path, PMIC),))
    assert source.available() is None
    assert source.sample() == pytest.approx(0.37 + 0.22 + 1.6)


def test_the_pi4_is_told_to_use_an_external_meter(tmp_path):
    source = RaspberryPiPmic((program(tmp_path, "echo 'Command not registered'"),))
    assert "Raspberry Pi 4 needs an external meter" in source.available()
    assert "not installed" in RaspberryPiPmic(("/nowhere/vcgencmd",)).available()


def test_powermetrics_is_followed_line_by_line_and_marked_as_a_model(tmp_path):
    text = (
        "while true; do echo 'CPU Power: 900 mW'; "
        "echo 'Combined Power (CPU + GPU + ANE): 1234 mW'; sleep 0.05; done"
    )
    source = AppleSilicon((program(tmp_path, text),))
    try:
        assert source.available() is None
        assert source.sample() == pytest.approx(1.234)
        assert source.model_based
    finally:
        source.close()


def test_powermetrics_that_prints_nothing_says_so(tmp_path):
    source = AppleSilicon((program(tmp_path, "echo 'must be invoked as the superuser' >&2"),))
    assert "printed no power (root may run it)" in source.available()
    assert "not installed" in AppleSilicon(("/nowhere/powermetrics",)).available()


# --- discovery -------------------------------------------------------------------------------


def test_every_source_says_why_it_is_missing(tmp_path):
    sources = {source.name: source.available() for source in power_sources(tmp_path)}
    known = ["hwmon", "pi5-pmic", "rapl", "powermetrics", "nvml-energy", "nvml-power"]
    assert [name for name in sources if name in known] == known
    unread = {"auto", "none", "external"}
    assert set(sources) == set(get_args(EnergySettings.model_fields["source"].annotation)) - unread
    assert "no INA2xx" in sources["hwmon"]
    assert "no RAPL" in sources["rapl"]


def test_without_any_source_every_reason_is_told(tmp_path):
    source = best_power_source(root=tmp_path)
    assert source.name == "none"
    for name in ("hwmon", "rapl", "pi5-pmic", "powermetrics"):
        assert name in source.available()
    assert "nvml" not in source.available(), "a GPU's sensor does not see the processor"
    with pytest.raises(SensorError):
        source.sample()


def test_board_rails_come_before_the_processors_counters_and_meters_before_both(tmp_path):
    rapl_tree(tmp_path)
    assert best_power_source(root=tmp_path).name == "rapl"
    write(
        tmp_path,
        {"sys/class/hwmon/hwmon0/name": "ina219", "sys/class/hwmon/hwmon0/power1_input": 3_000_000},
    )
    assert best_power_source(root=tmp_path).name == "hwmon"
    meter = external_source(f"command:{program(tmp_path, 'echo 4')}", COMMANDS)
    assert best_power_source(root=tmp_path, external=[meter]) is meter
    broken = external_source("command:/nowhere/meter", COMMANDS)
    assert best_power_source(root=tmp_path, external=[broken]).name == "hwmon"


def test_the_raspberry_pi_leaves_a_bad_rail_out_and_names_it(tmp_path):
    text = PMIC.replace("=0.20000000A", "=nanA").replace("     1V1_SYS_V", "     1V8_SYS_V")
    source = RaspberryPiPmic((program(tmp_path, text),))
    assert source.available() is None
    assert source.sample() == pytest.approx(0.37 + 1.6)
    assert source.caveats == (
        "the power lacks 1V1_SYS: reads 'nan' A",
        "the power lacks 1V8_SYS: has no current",
    )
    program(tmp_path, PMIC.replace("=2.00000000A", "=A"))
    with pytest.raises(SensorError, match="rail VDD_CORE: reads ''"):
        source.sample()


def test_what_programs_print_may_be_no_text(tmp_path):
    assert RaspberryPiPmic((program(tmp_path, r"printf '\377\376\n'"),)).available()
    source = AppleSilicon(
        (program(tmp_path, r"printf '\377\nCombined Power (x): 1.2.3 mW\n'", "powermetrics"),)
    )
    assert "printed no power" in source.available()
