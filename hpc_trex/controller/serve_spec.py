"""What the job of a served language model asks for, what it is told, and small questions about it."""

from __future__ import annotations

import socket

from hpc_trex.controller.context import Work
from hpc_trex.layout import AttemptPaths
from hpc_trex.models import (
    AttemptState,
    AttemptView,
    JobKind,
    LlmSettings,
    Profile,
    ServedLlm,
    ServerAddress,
    ServerView,
    ServeSpec,
    Serving,
)

CONNECT_SECONDS = 2.0


def serving_of(profile: Profile) -> Serving:
    """Return what the server's job asks for: the profile's ``[serve]``, else its ``train`` on one node."""
    return profile.serve or Serving(**{**profile.train.model_dump(), "nodes": 1})


def serve_spec(work: Work, llm: LlmSettings, served: ServedLlm, token: str, paths: AttemptPaths) -> ServeSpec:
    """Return the ``spec.json`` of the job with this token and folder."""
    resources = serving_of(served.profile)
    return ServeSpec(
        token=token,
        attempt_dir=str(paths.root.absolute()),
        model_path=served.model_path,
        name=llm.model,
        command=resources.command,
        options=resources.options,
        loopback=served.profile.scheduler == "local",
        key_file=str(work.paths.server_key.absolute()),
        asked_file=str(work.paths.server_asked.absolute()),
        # The controller touches the file once a tick.
        idle_seconds=max(resources.idle_minutes * 60, 4 * work.config.profile.poll_seconds),
        start_seconds=resources.start_minutes * 60,
        resources=resources,
    )


def as_attempt(server: ServerView) -> AttemptView:
    """Return the job as the rules of charging know jobs."""
    return AttemptView(
        node=0,
        trial=0,
        attempt=server.number,
        kind=JobKind.BASE,
        token=server.token,
        state=AttemptState.RUNNING,
        gpus=server.gpus,
        cpus=server.cpus,
        minutes=server.minutes,
        directory=server.directory,
    )


def is_open(address: ServerAddress) -> bool:
    """Tell whether something listens at an address."""
    try:
        socket.create_connection((address.host, address.port), timeout=CONNECT_SECONDS).close()
    except OSError:
        return False
    return True
