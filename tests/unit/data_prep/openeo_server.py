"""A small openEO API on localhost: takes jobs, and answers with recorded result files. Computes nothing."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Backend:
    """State of the server: results by sensor, which sensors fail, whether the login holds, and the jobs seen."""

    def __init__(self, results: dict[str, Path]) -> None:
        self.results, self.failing, self.cut_short, self.empty = results, set(), set(), set()
        self.logged_in, self.jobs, self.url = True, {}, ""
        self.login_ends_after_jobs: int | None = None

    @staticmethod
    def sensor_of(graph: dict[str, Any]) -> str:
        text = json.dumps(graph)
        return "s1" if '"VV"' in text else "s2" if "B04" in text else "coarse"


@contextmanager
def serve(backend: Backend) -> Iterator[Backend]:
    """Run the server while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def answer(self, content: Any, status: int = 200, **headers: str) -> None:
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            kind = "application/octet-stream" if isinstance(content, bytes) else "application/json"
            for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_GET(self) -> None:
            path = self.path.split("?")[0].rstrip("/")
            if path == "":
                methods = {
                    "/jobs": ["GET", "POST"],
                    "/jobs/{job_id}": ["GET"],
                    "/jobs/{job_id}/results": ["GET", "POST"],
                }
                ends = [{"path": p, "methods": m} for p, m in methods.items()]
                self.answer({"api_version": "1.2.0", "backend_version": "0", "stac_version": "1.0.0", "type": "Catalog",
                             "id": "x", "title": "x", "description": "x", "links": [], "endpoints": ends})  # fmt: skip
            elif not backend.logged_in and path != "/.well-known/openeo":
                self.answer({"code": "TokenInvalid", "message": "the access token has expired"}, 403)
            elif path == "/me":
                self.answer({"user_id": "someone"})
            elif match := re.fullmatch(r"/jobs/([\w-]+)", path):
                job = backend.jobs[match[1]]
                self.answer({"id": match[1], "status": job["status"], "process": {"process_graph": job["graph"]}})
            elif match := re.fullmatch(r"/jobs/([\w-]+)/logs", path):
                self.answer(
                    {"logs": [{"id": "1", "level": "error", "message": "no space for 2021-13-45"}], "links": []}
                )
            elif match := re.fullmatch(r"/jobs/([\w-]+)/results", path):
                href = f"{backend.url}/data/{match[1]}/openEO.nc"
                asset = {"href": href, "type": "application/x-netcdf", "roles": ["data"]}
                assets = {} if backend.jobs[match[1]]["sensor"] in backend.empty else {"openEO.nc": asset}
                self.answer({"type": "Collection", "stac_version": "1.0.0", "id": match[1], "assets": assets})
            elif match := re.fullmatch(r"/data/([\w-]+)/openEO.nc", path):
                sensor = backend.jobs[match[1]]["sensor"]
                content = backend.results[sensor].read_bytes()
                self.answer(content[: len(content) // 2] if sensor in backend.cut_short else content)
            else:
                self.answer({"code": "NotFound", "message": path}, 404)

        do_HEAD = do_GET

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if not backend.logged_in:
                self.answer({"code": "TokenInvalid", "message": "the access token has expired"}, 403)
            elif self.path.rstrip("/") == "/jobs":
                told = json.loads(body)
                graph = told["process"]["process_graph"]
                name = f"j-{len(backend.jobs):03d}"
                sensor = Backend.sensor_of(graph)
                backend.jobs[name] = {"status": "created", "graph": graph, "sensor": sensor, "title": told.get("title")}
                self.answer({}, 201, OpenEO_Identifier=name, Location=f"{backend.url}/jobs/{name}")
            elif match := re.fullmatch(r"/jobs/([\w-]+)/results", self.path):
                job = backend.jobs[match[1]]
                job["status"] = "error" if job["sensor"] in backend.failing else "finished"
                if backend.login_ends_after_jobs == len(backend.jobs):
                    backend.logged_in, backend.login_ends_after_jobs = False, None
                self.answer(b"", 202)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    backend.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield backend
    finally:
        server.shutdown()
        server.server_close()
