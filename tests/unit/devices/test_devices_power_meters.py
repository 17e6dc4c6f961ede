"""Meters beside a board: a page, a program, a serial line."""

import http.server
import os
import pty
import threading

import pytest
from devices_power import program

from edgetran.api.allowances import MeterAllowance
from edgetran.devices import DeviceError, external_source
from edgetran.devices.power import SensorError

COMMANDS = MeterAllowance(commands=True)


@pytest.fixture
def page():
    answers = {"/watts": "7.25 W", "/mw": "950 mW", "/json": '{"emeters": [{"power": 3.5}]}',
               "/bad": "offline"}  # fmt: skip

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path in answers else 404)
            self.end_headers()
            self.wfile.write(answers.get(self.path, "").encode())

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_an_http_meter_answers_with_a_number_or_json(page):
    assert external_source(f"{page}/watts").sample() == pytest.approx(7.25)
    assert external_source(f"{page}/mw").sample() == pytest.approx(0.95)
    assert external_source(f"{page}/json#emeters.0.power").sample() == pytest.approx(3.5)


def test_an_http_meter_says_what_is_wrong(page):
    assert "no number in the reading" in external_source(f"{page}/bad").available()
    assert "404" in external_source(f"{page}/absent").available()
    assert "no number at 'x.y'" in external_source(f"{page}/json#x.y").available()
    assert "refused" in external_source("http://127.0.0.1:9").available().lower()


def test_a_command_prints_watts(tmp_path):
    assert external_source(f"command:{program(tmp_path, 'echo $1')} 4.5", COMMANDS).sample() == 4.5
    failing = program(tmp_path, "exit 3", "failing")
    assert "exited with 3" in external_source(f"command:{failing}", COMMANDS).available()
    assert "No such file" in external_source("command:/nowhere/meter", COMMANDS).available()


def test_a_serial_meter_gives_its_newest_whole_line():
    meter, line = pty.openpty()
    source = external_source(f"serial:{os.ttyname(line)}?baud=9600")
    try:
        assert source.available() is None
        with pytest.raises(SensorError, match="no reading yet"):
            source.sample()
        os.write(meter, b"5.10\n5.20\n5.")
        assert source.sample() == pytest.approx(5.2)
        os.write(meter, b"30\n")
        assert source.sample() == pytest.approx(5.3)
    finally:
        source.close()
        os.close(meter)
        os.close(line)


def test_a_serial_line_that_is_absent_says_so():
    assert "/dev/nowhere: No such file" in external_source("serial:/dev/nowhere").available()


@pytest.mark.parametrize(
    "address", ["ftp://meter", "meter", "command:", "serial:", "serial:/dev/x?baud=fast"]
)
def test_an_address_of_another_form_is_refused_with_what_is_allowed(address):
    with pytest.raises(DeviceError, match="allowed"):
        external_source(address, COMMANDS)
