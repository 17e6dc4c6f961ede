"""Meters that are none: what they say is never repeated, and they lead nowhere else."""

import http.server
import os
import pathlib
import socket
import stat
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetran.api.allowances import MeterAllowance
from edgetran.devices import DeviceError, external_source
from edgetran.devices.power import SensorError
from edgetran.devices.power.external import MAX_ANSWER_BYTES, _follow, _watts

COMMANDS = MeterAllowance(commands=True)
SECRET = "hunter2-opensesame"  # noqa: S105 - made up
GENEROUS_S = 60.0


class Page(http.server.BaseHTTPRequestHandler):
    """A server of all kinds of pages; class attributes remember what was asked."""

    asked: list[str]
    elsewhere = ""

    def do_GET(self):
        self.asked.append(self.path)
        pages = {
            "/secret": (200, {}, SECRET.encode()),
            "/json": (200, {}, f'{{"a": "{SECRET}"}}'.encode()),
            "/bytes": (200, {}, b"\xff\xfe\x00" + SECRET.encode()),
            "/deep": (200, {}, b"[" * 60_000),
            "/huge": (200, {}, b"1" * (MAX_ANSWER_BYTES + 1)),
            "/infinite": (200, {}, b'{"a": 1' + b"0" * 400 + b"}"),
            "/error": (500, {}, SECRET.encode()),
            "/here": (302, {"Location": "/watts"}, SECRET.encode()),
            "/there": (302, {"Location": f"{self.elsewhere}/watts"}, SECRET.encode()),
            "/file": (302, {"Location": "file:///etc/passwd"}, b""),
            "/circle": (302, {"Location": "/circle"}, b""),
            "/watts": (200, {}, b"7.25 W"),
        }
        status, headers, body = pages[self.path.partition("?")[0]]
        self.send_response(status, SECRET)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


def serve(elsewhere=""):
    handler = type("Handler", (Page,), {"asked": [], "elsewhere": elsewhere})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, handler, f"http://127.0.0.1:{server.server_port}"


@pytest.fixture
def other():
    server, handler, address = serve()
    yield handler, address
    server.shutdown()
    server.server_close()


@pytest.fixture
def page(other):
    server, _, address = serve(other[1])
    yield address
    server.shutdown()
    server.server_close()


def answering(reply, pause_s=0.0):
    """A port that says `reply` over and over, whatever it is asked."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer():
        connection, _ = listener.accept()
        with connection, listener:
            connection.recv(4096)
            try:
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" if pause_s else reply)
                while pause_s:
                    connection.sendall(reply)
                    time.sleep(pause_s)
            except OSError:
                pass

    threading.Thread(target=answer, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}/"


@pytest.mark.parametrize(
    "path",
    ["/secret", "/json#a", "/json#b.c", "/bytes", "/deep#a", "/deep", "/huge", "/infinite#a",
     "/error", "/there", "/file", "/circle"],
)  # fmt: skip
def test_what_a_page_says_is_never_repeated(page, path):
    source = external_source(f"{page}{path.replace('#', f'?key={SECRET}#')}")
    reason = source.available()
    assert reason is not None
    assert SECRET not in reason
    assert SECRET not in source.scope
    assert "\n" not in reason


@pytest.mark.parametrize("reply", [f"{SECRET}\r\n".encode(), b"\xff" * 70_000, b""])
def test_a_port_that_speaks_something_else_is_no_meter(reply):
    reason = external_source(answering(reply)).available()
    assert reason is not None
    assert SECRET not in reason


def test_a_page_that_never_ends_is_left_in_bounded_time():
    begin = time.monotonic()
    reason = external_source(answering(b"1", pause_s=0.05)).available()
    assert "within the time" in reason
    assert time.monotonic() - begin < GENEROUS_S


def test_a_meter_may_send_on_to_a_page_of_its_own_and_to_no_other_host(page, other):
    assert external_source(f"{page}/here").sample() == pytest.approx(7.25)
    handler, _ = other
    assert "status 302" in external_source(f"{page}/there").available()
    assert handler.asked == []


def test_a_meter_may_not_send_on_to_a_page_that_is_not_allowed(page):
    allowed = MeterAllowance(addresses=(f"{page}/here",))
    assert "status 302" in external_source(f"{page}/here", allowed).available()


def test_a_proxy_of_the_environment_is_not_asked(page, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert external_source(f"{page}/watts").sample() == pytest.approx(7.25)


@pytest.mark.parametrize(
    "address", ["http://name:hunter2@meter/x", "http://[::1/x", "http://", "https:///x"]
)
def test_an_address_with_a_password_or_no_host_is_refused_and_not_repeated(address):
    with pytest.raises(DeviceError, match="allowed is http") as caught:
        external_source(address)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("address", ["http://é.example/ü", "http://127.0.0.1:x/", "http://a b/"])
def test_an_address_that_cannot_be_asked_is_a_reason_and_no_traceback(address):
    assert external_source(address).available() is not None


def program(tmp_path: pathlib.Path, text: str) -> str:
    path = tmp_path / "meter"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_a_command_needs_consent(tmp_path):
    trace = tmp_path / "ran"
    address = f"command:{program(tmp_path, f'touch {trace}; echo 5')}"
    with pytest.raises(DeviceError, match="give --allow-commands if you trust this spec"):
        external_source(address)
    assert not trace.exists()
    assert external_source(address, COMMANDS).sample() == 5
    assert trace.exists()


@pytest.mark.parametrize(
    "text", [f"echo {SECRET}", f"echo {SECRET} >&2; exit 3", "printf '\\377\\376'", "yes"]
)
def test_what_a_command_prints_is_never_repeated(tmp_path, text):
    reason = external_source(f"command:{program(tmp_path, text)}", COMMANDS).available()
    assert reason is not None
    assert SECRET not in reason


def test_a_command_that_hangs_is_ended_with_all_that_it_started(tmp_path):
    pids = tmp_path / "pids"
    text = f"sleep 600 & echo $! >{pids}; wait"
    reason = external_source(f"command:{program(tmp_path, text)}", COMMANDS).available()
    assert "within the time" in reason
    child = int(pids.read_text())
    deadline = time.monotonic() + GENEROUS_S
    while running(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not running(child)


def running(pid: int) -> bool:
    try:
        status = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def test_a_command_of_words_that_do_not_end_is_refused():
    with pytest.raises(DeviceError, match="allowed are words as a shell takes them"):
        external_source("command:meter 'watts", COMMANDS)


def test_a_serial_meter_is_a_line_below_dev_and_no_other_file(tmp_path):
    (tmp_path / "token").write_text(SECRET)
    with pytest.raises(DeviceError, match="allowed are"):
        external_source(f"serial:{tmp_path}/token")
    assert (
        external_source("serial:/dev/null").available() == "serial: /dev/null is not a serial line"
    )
    open_files = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    external_source("serial:/dev/null").available()
    assert len(os.listdir("/proc/self/fd")) == open_files  # noqa: PTH208


@pytest.mark.parametrize(
    ("text", "watts"),
    [("3.5 Watts", 3.5), ("P1: 3.5W", 3.5), ("power=950 mW;", 0.95), ("1e1W", 10.0), (".5 6", 6.0)],
)
def test_a_number_stands_by_itself(text, watts):
    assert _watts("http", text) == pytest.approx(watts)


@pytest.mark.parametrize("text", ["1" * 60_000, "1" * 60_000 + "x", "7.25kWh", "x5", "1.2.3", ""])
def test_what_is_no_number_is_refused_at_once(text):
    with pytest.raises(SensorError, match="no number"):
        _watts("http", text)


@given(st.text(max_size=200), st.text(max_size=20))
@settings(deadline=None)
def test_any_reading_is_watts_or_a_reason(text, path):
    for read in (lambda: _watts("http", text), lambda: _follow(text, path)):
        try:
            watts = read()
        except SensorError:
            continue
        assert watts > 0
