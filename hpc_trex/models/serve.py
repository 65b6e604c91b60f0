"""A language model that the search serves itself (``launch --llm-serve``): what its job is told, and what it tells."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hpc_trex.models.base import Record
from hpc_trex.models.profile import Profile, Resources


class ServedLlm(Record):
    """Which model is served, and where (``[llm.served]`` in ``search.toml``), frozen with the search."""

    profile: Profile
    """The profile of the server's job; its ``[serve]`` says what the job asks for."""
    model: str
    """As the user typed it."""
    model_path: str
    """The folder that ``model`` was resolved to."""


class ServeSpec(Record):
    """``spec.json`` of a server's job. All paths are absolute. The key stands in the file ``key_file``, never here."""

    job: Literal["serve"] = "serve"
    token: str
    attempt_dir: str
    model_path: str
    name: str
    """What the server calls the model, where it lets us choose."""
    command: tuple[str, ...] = ()
    """A site's own command with its placeholders; empty: vLLM where it is installed, else ``transformers serve``."""
    options: tuple[str, ...] = ()
    loopback: bool = False
    """Answer on 127.0.0.1 only: the controller is on the same machine."""
    key_file: str
    asked_file: str
    """Touched by the controller while it needs the server."""
    idle_seconds: float = Field(gt=0)
    start_seconds: float = Field(gt=0)
    resources: Resources = Resources()


class ServerAddress(Record):
    """``server.json``: written by the server's job when it answers; it stays when the job is over."""

    token: str
    host: str
    port: int
    model: str
    """What requests must call the model."""

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://{self.host}:{self.port}/v1"


class ServerView(Record):
    """One job that served the language model, as the tree knows it."""

    number: int
    token: str
    state: Literal["intent", "queued", "ended"]
    job_id: str | None = None
    gpus: int = 0
    cpus: int = 0
    minutes: int = 0
    """The time limit: ``gpus`` and ``cpus`` times this is reserved until it ends."""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    message: str = ""
    directory: str = ""
