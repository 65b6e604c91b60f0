"""Hub data sets at a pinned commit, against a real HTTP server that speaks the Hub's routes on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "README.md": b"# rows\n",
    "data/train.jsonl": b'{"prompt": "one", "answer": "1"}\n{"prompt": "two", "answer": "2"}\n',
    "data/test.jsonl": b'{"prompt": "three", "answer": "3"}\n',
    "data/test_hard-00000-of-00001.jsonl": b'{"prompt": "four", "answer": "4"}\n',
    "rows.py": b"raise SystemExit('a loading script must never run')\n",
}


class _Hub(BaseHTTPRequestHandler):
    """One public data set ``owner/rows`` and one gated ``owner/gated``."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        api = "/api/datasets/owner/rows"
        file = f"/datasets/owner/rows/resolve/{COMMIT}/"
        path = self.path.split("?")[0]
        if path == f"{api}/revision/{COMMIT}":  # what older clients ask
            siblings = [{"rfilename": name} for name in FILES]
            self._answer(json.dumps({"id": "owner/rows", "sha": COMMIT, "siblings": siblings}).encode())
        elif path == f"{api}/tree/{COMMIT}":
            files = [{"type": "file", "path": name, "size": len(raw), "oid": "0" * 40} for name, raw in FILES.items()]
            self._answer(json.dumps(files).encode())
        elif path.startswith(file) and path.removeprefix(file) in FILES:
            self._answer(FILES[path.removeprefix(file)])
        elif "/owner/gated/" in path:
            self._refuse(403, "GatedRepo")
        elif "/owner/rows/" in path:
            self._refuse(404, "RevisionNotFound")
        else:
            self._refuse(404, "RepoNotFound")

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{len(body)}-{hash(body)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Stay silent."""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


PROGRAM = """
import json, sys
from pathlib import Path
from hpc_trex.errors import TrexError
from hpc_trex.ftbench.readers import read_source
from hpc_trex.models import Source
for text in sys.argv[1:]:
    try:
        rows = [row.columns for row in read_source(Source.model_validate_json(text), Path("card.toml"))]
        print(json.dumps({"code": 0, "rows": rows}))
    except TrexError as error:
        print(json.dumps({"code": error.exit_code, "message": error.message, "hint": error.hint}))
"""
ROWS = [{"prompt": "one", "answer": "1"}, {"prompt": "two", "answer": "2"}]


def _read(endpoint: str, home: Path, *sources: dict[str, str]) -> list[dict[str, Any]]:
    """Read hub sources in a process of its own: the Hub's client reads its endpoint and cache when imported."""
    whole = [{"hub": "owner/rows", "revision": COMMIT, "split": "train"} | fields for fields in sources]
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(json.dumps, whole)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(sources)
    return answers


def test_a_split_is_fetched_at_its_commit_and_each_refusal_is_one_clear_line(endpoint: str, tmp_path: Path) -> None:
    cases = [
        ({"hub": "owner/nothing"}, 3, "does not exist"),
        ({"hub": "owner/gated"}, 4, "gated"),
        ({"revision": "f" * 40}, 3, "no such commit"),
        ({"split": "validation"}, 2, "data/train.jsonl"),
        ({"hub": "no id!"}, 2, "no data set id"),
    ]
    read, *refused = _read(endpoint, tmp_path, {}, *(fields for fields, _, _ in cases))
    assert read == {"code": 0, "rows": ROWS}
    assert not list(tmp_path.rglob("rows.py")), "scripts are not even fetched"
    for problem, (_, code, words) in zip(refused, cases, strict=True):
        assert problem["code"] == code, problem
        assert words in problem["message"]
        assert "\n" not in problem["message"]
        assert problem["hint"]

    hard, test = _read(endpoint, tmp_path, {"split": "test_hard"}, {"split": "test"})
    assert [row["prompt"] for row in hard["rows"]] == ["four"]
    assert [row["prompt"] for row in test["rows"]] == ["three"], "a split whose name only begins alike is another one"

    cached, missing = _read("http://127.0.0.1:9", tmp_path, {}, {"hub": "owner/other"})
    assert cached == {"code": 0, "rows": ROWS}, "what was fetched once is read without network"
    assert missing["code"] == 8
    assert "\n" not in missing["message"]
    assert COMMIT in missing["hint"]
