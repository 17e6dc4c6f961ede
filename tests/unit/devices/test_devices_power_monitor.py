"""The monitor samples real threads in real time, at low cost, and explains every null."""

import threading
import time

import numpy as np
import pytest

from edgetran.devices.power import NoPower, PowerMonitor, PowerSource, Rapl, SensorError
from edgetran.devices.power.monitor import MAX_DUTY, measure_update_period


class Simulated(PowerSource):
    """A sensor of a true power function of time, updated every `period_s`."""

    name = "simulated"
    quantity = "power"
    scope = "the whole board"

    def __init__(self, power, period_s=0.02, quantity="power"):
        self.power, self.period_s, self.quantity = power, period_s, quantity
        self.fail: str | None = None
        self.closed = False

    def available(self):
        return self.fail

    def _now(self):
        if self.fail:
            raise SensorError(self.fail)
        return np.floor(time.monotonic() / self.period_s) * self.period_s

    def sample(self):
        return float(self.power(self._now()))

    def counter(self):
        # The energy of power(t) = a + b·t, which the tests of counters use.
        now = self._now()
        return float(4.0 * now)

    def close(self):
        self.closed = True


def wavy(t):
    return 5.0 + 2.0 * np.sin(2 * np.pi * t / 0.31)


def run(source, seconds=1.2, before=0.3):
    with PowerMonitor(source) as monitor:
        time.sleep(before)
        start = time.monotonic()
        time.sleep(seconds)
        end = time.monotonic()
        return monitor.reading(start, end), start, end


def test_energy_and_power_of_a_run():
    reading, start, end = run(Simulated(wavy))
    t = np.linspace(start, end, 10_000)
    truth = np.trapezoid(wavy(t), t)
    assert reading.energy_j.value == pytest.approx(truth, rel=0.01)
    assert reading.mean_power_w.value == pytest.approx(truth / (end - start), rel=0.01)
    assert 5.5 < reading.peak_power_w.value <= 7.0
    assert reading.update_period_s == pytest.approx(0.02, rel=0.3)
    assert reading.scope == "the whole board"
    assert reading.to_dict()["energy_j"]["unit"] == "J"


def test_energy_of_a_counter():
    reading, start, end = run(Simulated(None, quantity="energy"))
    assert reading.energy_j.value == pytest.approx(4.0 * (end - start), rel=0.01)


def test_a_short_window_is_told():
    reading, _, _ = run(Simulated(wavy, period_s=0.05), seconds=1.0)
    assert any("shorter than 5.0 s" in note for note in reading.notes)
    assert any("sensor updates, fewer than 50" in note for note in reading.notes)


def test_a_source_that_is_not_available_gives_its_reason_and_no_thread():
    before = threading.active_count()
    with PowerMonitor(NoPower("rapl: permission denied")) as monitor:
        assert threading.active_count() == before
        reading = monitor.reading(time.monotonic() - 1, time.monotonic())
    for figure in (reading.energy_j, reading.mean_power_w, reading.peak_power_w):
        assert figure.value is None
        assert figure.reason == "rapl: permission denied"


def test_a_sensor_that_vanishes_mid_run_gives_its_words_not_an_error():
    source = Simulated(wavy)
    with PowerMonitor(source) as monitor:
        time.sleep(0.4)
        start = time.monotonic()
        time.sleep(0.2)
        source.fail = "simulated: no such device"
        time.sleep(1.0)
        reading = monitor.reading(start, time.monotonic())
    assert reading.energy_j.value is None
    assert "no such device" in reading.energy_j.reason
    assert reading.peak_power_w.value is None
    assert reading.mean_power_w.reason == reading.energy_j.reason


@pytest.mark.parametrize("constant", [3.0])
def test_a_sensor_that_never_changes_is_not_believed(constant):
    reading, _, _ = run(Simulated(lambda t: constant), seconds=0.5)
    assert reading.energy_j.value is None
    assert "stalled or too coarse" in reading.energy_j.reason


def test_rapl_vanishing_from_a_fake_tree_is_a_reason(tmp_path):
    zone = tmp_path / "sys/class/powercap/intel-rapl:0"
    zone.mkdir(parents=True)
    (zone / "name").write_text("package-0\n")
    (zone / "max_energy_range_uj").write_text("10000000\n")
    (zone / "energy_uj").write_text("9000000\n")
    stop = threading.Event()

    def count():
        begin = time.monotonic()
        while not stop.wait(0.002):
            energy = 9_000_000 + int((time.monotonic() - begin) * 5e6)
            (zone / "energy_uj.new").write_text(str(energy % 10_000_000))
            (zone / "energy_uj.new").replace(zone / "energy_uj")

    counter = threading.Thread(target=count)
    counter.start()
    try:
        with PowerMonitor(Rapl(tmp_path)) as monitor:
            time.sleep(0.3)
            start = time.monotonic()
            time.sleep(1.0)  # 5 W × 1 s: wraps once at 10 J in the two seconds
            reading = monitor.reading(start, time.monotonic())
            stop.set()
            counter.join()
            (zone / "energy_uj").unlink()
            time.sleep(0.8)
            gone = monitor.reading(start, time.monotonic())
    finally:
        stop.set()
        counter.join()
    assert reading.energy_j.value == pytest.approx(5.0 * reading.duration_s, rel=0.02)
    assert gone.energy_j.value is None
    assert "cannot be read any more" in gone.energy_j.reason


def test_a_sensor_that_sees_part_of_the_time_gives_no_peak_and_says_so():
    source = Simulated(wavy)
    source.coverage = 0.25
    reading, _, _ = run(source, seconds=0.5)
    assert reading.energy_j.value is not None
    assert reading.peak_power_w.reason == "the sensor sees only 25% of the time"
    assert "the sensor sees 25% of the time" in reading.notes


def test_a_model_based_source_is_marked():
    source = Simulated(wavy)
    source.model_based = True
    reading, _, _ = run(source, seconds=0.5)
    assert reading.model_based
    assert any("by a model" in note for note in reading.notes)


def test_a_costly_source_is_read_less_often():
    class Costly(Simulated):
        def sample(self):
            until = time.thread_time() + 0.004
            while time.thread_time() < until:
                pass
            return super().sample()

    with PowerMonitor(Costly(wavy)) as monitor:
        assert monitor.interval_s >= 0.9 * 0.004 / MAX_DUTY


def test_a_source_that_spares_its_meter_is_read_no_more_often_than_it_wants():
    source = Simulated(wavy)
    source.min_interval_s = 0.25
    with PowerMonitor(source) as monitor:
        assert monitor.interval_s == 0.25


def test_sampling_costs_little_of_a_core():
    source = Simulated(wavy)
    with PowerMonitor(source) as monitor:
        thread = monitor._thread
        before = time.process_time()
        time.sleep(1.0)
        spent = time.process_time() - before
        assert thread.is_alive()
    assert spent < 0.05
    assert source.closed
    assert not thread.is_alive()


def test_the_update_period_is_measured():
    assert measure_update_period(Simulated(wavy, 0.05), seconds=1.0) == pytest.approx(
        0.05, rel=0.15
    )
    assert measure_update_period(Simulated(lambda t: 3.0), seconds=0.2) is None


def test_what_a_sum_lacks_is_told_beside_its_figures():
    source = Simulated(wavy)
    source.caveats = ("the power lacks VDD_SOC: it is absent",)
    reading, _, _ = run(source, seconds=0.5)
    assert reading.energy_j.value is not None
    assert "the power lacks VDD_SOC: it is absent" in reading.notes


@pytest.mark.parametrize("place", ["available", "read", "close"])
def test_whatever_a_sensor_raises_does_not_end_what_is_measured(place):
    class Broken(Simulated):
        def available(self):
            return self.broken("available")

        def sample(self):
            self.broken("read")
            return super().sample()

        def close(self):
            self.broken("close")

        def broken(self, here):
            if here == place:
                raise OverflowError("int too large to convert to float")

    reading, _, _ = run(Broken(wavy), seconds=0.4)
    if place == "close":
        assert reading.energy_j.value is not None
    else:
        assert "OverflowError: int too large" in reading.energy_j.reason
