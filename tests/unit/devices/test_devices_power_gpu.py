"""The GPU that computes is the GPU that is read, whatever CUDA and NVML call it."""

import ctypes
import sys
import types
import uuid

import pytest

from edgetran.devices.power import CounterResetError, NvmlEnergy, NvmlPower, PowerMonitor, gpu

GPUS = (
    ("NVIDIA T400", "0000:03:00.0", "GPU-00000000-0000-0000-0000-000000000001"),
    ("NVIDIA RTX 4090", "0000:81:00.0", "GPU-00000000-0000-0000-0000-000000000002"),
)


class Nvml(types.ModuleType):
    """NVML with GPUs, whose energy is 1000 mJ, 2000 mJ, … by their place on the bus."""

    class NVMLError(Exception):
        pass

    class NVMLError_FunctionNotFound(NVMLError):
        pass

    def __init__(self, gpus=GPUS, lacks=()):
        super().__init__("pynvml")
        self.gpus, self.fails = gpus, {}
        for name in lacks:
            setattr(self, name, self._not_found)

    def _not_found(self, *_):
        raise self.NVMLError_FunctionNotFound("Function Not Found")

    def _answer(self, function, value):
        if function in self.fails:
            raise self.fails[function]
        return value

    def nvmlInit(self):
        self._answer("nvmlInit", None)

    def nvmlDeviceGetCount(self):
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index):
        if not 0 <= index < len(self.gpus):
            raise self.NVMLError("Invalid Argument")
        return index

    def _find(self, column, wanted):
        for index, entry in enumerate(self.gpus):
            if entry[column].encode() == wanted:
                return index
        raise self.NVMLError("Not Found")

    def nvmlDeviceGetHandleByPciBusId(self, bus_id):
        return self._find(1, bus_id)

    def nvmlDeviceGetHandleByUUID(self, wanted):
        return ("mig", 1) if wanted.startswith(b"MIG-") else self._find(2, wanted)

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, handle):
        return handle[1]

    def nvmlDeviceGetName(self, handle):
        return self._answer("nvmlDeviceGetName", self.gpus[handle][0])

    def nvmlDeviceGetUUID(self, handle):
        return self.gpus[handle][2].encode()

    def nvmlDeviceGetMigMode(self, handle):
        return [0, 0]

    def nvmlDeviceGetTotalEnergyConsumption(self, handle):
        return self._answer("nvmlDeviceGetTotalEnergyConsumption", 1000 * (handle + 1))

    def nvmlDeviceGetPowerUsage(self, handle):
        return self._answer("nvmlDeviceGetPowerUsage", 30_000 * (handle + 1))


class Driver:
    """CUDA's driver, which sees GPUs in an order of its own."""

    def __init__(self, order, status=0):
        self.order, self.status = order, status

    def cuInit(self, flags):
        return self.status

    def cuDeviceGetCount(self, count):
        count._obj.value = len(self.order)
        return 0

    def cuDeviceGet(self, device, ordinal):
        device._obj.value = self.order[ordinal]
        return 0

    def cuDeviceGetPCIBusId(self, text, length, device):
        text.value = GPUS[device.value][1].encode()
        return 0

    def cuDeviceGetUuid(self, content, device):
        plain = uuid.UUID(GPUS[device.value][2].removeprefix("GPU-")).bytes
        ctypes.memmove(content._obj, plain, 16)
        return 0


@pytest.fixture
def machine(monkeypatch):
    """`machine(nvml, driver, **variables)` makes this machine one with GPUs."""

    def make(nvml=None, driver=None, **variables):
        nvml = nvml or Nvml()
        monkeypatch.setitem(sys.modules, "pynvml", nvml)
        monkeypatch.setattr(gpu, "_driver", lambda: driver)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        for name, value in ({"CUDA_DEVICE_ORDER": "PCI_BUS_ID"} | variables).items():
            monkeypatch.setenv(name, value)
        return nvml

    return make


@pytest.mark.parametrize("lacks", [(), ("nvmlDeviceGetHandleByPciBusId",)])
def test_cudas_driver_says_which_gpu_computes(machine, lacks):
    machine(Nvml(lacks=lacks), Driver(order=(1, 0)))  # the fastest first
    source = NvmlEnergy()
    assert source.available() is None
    assert source.scope == f"gpu 0, NVIDIA RTX 4090, {GPUS[1][2]}"
    second = NvmlPower(1)
    assert second.available() is None
    assert second.sample() == pytest.approx(30)


def test_a_gpu_that_nvml_does_not_find_is_not_replaced_by_another(machine):
    machine(Nvml(GPUS[:1]), Driver(order=(1,)))
    assert NvmlPower().available() == (
        "nvml: does not find the GPU at 0000:81:00.0: NVMLError: Not Found"
    )


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({"CUDA_VISIBLE_DEVICES": "1"}, "RTX 4090"),
        ({"CUDA_VISIBLE_DEVICES": " 1 , 0"}, "RTX 4090"),
        ({}, "T400"),
        ({"CUDA_VISIBLE_DEVICES": GPUS[1][2]}, "RTX 4090"),
        ({"CUDA_VISIBLE_DEVICES": f"MIG-{GPUS[0][2]}/1/0"}, "T400"),
        ({"CUDA_VISIBLE_DEVICES": "MIG-11111111-1111-1111-1111-111111111111"}, "RTX 4090"),
    ],
)
def test_without_the_driver_the_variables_are_read_as_cuda_reads_them(machine, variables, name):
    machine(**variables)
    source = NvmlEnergy()
    assert source.available() is None
    assert name in source.scope
    sliced = "MIG" in variables.get("CUDA_VISIBLE_DEVICES", "")
    assert source.caveats == (
        ("the whole GPU is sensed, with its other MIG instances",) if sliced else ()
    )


def test_the_beginning_of_an_identifier_names_the_gpu_that_has_it(machine):
    gpus = (GPUS[0], ("A", "0000:90:00.0", "GPU-ab000000-0000-0000-0000-000000000000"))
    machine(Nvml(gpus), CUDA_VISIBLE_DEVICES="GPU-ab")
    source = NvmlEnergy()
    assert source.available() is None
    assert gpus[1][2] in source.scope
    machine(CUDA_VISIBLE_DEVICES="GPU-0")
    assert "the UUIDs of 2 GPUs begin with GPU-0" in NvmlEnergy().available()


@pytest.mark.parametrize("visible", ["", "-1", "none", "-1,0", "x,0", "99999"])
def test_no_visible_gpu_is_a_reason(machine, visible):
    machine(CUDA_VISIBLE_DEVICES=visible)
    assert f"CUDA_VISIBLE_DEVICES is {visible!r}" in NvmlPower().available()
    machine(driver=Driver((), status=100), CUDA_VISIBLE_DEVICES=visible)
    assert f"sees no GPU (CUDA_VISIBLE_DEVICES is {visible!r})" in NvmlPower().available()


def test_an_order_that_nobody_knows_is_not_guessed(machine):
    order = {"CUDA_DEVICE_ORDER": "FASTEST_FIRST"}
    machine(CUDA_VISIBLE_DEVICES="1", **order)
    assert "set CUDA_DEVICE_ORDER=PCI_BUS_ID" in NvmlPower().available()
    machine(Nvml((GPUS[0], ("NVIDIA T400", *GPUS[1][1:]))), **order)
    assert NvmlPower().available() is None


class Unspeakable(Exception):
    def __str__(self):
        raise OSError("the library that knows the words is the broken one")


@pytest.mark.parametrize("function", ["nvmlInit", "nvmlDeviceGetPowerUsage"])
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (Nvml.NVMLError("Driver/library version mismatch"), "version mismatch"),
        (Nvml.NVMLError_FunctionNotFound("Function Not Found"), "Function Not Found"),
        (AttributeError("undefined symbol: nvmlThis"), "undefined symbol"),
        (OSError("libnvidia-ml.so.1: file too short"), "file too short"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "invalid start byte"),
        (Unspeakable(), "Unspeakable"),
    ],
)
def test_a_broken_library_is_a_reason(machine, function, error, words):
    machine().fails[function] = error
    assert words in NvmlPower().available()


@pytest.mark.parametrize("answer", [None, "many", float("nan"), -1, 10**400, 0])
def test_no_power_is_made_of_what_is_none(machine, monkeypatch, answer):
    monkeypatch.setattr(machine(), "nvmlDeviceGetPowerUsage", lambda handle: answer)
    assert NvmlPower().available()


def test_a_gpu_without_a_name_may_rest_at_times(machine):
    machine().fails["nvmlDeviceGetName"] = Nvml.NVMLError("Unknown Error")
    source = NvmlPower()
    assert source.available() is None
    assert "does not report its name" in source.caveats[0]


def test_a_gpu_that_is_lost_while_it_is_read_ends_in_a_null_with_the_reason(machine):
    nvml = machine()
    with PowerMonitor(NvmlPower()) as monitor:
        start = monitor._readings[0][0]
        nvml.fails["nvmlDeviceGetPowerUsage"] = Nvml.NVMLError("GPU is lost")
        while not monitor._failures:
            pass
        reading = monitor.reading(start, monitor._failures[0][0] + 1)
    assert reading.energy_j.value is None
    assert "GPU is lost" in reading.energy_j.reason


def test_a_driver_that_is_loaded_anew_counts_from_zero_and_that_is_said(machine, monkeypatch):
    energies = iter([5000, 9000, 10, 1010])
    monkeypatch.setattr(
        machine(), "nvmlDeviceGetTotalEnergyConsumption", lambda handle: next(energies)
    )
    source = NvmlEnergy()
    assert source.available() is None
    assert source.counter() == pytest.approx(4)
    with pytest.raises(CounterResetError, match="went back"):
        source.counter()
    assert source.counter() == pytest.approx(5)
