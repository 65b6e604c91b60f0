"""Where the key of an endpoint comes from: the environment, else a file of the user's own. It is never written anywhere."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from hpc_trex.agents.llm.endpoint import endpoint_of
from hpc_trex.errors import CredentialsMissing
from hpc_trex.layout import SearchPaths
from hpc_trex.models import LlmSettings
from hpc_trex.models.llm import AGENTS, RESEARCHER


def read_key(settings: LlmSettings) -> str | None:
    """Return the key: of the environment variable, else of the key file; None where neither is given.

    Raises :class:`CredentialsMissing` for a key file that is not there, is empty, or that others may read.
    """
    given = os.environ.get(settings.key_variable, "").strip()
    if given or settings.key_file is None:
        return given or None
    path = Path(settings.key_file).expanduser()
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CredentialsMissing(
            f"the key file {path} cannot be read: {error}",
            hint=f"write the key into it, or export {settings.key_variable}",
        ) from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise CredentialsMissing(f"others may read the key file {path}", hint=f"chmod 600 {path}")
    if not text:
        raise CredentialsMissing(f"the key file {path} is empty", hint="write the key into it")
    return text


def require_keys(settings: LlmSettings) -> None:
    """Make sure that every agent has the key of its server, before anything is started.

    Raises :class:`CredentialsMissing` naming the agent, :class:`UsageProblem` for an address that is none.
    """
    for role in (RESEARCHER, *AGENTS):
        own = settings.of(role)
        if own.served is None and (role == RESEARCHER or own != settings):
            try:
                endpoint_of(own, read_key(own))
            except CredentialsMissing as error:
                raise CredentialsMissing(f"the {role}'s model: {error.message}", hint=error.hint) from error


def served_key(paths: SearchPaths) -> str:
    """Return the key of the search's own servers, made now where there is none: a file that only its user can read.

    Raises :class:`CredentialsMissing` for one that cannot be read, as in a search that another user of the group began.
    """
    path = paths.server_key
    path.parent.mkdir(exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        pass
    else:
        with os.fdopen(descriptor, "w", encoding="ascii") as handle:
            handle.write(f"{secrets.token_urlsafe(32)}\n")
    try:
        key = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise CredentialsMissing(
            f"the server's key {path} cannot be read: {error.strerror}", hint="its owner runs the search's agents"
        ) from error
    if not key:  # the controller that made it was killed in between
        path.unlink()
        return served_key(paths)
    return key
