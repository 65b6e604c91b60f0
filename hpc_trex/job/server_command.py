"""Which server serves a model on this node, with which words, and whether it answers."""

from __future__ import annotations

import http.client
import importlib.util
import os
import re
import shutil
import socket
import sys
from pathlib import Path
from typing import NamedTuple

from hpc_trex.errors import UsageProblem
from hpc_trex.models import ServeSpec

_ANSWER_SECONDS = 5.0
#: A word may hold other braces: JSON is a usual option of servers.
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


class Server(NamedTuple):
    """A server to be started."""

    words: list[str]
    port: int
    model: str
    """What its clients must call the model."""


def free_port() -> int:
    """Return a port that nobody on this node uses just now."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def server_for(spec: ServeSpec, port: int) -> Server:
    """Return the server for a job: the site's own command, else vLLM, else ``transformers serve``.

    Raises :class:`UsageProblem` where none is installed, and for a command with an unknown placeholder.
    """
    host = "127.0.0.1" if spec.loopback else "0.0.0.0"  # noqa: S104 # the controller is on another machine; the key guards
    if spec.command:
        return Server(_own(spec, host, port), port, spec.name)
    where = ["--host", host, "--port", str(port)]
    vllm = _program("vllm")
    if vllm is not None:
        gpus = spec.resources.gpus_per_node
        several = ["--tensor-parallel-size", str(gpus)] if gpus > 1 else []
        named = ["--served-model-name", spec.name]
        return Server([vllm, "serve", spec.model_path, *where, *named, *several, *spec.options], port, spec.name)
    if all(importlib.util.find_spec(name) for name in ("transformers", "fastapi", "uvicorn")):
        words = [sys.executable, "-m", "hpc_trex.job.guarded_serve", "serve", spec.model_path, *where, *spec.options]
        return Server(words, port, spec.model_path)
    raise UsageProblem(
        "neither vLLM nor transformers serve is installed for this job",
        hint="install one of them (pip install 'hpc-trex[train,serve]'), or set serve.command in the profile",
    )


def _own(spec: ServeSpec, host: str, port: int) -> list[str]:
    given = {"model": spec.model_path, "name": spec.name, "host": host, "port": str(port), "key_file": spec.key_file}
    strange = [name for word in spec.command for name in _PLACEHOLDER.findall(word) if name not in given]
    if strange:
        raise UsageProblem(
            f"serve.command has a placeholder that is none: {{{strange[0]}}}",
            hint=f"there are {', '.join('{' + name + '}' for name in given)}",
        )
    return [_PLACEHOLDER.sub(lambda found: given[found[1]], word) for word in spec.command]


def _program(name: str) -> str | None:
    """Return a program of our own environment, else of the PATH."""
    beside = Path(sys.executable).parent / name
    return str(beside) if os.access(beside, os.X_OK) else shutil.which(name)


def answers(port: int, key: str) -> bool:
    """Tell whether the server on this node is ready: ``/health``, and where there is none the list of models."""
    return any(_get(port, path, key) == 200 for path in ("/health", "/v1/models"))


def _get(port: int, path: str, key: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ANSWER_SECONDS)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {key}"})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
