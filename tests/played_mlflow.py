"""The part of MLflow's REST API that tracking speaks, with a memory and with moods."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class PlayedMlflow:
    """A server of one process.

    Attributes:
        experiments: id by name.
        runs: what was told of each run, by its id.
        mood: what becomes of a request: "well"; "down", an error of the server's; "hanging", no
            answer while it lasts.
        forgets_from: the request, by number, from which on answers are lost though all is done.
        requests: every path that was asked for.
    """

    def __init__(self) -> None:
        self.experiments: dict[str, str] = {}
        self.runs: dict[str, dict] = {}
        self.deleted: set[str] = set()
        self.refused: set[str] = set()
        self.mood = "well"
        self.requests: list[str] = []
        self.awake = threading.Event()
        self.forgets_from: int | None = None
        self.redirect: str | None = None
        self.uri = ""

    def by_name(self) -> dict[str, dict]:
        """The runs by their names; a name that two have is a mistake."""
        names = [run["name"] for run in self.runs.values()]
        assert len(names) == len(set(names)), names
        return {run["name"]: run for run in self.runs.values()}

    def answer(self, path: str, given: dict) -> tuple[int, dict]:
        if path == "experiments/get-by-name":
            found = self.experiments.get(given["experiment_name"])
            if found is None:
                return 404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "none"}
            stage = "deleted" if given["experiment_name"] in self.deleted else "active"
            return 200, {"experiment": {"experiment_id": found, "lifecycle_stage": stage}}
        if path == "experiments/create":
            self.experiments[given["name"]] = made = str(len(self.experiments) + 1)
            return 200, {"experiment_id": made}
        if path == "runs/create":
            number = f"{len(self.runs):032x}"
            self.runs[number] = {
                "experiment": given["experiment_id"],
                "name": given["run_name"],
                "start_time": given.get("start_time", 1),
                "status": "RUNNING",
                "end_time": None,
                "tags": {each["key"]: each["value"] for each in given["tags"]},
                "params": {},
                "metrics": {},
            }
            return 200, {"run": self._run(number)}
        if path == "runs/search":
            wanted = given["filter"].split("'")[1]
            found = [
                self._run(number)
                for number, run in self.runs.items()
                if run["experiment"] in given["experiment_ids"]
                and run["tags"].get("edgetran.run") == wanted
            ]
            start = int(given.get("page_token") or 0)
            page = {"runs": found[start : start + 2]}
            return 200, page | ({"next_page_token": str(start + 2)} if found[start + 2 :] else {})
        run = self.runs[given["run_id"]]
        if path == "runs/log-batch":
            if run["name"] in self.refused:
                return 400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "a secret page"}
            for param in given.get("params", ()):
                assert run["params"].setdefault(param["key"], param["value"]) == param["value"]
            run["tags"] |= {each["key"]: each["value"] for each in given.get("tags", ())}
            for each in given.get("metrics", ()):
                point = (each["timestamp"], each["value"])
                points = run["metrics"].setdefault(each["key"], [])
                if point not in points:  # as MLflow's databases
                    points.append(point)
            return 200, {}
        assert path == "runs/update"
        run["status"], run["end_time"] = given["status"], given.get("end_time")
        return 200, {"run_info": self._run(given["run_id"])["info"]}

    def _run(self, number: str) -> dict:
        run = self.runs[number]
        info = {
            "run_id": number,
            "run_uuid": number,
            "experiment_id": run["experiment"],
            "status": run["status"],
            "start_time": run["start_time"],
            "lifecycle_stage": "active",
        }
        tags = [{"key": key, "value": value} for key, value in run["tags"].items()]
        return {"info": info, "data": {"tags": tags}}


@contextmanager
def played_mlflow() -> Iterator[PlayedMlflow]:
    server = PlayedMlflow()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *given):
            pass

        def do_GET(self):
            query = parse_qs(urlsplit(self.path).query)
            self.respond({key: values[0] for key, values in query.items()})

        def do_POST(self):
            self.respond(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def respond(self, given):
            path = urlsplit(self.path).path.removeprefix("/api/2.0/mlflow/")
            server.requests.append(path)
            if server.mood == "hanging":
                server.awake.wait(60)
                self.close_connection = True
                return
            if server.redirect is not None:
                self.send_response(307)
                self.send_header("Location", server.redirect + self.path)
                self.end_headers()
                return
            status, body = 503, {"error_code": "TEMPORARILY_UNAVAILABLE", "message": "later"}
            if server.mood != "down":
                status, body = server.answer(path, given)
            if server.forgets_from is not None and len(server.requests) >= server.forgets_from:
                self.close_connection = True
                return
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    httpd.block_on_close = False
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    server.uri = f"http://127.0.0.1:{httpd.server_port}"
    try:
        yield server
    finally:
        server.awake.set()
        httpd.shutdown()
        httpd.server_close()
