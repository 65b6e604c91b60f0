"""The language model of a sweep: given once for all elements, and asked from where they run."""

from __future__ import annotations

import os
from typing import Any

from hpc_trex.agents.llm.endpoint import on_loopback
from hpc_trex.agents.llm.keys import read_key, require_keys
from hpc_trex.errors import CredentialsMissing, UsageProblem
from hpc_trex.launch_llm import endpoint_words, llm_settings
from hpc_trex.models import LlmSettings, Profile
from hpc_trex.models.llm import AGENTS, RESEARCHER, AgentEndpoint
from hpc_trex.suggest import did_you_mean
from hpc_trex.sweep.records import SweepConfig, SweepRequest

ASKS = "llm"
#: Keys of ``[llm]`` that are spelled as their options, not as their fields.
OTHERWISE = {"tokens": "tokens_cap", "money": "money_cap", "rows": "rows_cap"}
TABLE = "docs/sweeps.md shows the table [llm]"


def llm_table(file: dict[str, Any], where: str) -> dict[str, Any]:
    """Return the table ``[llm]`` of a sweep's file as fields of :class:`LlmSettings`: its keys are those of ``hpc-trex.toml``
    (``base-url``, ``tokens``), or the fields themselves.

    Raises :class:`UsageProblem` for a key that is none.
    """
    fields = set(LlmSettings.model_fields) - {"served"}
    found: dict[str, Any] = {}
    for raw, value in _plain(file, where, "llm").items():
        key = OTHERWISE.get(raw, raw)
        if key not in fields:
            raise UsageProblem(f"{where}: unknown key llm.{raw}{did_you_mean(raw, fields)}", hint=TABLE)
        if key in AGENTS:
            value = _plain(value, where, f"llm.{key}")  # noqa: PLW2901
            for name in value:
                if name not in AgentEndpoint.model_fields:
                    known = AgentEndpoint.model_fields
                    raise UsageProblem(f"{where}: unknown key llm.{key}.{name}{did_you_mean(name, known)}", hint=TABLE)
        found[key] = value
    return found


def _plain(table: Any, where: str, name: str) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise UsageProblem(f"{where}: {name} is a table, not {table!r}", hint=f"[{name}], then: model = ...")
    return {key.replace("-", "_"): value for key, value in table.items()}


def llm_of(request: SweepRequest, profile: Profile) -> LlmSettings | None:
    """Return the settings by which the elements ask; None where none of them does.

    Raises :class:`UsageProblem` for a server that they could not reach, :class:`CredentialsMissing` for a key that they
    would not have: both before anything is made.
    """
    if ASKS not in request.researchers or request.baseline_only:
        if request.llm:
            raise UsageProblem(
                "sweep: a language model is given, and no element asks one", hint=f"--researchers {ASKS}, or without it"
            )
        return None
    settings = llm_settings(ASKS, request.llm, None)
    assert settings is not None
    if profile.scheduler == "slurm":
        for role in (RESEARCHER, *AGENTS):
            own = settings.of(role)
            if role == RESEARCHER or own != settings:
                _from_nodes(own, role, profile)
    require_keys(settings)
    return settings


def _from_nodes(own: LlmSettings, role: str, profile: Profile) -> None:
    """Refuse what cannot be asked from a job of this profile."""
    url = own.base_url or os.environ.get("OPENAI_BASE_URL")
    if url is not None and on_loopback(url):
        raise UsageProblem(
            f"the {role}'s server is at {url}: that is this machine, and elements run on compute nodes",
            hint="give the name by which nodes reach it; its port must be open to them",
        )
    if url is None and profile.network != "compute":
        raise UsageProblem(
            f'profile {profile.name}: compute nodes reach no network outside (network = "{profile.network}"), '
            f"so the {role} of an element cannot ask the internet",
            hint="--llm-base-url of a server on the site's own network; or single searches, whose controller stands on a "
            "login node: hpc-trex launch --researcher llm [--llm-serve]",
        )
    if own.key_file is None:
        raise CredentialsMissing(
            f"the {role}'s key: elements are jobs, and no secret is passed into a job's environment",
            hint="--llm-key-file FILE: of mode 0600, on a disk that compute nodes see",
        )
    read_key(own.model_copy(update={"key_variable": ""}))  # the file, whatever stands in our environment


def key_files(config: SweepConfig) -> list[str]:
    """Return the files with keys that elements read."""
    if config.llm is None:
        return []
    found = [config.llm.of(role).key_file for role in (RESEARCHER, *AGENTS)]
    return sorted({file for file in found if file is not None})


def asks_lines(config: SweepConfig) -> list[str]:
    """Return, for a person, who is asked by how many elements, and what that may use at most."""
    if config.llm is None:
        return []
    count = sum(element.researcher == ASKS for element in config.elements())
    caps = [
        f"{cap:g} {unit} each, {cap * count:g} in all"
        for cap, unit in ((config.llm.tokens_cap, "tokens"), (config.llm.money_cap, "of money"))
        if cap is not None
    ]
    most = f"at most {', '.join(caps)}" if caps else "no cap (--llm-tokens, --llm-money)"
    return [f"asks       {endpoint_words(config.llm)}: {count} element(s), {most}"]
